"""One process at a time trains a run.

The lock is `fcntl.flock` (by filelock) on `lock` in the run's folder. The system releases it when the process ends, however it
ends. It works between processes of one machine, and between machines on file systems that implement flock, such as NFS
on Linux. Where a file system has no flock, filelock raises, or falls back to a file that a dead process leaves behind; there,
two machines must not share a run. The checksum in the record protects the scores in any case.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

# seconds between two attempts
POLL = 0.5


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Holds the lock of a run. If another process holds it, prints a line and waits."""
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"      {run} is being trained by another process; waiting until that process ends", flush=True)
        lock.acquire(poll_interval=POLL)
    try:
        yield
    finally:
        lock.release()
