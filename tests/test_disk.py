"""A disk that takes no more: one line, the other jobs go on, records are whole, and the same command finishes the rest."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import is_users, one_line
from benchmarks.records import files
from benchmarks.studies.fuzz import PROTOCOL
from tests.conftest import ROOT, TINY, run, said


def test_errors_of_the_disk_say_what_to_do_and_other_errors_are_faults() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "runs/x")
    assert is_users(full)
    assert one_line(full) == "runs/x: No space left on device; free some space and run the same command again"
    assert not is_users(OSError(errno.EIO, "Input/output error", "runs/x"))
    assert not is_users(OSError("anything"))


@pytest.mark.parametrize(
    ("pattern", "number"),
    [
        ("config.yaml", errno.EROFS),
        ("curve.csv", errno.ENOSPC),
        ("checkpoints/last.ckpt", errno.EDQUOT),
        ("run.json", errno.EACCES),
        ("scores/*.json", errno.ENOSPC),
    ],
)
def test_a_job_that_cannot_write_costs_a_line_and_the_others_go_on(
    pattern: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first job cannot write one of its files. The second one is whole, and the same command finishes the first."""
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        target = Path(target)
        if target.match(f"seed=0/{pattern}"):
            raise OSError(number, os.strerror(number), str(target))
        real(source, target)

    words = ["-m", "model=ae", "seed=0,1", *(word for word in TINY if not word.startswith("protocol.")), *PROTOCOL]
    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", replace)
        result = run("train", *words, cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line]
    assert os.strerror(number) in line
    assert "run the same command again" in line
    first, second = sorted(tmp_path.glob("runs/digits/ae/*/seed=*"))
    assert len(list(second.glob("scores/*.json"))) == 1
    assert not list(tmp_path.glob("runs/digits/ae/*/seed=*/.*"))
    assert (first / "run.json").is_file() == pattern.startswith("scores")

    assert run("train", *words, cwd=tmp_path).returncode == 0
    assert len(list(first.glob("scores/*.json"))) == 1


@pytest.mark.parametrize("words", [("model=ae",), ("-m", "model=ae,vae")], ids=" ".join)
def test_runs_in_the_place_of_a_file_are_one_line(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    line = said(run("train", *words, *TINY, cwd=tmp_path))
    assert "choose another path, or move away what lies there" in line
    assert (tmp_path / "runs").read_text() == "mine"


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_one_line_and_nothing_half_written(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "benchmarks.train", "model=ae", *TINY]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    limit = 100_000  # bytes; a checkpoint has more
    cut = subprocess.run(
        words,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert cut.returncode == 1
    (line,) = [line for line in cut.stderr.splitlines() if line]
    assert line.endswith(
        "last.ckpt: File too large; raise the limit on the size of files (ulimit -f) and run the same command again"
    )
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("run.json"))
