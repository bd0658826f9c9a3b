"""Signals to a sweep whose jobs run in workers of joblib: each run saves its checkpoint before joblib kills the workers.

joblib kills every worker as soon as the command is interrupted, or as soon as one worker dies. So the command waits for the jobs
before joblib learns of the signal, and a worker outlives the signal, also without a job.
"""

import multiprocessing
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.records.locks import LOCK, is_held
from benchmarks.signals import DEFAULTS, ENDING, Interrupted, handlers, raise_interrupted

# seconds between two looks at the jobs
POLL = 0.1

# whether this process is a worker; in a worker: whether a job runs, and the first signal that came
_is_worker = False
_is_busy = False
_received: int | None = None


@contextmanager
def saves_first(folder: Path, jobs: Iterable[int]) -> Iterator[None]:
    """In the command, for the time of a launch: a signal is passed on to the workers, and interrupts the command when no job runs
    any more. A second signal does not wait.

    Args:
        folder: the folder of the sweep.
        jobs: the numbers of the jobs.
    """

    def wait(number: int, frame: FrameType | None) -> None:
        with handlers(dict.fromkeys(ENDING, raise_interrupted)):
            for worker in multiprocessing.active_children():
                with suppress(ProcessLookupError):
                    os.kill(worker.pid or 0, signal.SIGTERM)  # Ctrl-C reaches all workers, other signals may reach none
            running = [lock for n in jobs if is_held(lock := folder / str(n) / LOCK)]
            if running:
                print("      waiting until the running jobs have saved their checkpoints", flush=True)
            while running := [lock for lock in running if is_held(lock)]:
                time.sleep(POLL)
        raise Interrupted(number)

    with handlers({number: wait for number in ENDING if signal.getsignal(number) is raise_interrupted}):
        yield


def is_worker() -> bool:
    """Whether this process is a worker, which leaves the printing to the command."""
    return _is_worker


def in_worker(task: Callable[[Any], Any], config: Any) -> Any:
    """Runs a job in a worker. The first signal ends the job, after a checkpoint if the run is in training; no other job begins.

    Raises:
        SystemExit: for a signal, with 128 and its number. No line is printed: the command prints one for all workers.
    """
    global _is_busy, _is_worker
    if not _is_worker and multiprocessing.parent_process() is not None:
        # before any job, because finalizers run in reverse order: those of jobs come first
        weakref.finalize(in_worker, _leave)
    _is_worker = True
    for number in ENDING:  # for good: a default handler would end a worker between two jobs
        if signal.getsignal(number) in DEFAULTS:
            signal.signal(number, _stop)
    if _received is not None:
        raise SystemExit(128 + _received)
    _is_busy = True
    try:
        return task(config)
    finally:
        _is_busy = False


def _leave() -> None:
    """At the end of a worker, after loggers have written their last and temporary folders are removed: Python would take a second
    more to free what torch has loaded."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(0)


def _stop(number: int, frame: FrameType | None) -> None:
    global _received
    if _received is None:
        _received = number
        if _is_busy:
            raise SystemExit(128 + number)
