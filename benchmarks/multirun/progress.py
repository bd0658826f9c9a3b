"""The progress of a series of jobs: the remaining time, and a line for each job that another process runs."""

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from benchmarks.errors import printable
from benchmarks.records.sweeps import PLAN, progress_of, read_plan

# seconds between two looks at the jobs, and the least ratio of that time to the time that a look takes
INTERVAL, RATIO = 1.0, 20


def time_left(seconds: float, finished: int, remaining: int) -> str:
    """ " · about 2 min 05 s left", at the pace of the finished jobs; empty before the first job has finished.

    Args:
        seconds: the duration of the finished jobs together.
        finished: the number of finished jobs.
        remaining: the number of jobs that remain.
    """
    if not finished or not remaining:
        return ""
    minutes, seconds_left = divmod(round(seconds / finished * remaining), 60)
    return f" · about {minutes} min {seconds_left:02} s left"


def done_before(count: int) -> str:
    """The one line for jobs with nothing to do."""
    runs = "1 run" if count == 1 else f"{count} runs"
    return f"{runs} ended before: nothing to do"


class Reporter:
    """Prints a line for each job of a sweep that ends, from the files of the jobs, while other processes run them.

    Args:
        folder: the folder of the sweep.
        jobs: the numbers of the jobs.
        before: the number of jobs of the sweep that were started before these.
        long: the jobs that train seeds for other jobs. They say nothing of the others' pace, and while one of them runs no time
            is estimated.
    """

    def __init__(self, folder: Path, jobs: Iterable[int], before: int = 0, long: Iterable[int] = ()) -> None:
        self.folder, self.open, self.before, self.long = folder, set(jobs), before, set(long)
        self.done, self.worked, self.started = 0, 0, time.monotonic()
        planned = len(read_plan(folder).jobs) if (folder / PLAN).is_file() else 0
        self.total = max(planned, before + len(self.open))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Reporter":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Prints a line for each job that has ended since the last look, and one for all with nothing to do."""
        progress = [progress_of(self.folder, number) for number in sorted(self.open)]
        running = sum(job.state == "running" for job in progress)
        ended = [job for job in progress if job.outcome is not None]
        self.open -= {job.number for job in ended}
        if idle := [job for job in ended if job.outcome is not None and job.outcome.was_done]:
            self.done += len(idle)
            print(f"[{self.before + self.done}/{self.total}] {done_before(len(idle))}", flush=True)
        for job in ended:
            if job.outcome is None or job.outcome.was_done:
                continue
            self.done += 1
            self.worked += not self.long
            label = job.job.label if job.job is not None else f"job {job.number + 1}"
            message = "" if job.state == "finished" else f": {job.outcome.message}"
            others = f" · {running} running" if running else ""
            done = self.before + self.done
            left = time_left(time.monotonic() - self.started, self.worked, self.total - done)
            print(printable(f"[{done}/{self.total}] {label} · {job.state}{message}{others}{left}"), flush=True)
        if self.long and not self.long & self.open:
            self.long, self.worked, self.started = set(), 0, time.monotonic()

    def _watch(self) -> None:
        wait = INTERVAL
        while not self._stop.wait(wait):
            start = time.monotonic()
            self.look()
            wait = max(INTERVAL, RATIO * (time.monotonic() - start))
