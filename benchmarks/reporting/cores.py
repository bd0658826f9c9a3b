"""Work of large reports on several cores. Every result is the same as on one core."""

import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import TypeVar

from threadpoolctl import ThreadpoolController

T = TypeVar("T")

# the files of so many runs take longer than a fork
MANY_RUNS = 2000
# more would wait for each other
MOST_THREADS = 4
# the seconds that a fork has to remove its temporary files
PATIENCE = 5
# of fewer parts, threads cost more than they save
LEAST_PARTS = 8


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def are_many(runs: int) -> bool:
    """Whether the work on so many runs takes much longer than a fork."""
    return runs >= MANY_RUNS


def in_threads(work: Callable[[Sequence[int]], None], parts: Sequence[int]) -> None:
    """Does work on every part, shared among threads: numpy lets other threads run while it computes.

    numpy's BLAS has one thread meanwhile: several threads of its own would wait for each other without sleep.

    Args:
        work: on some of the parts. It writes its results into arrays, each part into a place of its own.
        parts: all of them.
    """
    threads = min(cores(), MOST_THREADS) if len(parts) >= LEAST_PARTS else 1
    if threads == 1:
        work(parts)
        return
    with _blas().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [parts[i::threads] for i in range(threads)]))


@cache
def _blas() -> ThreadpoolController:
    """The libraries whose threads can be limited; to look for them takes longer than a small part of the work."""
    return ThreadpoolController()


@contextmanager
def beside(work: Callable[[], T], pays: bool) -> Iterator[list[T]]:
    """Does work in a forked process at the same time as the block, or before the block where a fork does not pay or is not safe.

    A fork has everything that this process has in memory, so nothing is copied to it. If the fork dies or its work raises an
    error, this process does the work again, and the error is raised here.

    Args:
        work: writes files, and returns little: what it returns is copied.
        pays: whether the work takes much longer than a fork.

    Yields:
        A list, which has the result of the work after the block.
    """
    results = list[T]()
    started = _fork(work) if pays and _can_fork() else None
    if started is None:
        results.append(work())
        yield results
        return
    fork, here = started
    try:
        yield results
        with suppress(EOFError, OSError):  # it died before it sent its result, or meanwhile
            results.append(here.recv())
        fork.join()
    finally:
        fork.terminate()  # after an error in the block, so that no temporary file stays; nothing if the fork has ended
        fork.join(PATIENCE)
        fork.kill()
        fork.join()
        here.close()
    if not results:
        results.append(work())


def _fork(work: Callable[[], T]) -> tuple[ForkProcess, Connection] | None:
    """Starts work in a forked process: the process, and where it sends its result. None if the system gives no process more."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    fork = context.Process(target=_send, args=(work, here, there), daemon=True)
    try:
        with warnings.catch_warnings():
            # of threads, from Python 3.12 on. Those of Python were counted, and those of numpy's BLAS may be forked
            warnings.simplefilter("ignore", DeprecationWarning)
            fork.start()
    except OSError:
        here.close()
        return None
    finally:
        there.close()  # so that the end of the fork is the end of the pipe
    return fork, here


def _can_fork() -> bool:
    """Whether a fork is possible, and safe: a lock that another thread holds is never released in a fork."""
    return (
        cores() > 1
        and sys.platform == "linux"  # macOS has forks, and its libraries may break in them
        and threading.active_count() == 1
        and not multiprocessing.current_process().daemon  # such processes may have no children
    )


def _send(work: Callable[[], T], here: Connection, there: Connection) -> None:
    """Does the work and sends its result; the process that waits for the result tells of an error."""
    here.close()  # otherwise a fork whose parent was killed would wait for ever until somebody reads its result
    try:
        there.send(work())
    except BaseException:
        os._exit(1)
