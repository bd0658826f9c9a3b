"""The words of a study: help, defaults, values by name and in order, and one line for anything else."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from benchmarks.studies.words import study
from tests.conftest import ROOT, run

STUDIES = sorted(
    path.stem
    for path in (ROOT / "benchmarks" / "studies").glob("*.py")
    if "@study(" in path.read_text() and path.stem != "words"
)


def parsed(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    @study(runs=10, seed=0, part=("speed", "memory"))
    def task(**values: Any) -> None:
        found.update(values)

    with mock.patch("sys.argv", ["study.py", *words]):
        task()
    return found


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ((), (10, 0, "speed")),
        (("3",), (3, 0, "speed")),
        (("3", "0", "memory"), (3, 0, "memory")),
        (("part=memory", "seed=7"), (10, 7, "memory")),
    ],
)
def test_words_are_values_in_order_or_by_name(words: tuple[str, ...], values: tuple[Any, ...]) -> None:
    assert tuple(parsed(*words).values()) == values


@pytest.mark.parametrize(
    "words", [("0",), ("-1",), ("x",), ("1", "2", "speed", "4"), ("part=other",), ("size=3",), ("runs=²",)]
)
def test_other_words_are_one_line(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(*words)
    line = capsys.readouterr().err
    assert line == f"error: unknown word {words[-1]!r}; expected [runs=10] [seed=0] [part=speed|memory]\n"


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_help_page_and_runs_nothing_for_it(name: str, tmp_path: Path) -> None:
    result = run(f"studies.{name}", "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"python -m benchmarks.studies.{name}: ")
    assert "Words: " in result.stdout
    assert not list(tmp_path.iterdir())
