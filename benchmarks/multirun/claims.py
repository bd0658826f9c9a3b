"""Processes that share work through files: each task is done once, by whichever process claims it first.

A claim is the lock of a file in a folder of claims. The system releases the lock of a process that dies, and another process
takes up the task. Processes on several machines share work if their file system implements flock (`benchmarks.records.locks`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from benchmarks.records.files import write_text

# seconds between two looks at tasks that other processes work on
POLL = 0.5


class Claims:
    """The claims of the tasks of one command.

    Args:
        folder: the folder of the claims.
        before: what earlier commands gave up, as `given_up` returns it; None: what lies in the folder now. A task that an
            earlier command gave up is tried again, and a task that this command gave up is not.
    """

    def __init__(self, folder: Path, before: dict[str, int] | None = None) -> None:
        self.folder = folder
        self.before = self.given_up() if before is None else before

    @contextmanager
    def claim(self, task: str, is_patient: bool = False) -> Iterator[bool]:
        """Holds the claim of a task. Yields whether this process has it.

        Args:
            task: the name of the task, which is the name of a file.
            is_patient: whether to wait for a process that has the claim.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / f"{task}.lock")
        try:
            lock.acquire(timeout=-1 if is_patient else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def given_up(self) -> dict[str, int]:
        """The tasks that some command gave up, each with the time in nanoseconds."""
        return {path.stem: path.stat().st_mtime_ns for path in self.folder.glob("*.lost")}

    def give_up(self, task: str, reason: str | None) -> None:
        """Writes that no process of this command tries a task again.

        Args:
            task: the name of the task.
            reason: why the task failed; None if it ended, without what it should have left.
        """
        write_text(self.folder / f"{task}.lost", reason or "", is_precious=False)

    def reason(self, task: str) -> str | None:
        """Why a task was given up since the command started; None if the task was not, empty without a reason."""
        path = self.folder / f"{task}.lost"
        try:
            is_new = path.stat().st_mtime_ns != self.before.get(task)
            return path.read_text(encoding="utf-8") if is_new else None
        except FileNotFoundError:
            return None

    def share(self, tasks: Sequence[str], is_done: Callable[[str], bool], do: Callable[[str], None]) -> None:
        """Does each task that no other process does, and waits until all are done or have failed.

        Args:
            tasks: the names of the tasks.
            is_done: whether a task has a result.
            do: does a task.
        """
        waiting, has_said = list(tasks), False
        while waiting:
            busy = []
            for task in waiting:
                if is_done(task) or self.reason(task) is not None:
                    continue
                with self.claim(task) as is_ours:
                    if not is_ours:
                        busy.append(task)
                    elif not is_done(task) and self.reason(task) is None:
                        do(task)
            if len(busy) == len(waiting):
                if not has_said:
                    print(f"      waiting for {len(busy)} jobs of other processes", flush=True)
                    has_said = True
                time.sleep(POLL)
            waiting = busy
