"""One process at a time trains a run.

The lock is `fcntl.flock` (by filelock) on `lock` in the run's folder. The system releases it when the process ends, however it
ends. It works between processes of one machine, and between machines on file systems that implement flock, such as NFS
on Linux. Where a file system has no flock, filelock raises, or falls back to a file that a dead process leaves behind; there,
two machines must not share a run. The checksum in the record protects the scores in any case.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from benchmarks.errors import UserError
from benchmarks.records.files import RecordError, make_folder

# seconds between two attempts
POLL = 0.5
LOCK = "lock"


@contextmanager
def alone(run: Path, waits: bool = True) -> Iterator[Callable[[], None]]:
    """Holds the lock of a run. If another process holds it, prints a line and waits.

    Args:
        run: the folder of the run.
        waits: whether to wait. The first of several processes of a distributed run must not: the others would wait for it.

    Raises:
        UserError: if another process holds the lock and `waits` is false.

    Yields a check to call before each write: it raises a RecordError if the folder was moved away meanwhile, so that
    another process may have locked a new folder of the same name.
    """
    make_folder(run)
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not waits:
            raise UserError(
                f"{run} is being trained by another process; run the command again when that process has ended"
            ) from None
        print(f"      {run} is being trained by another process; waiting until that process ends", flush=True)
        lock.acquire(poll_interval=POLL)
    inode = os.stat(run / LOCK).st_ino

    def check() -> None:
        try:
            is_ours = os.stat(run / LOCK).st_ino == inode
        except OSError:
            is_ours = False
        if not is_ours:
            raise RecordError(
                f"{run} was moved away or replaced while this process trained it; nothing more is written there"
            )

    try:
        yield check
    finally:
        lock.release()


def is_held(lock: Path) -> bool:
    """Whether a living process holds a lock. Does not wait, and writes nothing; a lock that cannot be read is held by nobody.

    The test takes a shared lock for a moment: of a lock that a run is about to take, the run would wait half a second.
    """
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
