"""The remaining time of a series of jobs."""

import pytest

from benchmarks.multirun.progress import time_left


def test_the_jobs_that_remain_take_as_long_as_those_that_ran() -> None:
    assert time_left(250.0, 2, 1) == " · about 2 min 05 s left"
    assert time_left(250.0, 2, 4) == " · about 8 min 20 s left"
    assert time_left(0.0, 3, 5) == " · about 0 min 00 s left"
    assert time_left(7200.0, 1, 1) == " · about 120 min 00 s left"


@pytest.mark.parametrize(("ran", "left"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_is_said_without_a_pace_or_a_rest(ran: int, left: int) -> None:
    assert time_left(100.0, ran, left) == ""
