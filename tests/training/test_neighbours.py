"""How busy other programs kept the machine."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.training import neighbours
from benchmarks.training.clock import Clock
from benchmarks.training.neighbours import Others
from tests.training.test_clock import NOBODY

needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")


@pytest.fixture
def busy() -> Iterator[None]:
    """A neighbour that uses a processor."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield
    process.kill()
    process.wait()


@needs_linux
def test_the_time_of_another_process_is_counted(busy: None) -> None:
    others = Others()
    others.start()
    time.sleep(1)
    others.stop()
    assert others.seconds is not None
    assert others.seconds > 0.2  # the machine of the tests may be shared by many


def test_the_own_time_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, own = iter([100.0, 107.5, 200.0, 201.0]), iter([10.0, 15.0, 20.0, 22.0])
    monkeypatch.setattr(neighbours, "_machine", lambda: next(machine, 0.0))
    monkeypatch.setattr(neighbours, "_own", lambda: next(own))
    others = Others.__new__(Others)
    others.seconds, others._since = 0.0, None
    for _ in range(2):
        others.start()
        others.stop()
    assert others.seconds == 2.5  # the second time, its own ticks were more than those of the machine


def test_where_the_system_does_not_tell_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_machine", lambda: None)
    clock = Clock()
    clock.on_train_start(NOBODY, NOBODY)
    clock.on_train_end(NOBODY, NOBODY)
    assert clock.neighbours is None


@needs_linux
def test_a_clock_keeps_the_count_in_checkpoints() -> None:
    clock = Clock()
    clock.load_state_dict({"seconds": 4.0, "others": 6.0})
    assert clock.neighbours == 1.5
    assert clock.state_dict() == {"seconds": 4.0, "others": 6.0, "runs": 1}
    clock.load_state_dict({"seconds": 4.0})
    clock.on_train_start(NOBODY, NOBODY)
    clock.on_train_end(NOBODY, NOBODY)
    assert clock.neighbours is None, "what an earlier version did not count stays unknown"
