"""Launchers and callbacks that stand in for machines on which processes die."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from benchmarks.records.outcomes import Outcome, write_outcome
from benchmarks.records.sweeps import Job, write_job


class KillsOnce(Callback):
    """Kills the process of a sweep's first job as the job begins, unless the flag is there, which it leaves.

    Args:
        flag: the path of the flag.
    """

    def __init__(self, flag: str) -> None:
        self.flag = Path(flag)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.runtime.output_dir)
        if folder.name == "0" and not self.flag.exists():
            write_job(folder, Job("first", None, None, None, "here", 0.0))
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class DyingLauncher(Launcher):
    """Runs jobs in order, and raises an error at the first job that dies, as joblib does.

    Args:
        folder: the folder of the sweep.
        dies: whether a job dies, by its number and by how often it was started before.
    """

    def __init__(self, folder: Path, dies: Callable[[int, int], bool]) -> None:
        self.folder, self.dies = folder, dies
        self.calls: list[list[int]] = []
        self.starts: list[int] = []

    def setup(self, **parts: Any) -> None:
        """Nothing to set up."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        numbers = [int(words[-1].removeprefix("hydra.sweep.subdir=")) for words in job_overrides]
        self.calls.append(numbers)
        for number in numbers:
            own = self.folder / str(number)
            write_job(own, Job(f"job {number}", None, None, None, "here", 0.0))
            self.starts.append(number)
            if self.dies(number, self.starts.count(number) - 1):
                raise RuntimeError("a worker was killed")
            write_outcome(own, Outcome(own, "finished", "done"))
        return []
