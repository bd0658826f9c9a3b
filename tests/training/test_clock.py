"""The clock of a run: it counts training alone, and goes on where it was."""

import time
from typing import Any
from unittest import mock

import pytest

from benchmarks.training.clock import Clock

# the clock asks neither of them
NOBODY: Any = mock.Mock(spec=[])


class Now:
    """A time that only passes when it is told to."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    made = Now()
    monkeypatch.setattr(time, "perf_counter", made)
    return made


def started() -> Clock:
    clock = Clock()
    clock.on_train_start(NOBODY, NOBODY)
    return clock


def test_a_clock_counts_from_the_start_to_the_end_of_training(now: Now) -> None:
    clock = Clock()
    now.seconds += 7
    assert clock.seconds == 0, "nothing is trained yet"
    clock.on_train_start(NOBODY, NOBODY)
    now.seconds += 5
    assert clock.seconds == 5
    clock.on_train_end(NOBODY, NOBODY)
    now.seconds += 7
    assert clock.seconds == 5


def test_a_pause_is_not_counted_even_if_it_fails(now: Now) -> None:
    clock = started()
    now.seconds += 2
    for error in (None, RuntimeError("out of memory")):
        try:
            with clock.paused(), clock.paused():
                now.seconds += 30
                if error is not None:
                    raise error
        except RuntimeError:
            pass
        now.seconds += 1
    assert clock.seconds == 4


def test_a_pause_starts_no_clock(now: Now) -> None:
    clock = Clock()
    with clock.paused():
        now.seconds += 1
    now.seconds += 1
    assert clock.seconds == 0


def test_an_interrupted_run_goes_on_where_its_clock_was(now: Now) -> None:
    clock = started()
    now.seconds += 3
    clock.on_exception(NOBODY, NOBODY, KeyboardInterrupt())
    now.seconds += 1000
    resumed = Clock()
    resumed.load_state_dict(clock.state_dict())
    assert resumed.seconds == 3
    resumed.on_train_start(NOBODY, NOBODY)
    now.seconds += 2
    assert resumed.seconds == 5


def test_a_clock_that_is_saved_while_it_runs_is_saved_as_it_stands(now: Now) -> None:
    clock = started()
    now.seconds += 3
    assert clock.state_dict()["seconds"] == 3
