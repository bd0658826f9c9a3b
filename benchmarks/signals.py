"""Signals that ask a process to end: Ctrl-C, and those of schedulers and of machines that are taken away."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

Handler = Callable[[int, FrameType | None], Any]


class Interrupted(BaseException):
    """A signal asked the process to end. Not an Exception, because code that goes on after errors must not go on here.

    Args:
        number: the number of the signal.
        advice: what to do.
    """

    def __init__(self, number: int, advice: str = "run the same command again to finish the rest") -> None:
        super().__init__(number, advice)  # both, because the exception may be pickled between processes
        self.number, self.advice = number, advice

    def __str__(self) -> str:
        return f"interrupted by {signal.Signals(self.number).name}; {self.advice}"

    @property
    def exit_status(self) -> int:
        """The status by which shells and schedulers see that a signal ended the process: 128 and the signal's number."""
        return 128 + self.number


def raise_interrupted(number: int, frame: FrameType | None = None) -> None:
    """The handler that raises `Interrupted`."""
    raise Interrupted(number)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside the block, the signals of `ENDING` raise `Interrupted`.

    A handler that the surroundings installed stays (submitit's queues a job again), and so does "ignore".
    """
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    with handlers({number: raise_interrupted for number in ENDING if signal.getsignal(number) in defaults}):
        yield


@contextmanager
def handlers(by_number: Mapping[int, Handler]) -> Iterator[None]:
    """Installs handlers for the block. Does nothing outside the main thread, where Python has no handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in by_number.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
