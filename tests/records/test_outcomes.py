"""Outcomes of jobs: what one process writes, another reads."""

from pathlib import Path

import pytest

from benchmarks.records.outcomes import FILE, Outcome, read_outcome, write_outcome
from benchmarks.records.runs import Status


@pytest.mark.parametrize("status", ["finished", "diverged", "failed"])
def test_an_outcome_comes_back_as_it_was_written(status: Status, tmp_path: Path) -> None:
    outcome = Outcome(
        Path("runs/digits/β-vae/1a2b/seed=0"),
        status,
        'the loss is "nan"\nafter 64 images',
        was_done=status == "diverged",
    )
    write_outcome(tmp_path / "jobs" / "3", outcome)
    assert read_outcome(tmp_path / "jobs" / "3" / FILE) == outcome


def test_the_last_outcome_of_a_job_counts(tmp_path: Path) -> None:
    for status in ("failed", "finished"):
        write_outcome(tmp_path, Outcome(Path("r"), status, status))
    assert read_outcome(tmp_path / FILE).message == "finished"
