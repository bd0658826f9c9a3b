"""The remaining time of a series of jobs."""

from pathlib import Path

import pytest

from benchmarks.multirun.progress import Reporter, time_left
from benchmarks.records.outcomes import Outcome, write_outcome


def test_the_jobs_that_remain_take_as_long_as_those_that_ran() -> None:
    assert time_left(250.0, 2, 1) == " · about 2 min 05 s left"
    assert time_left(250.0, 2, 4) == " · about 8 min 20 s left"
    assert time_left(0.0, 3, 5) == " · about 0 min 00 s left"
    assert time_left(7200.0, 1, 1) == " · about 120 min 00 s left"


@pytest.mark.parametrize(("ran", "left"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_is_said_without_a_pace_or_a_rest(ran: int, left: int) -> None:
    assert time_left(100.0, ran, left) == ""


def test_jobs_that_train_for_others_set_no_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Job 0 trains for job 2, and job 1 for jobs 3 and 4; they take 100 seconds, and the others ten each."""
    now = [0.0]
    monkeypatch.setattr("benchmarks.multirun.progress.time.monotonic", lambda: now[0])
    reporter = Reporter(tmp_path, range(5), long=[0, 1])
    for seconds, job in ((90, 0), (95, 2), (100, 1), (110, 3), (120, 4)):
        now[0] = seconds
        write_outcome(tmp_path / str(job), Outcome(tmp_path, "finished", ""))
        reporter.look()
    assert capsys.readouterr().out.splitlines() == [
        "[1/5] job 1 · finished",
        "[2/5] job 3 · finished",
        "[3/5] job 2 · finished",
        "[4/5] job 4 · finished · about 0 min 10 s left",
        "[5/5] job 5 · finished",
    ]
