"""The study of fuzzing: the programs pass it, and it finds what a program that reads without checks does."""

import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.records.runs import find_runs
from benchmarks.studies import fuzz
from benchmarks.studies.mutations import Trap, mutations_of
from benchmarks.studies.watching import TooLong, at_most, watching
from tests.conftest import run
from tests.reporting.fakes import add_run


def test_reports_and_evaluations_survive_mutated_runs(sweep: Path, tmp_path: Path) -> None:
    found = fuzz.fuzz(sweep / "runs", tmp_path, seconds=3, seed=int.from_bytes(os.urandom(4)))
    assert found.findings == []
    assert found.cases["evaluate"] >= 1
    assert found.cases["report"] >= 3
    assert found.slowest > 0


def executes(case: Path) -> str:
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return ""


def writes_outside(case: Path) -> str:
    (case.parent / "elsewhere.txt").write_text("x")
    return ""


def unpickles(case: Path) -> str:
    pickle.loads(pickle.dumps(Trap(case / "canary", case)))
    return ""


def shows_a_secret(case: Path) -> str:
    (case / "out").mkdir()
    (case / "out" / "index.html").write_text((case.parent / "secret.txt").read_text())
    return ""


def raises(case: Path) -> str:
    raise KeyError("names")


def prints_a_type(case: Path) -> str:
    return f"error: {case}: KeyError: 'names'"


def prints_control_characters(case: Path) -> str:
    return "\x1b[2J"


def waits(case: Path) -> str:
    time.sleep(5)
    return ""


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        (executes, "executions"),
        (unpickles, "executions"),
        (writes_outside, "outside"),
        (shows_a_secret, "secrets"),
        (raises, "tracebacks"),
        (prints_a_type, "tracebacks"),
        (prints_control_characters, "tracebacks"),
        (waits, "over time"),
    ],
)
def test_what_a_program_may_not_do_is_found(
    program: Callable[[Path], str], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "MOST_SECONDS", 1.0)
    case = tmp_path / "case"
    case.mkdir()
    trap = Trap(case / "canary", tmp_path / "secret.txt")
    trap.secret.write_text(fuzz.SECRET)
    kinds = {kind for kind, _ in fuzz._judge(program, case, tmp_path, trap, fuzz.Found())}
    assert kinds == {kind}


def test_a_report_that_one_run_destroys_is_found(tmp_path: Path) -> None:
    case, trap = tmp_path / "case", Trap(tmp_path / "canary", tmp_path / "secret.txt")
    trap.secret.write_text(fuzz.SECRET)
    path = add_run(case / "runs", "vae", 0, {"fid": 1.0})
    assert list(fuzz._judge(fuzz._report, case, tmp_path, trap, fuzz.Found())) == []
    (path / "run.json").write_text("{")
    assert [kind for kind, _ in fuzz._judge(fuzz._report, case, tmp_path, trap, fuzz.Found())] == ["lost reports"]


def test_every_mutation_changes_its_file(tmp_path: Path) -> None:
    path = add_run(tmp_path / "runs", "vae", 0, {"fid": 1.0}) / "run.json"
    whole = path.read_bytes()
    trap, rng = Trap(tmp_path / "canary", tmp_path / "secret.txt"), random.Random()
    trap.secret.write_text(fuzz.SECRET)
    for number in range(len(mutations_of(path, trap))):
        for _ in range(20):  # a value may be replaced by an equal one
            words = mutations_of(path, trap)[number](path, rng)
            is_changed = not path.is_file() or path.is_symlink() or path.read_bytes() != whole
            if path.is_dir():
                path.rmdir()
            path.unlink(missing_ok=True)
            path.write_bytes(whole)
            if is_changed:
                break
        assert is_changed, words
        assert words
    assert len(find_runs(tmp_path)) == 1


def test_reading_and_writing_inside_is_not_found(tmp_path: Path) -> None:
    with watching([tmp_path / "in"], tmp_path / "in") as watch:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "x").write_text("x")
        (tmp_path / "in" / "x").read_text()
        Path(__file__).read_text()
    assert watch.outside == watch.executions == []


def test_time_is_over_whatever_a_program_catches() -> None:
    def stubborn() -> None:
        try:
            time.sleep(5)
        except Exception:
            pytest.fail("caught")

    with pytest.raises(TooLong), at_most(0.1):
        stubborn()


def test_unknown_words_are_refused(tmp_path: Path) -> None:
    for words in (["x"], ["1", "2", "3"], ["0"], ["-1"]):
        result = run("studies.fuzz", *words, cwd=tmp_path)
        assert result.returncode == 1
        assert result.stderr == f"error: unknown word {words[-1]!r}; expected [seconds=60] [seed=0]\n"
