"""Signals that ask a process to end: Ctrl-C, and those of schedulers and of machines that are taken away."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
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


def guard_imports() -> None:
    """Makes Ctrl-C one line and its status while a program imports its modules, and while the interpreter ends.

    Does nothing in a process that only imports genbench: a script of a user, a test, a worker of a launcher.
    """
    # while Python looks for a module of -m, its name is not yet in argv; a worker gets the argv of the command, not its words
    name = "".join(sys.argv[:1])
    is_program = name == "-m" or (os.path.basename(name).startswith("genbench-") and name in sys.orig_argv)
    if is_program and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    """Ends the process at once. An exception would pass through modules that are half imported, and some would swallow it."""
    with suppress(Exception):  # the signal may have come in the middle of a print
        sys.stdout.flush()
    os.write(2, f"error: {Interrupted(number)}\n".encode())
    os._exit(128 + number)


# the handlers in place of which a program, or a job, has its own
DEFAULTS = (signal.SIG_DFL, signal.default_int_handler, _leave)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside the block, the signals of `ENDING` raise `Interrupted`.

    A handler that the surroundings installed stays (submitit's queues a job again), and so does "ignore".
    """
    with handlers({number: raise_interrupted for number in ENDING if signal.getsignal(number) in DEFAULTS}):
        yield


@contextmanager
def handlers(by_number: Mapping[int, Handler | signal.Handlers]) -> Iterator[None]:
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
