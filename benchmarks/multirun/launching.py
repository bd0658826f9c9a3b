"""How the jobs of a sweep are started by a launcher of Hydra, and started again if their process died.

Hydra's launchers raise the error of the first job whose process died, and leave the other jobs to themselves: joblib ends them,
submitit and Ray go on without anyone who waits. Here a job without an outcome is started again; its run resumes from its
checkpoint.
"""

import copy
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from benchmarks.errors import UserError, one_line, warn
from benchmarks.multirun.progress import Reporter
from benchmarks.records.sweeps import forget_attempt, has_outcome

Jobs = dict[int, Sequence[str]]

# keys that may change what a job asks of a cluster, besides the choices of groups
RESOURCE_KEYS = ("resources.", "trainer.")


def persistent(
    launcher: Launcher, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
) -> Launcher:
    """The launcher itself, if it runs jobs in this process; otherwise a launcher that starts jobs with it, and starts them again
    if their process died."""
    if type(launcher).__name__ == "BasicLauncher":
        return launcher
    return Persistent(launcher, hydra_context, task_function, config)


class Persistent(Launcher):
    """Starts jobs with another launcher until each has an outcome, at most `retries` times more than once each.

    A job whose process died twice is started alone: joblib ends every process when one dies.
    """

    def __init__(
        self, launcher: Launcher, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.launcher, self.kind = launcher, type(launcher).__name__
        self.context, self.task, self.config = hydra_context, task_function, config
        self.folder, self.retries = Path(config.hydra.sweep.dir), int(config.retries)
        self._launchers: dict[str, Launcher] = {}
        self._by_words: dict[tuple[str, ...], Launcher] = {}

    def setup(self, **parts: Any) -> None:
        """The launcher is set up already."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Starts jobs and waits for them. Returns nothing: outcomes lie on disk.

        Raises:
            UserError: if the launcher starts no job at all.
        """
        jobs: Jobs = dict(enumerate(job_overrides, initial_job_idx))
        deaths = Counter[int]()
        with Reporter(self.folder, jobs):
            while waiting := {n: jobs[n] for n in jobs if deaths[n] <= self.retries and not has_outcome(self.folder, n)}:
                if deaths:
                    warn(f"{len(waiting)} jobs ended without an outcome and are started again: {self._named(waiting)}")
                together = {n: words for n, words in waiting.items() if deaths[n] < 2}
                rounds = [together] if together else [{n: words} for n, words in waiting.items()]
                for group in rounds:
                    error = self._start(group)
                    lost = [n for n in group if not has_outcome(self.folder, n)]
                    begun = [n for n in lost if forget_attempt(self.folder, n)]
                    deaths.update(begun)
                    if len(lost) == len(group) and not begun:
                        reason = "no reason is known" if error is None else f"{type(error).__name__}: {one_line(error)}"
                        raise UserError(f"the launcher started none of {len(group)} jobs ({reason[:400]})")
        return []

    def _start(self, jobs: Jobs) -> BaseException | None:
        """Starts jobs once and waits until each of them has ended. Returns an error of the launcher."""
        if self.kind == "LocalLauncher":  # submitit starts every job at once, whatever the number of cores
            numbers, width = list(jobs), os.cpu_count() or 1
            groups = [(self.launcher, numbers[i : i + width]) for i in range(0, len(numbers), width)]
            errors = [self._start_with(launcher, {n: jobs[n] for n in group}) for launcher, group in groups]
        elif self.kind in ("SlurmLauncher", "RayLauncher"):
            grouped: dict[int, Jobs] = defaultdict(dict)
            launchers = {}
            for n, words in jobs.items():
                launcher = self._launcher_for(words)
                launchers[id(launcher)] = launcher
                grouped[id(launcher)][n] = words
            with ThreadPoolExecutor(len(grouped)) as threads:  # the groups wait in the cluster's queue together
                errors = list(threads.map(lambda key: self._start_with(launchers[key], grouped[key]), grouped))
        else:
            errors = [self._start_with(self.launcher, jobs)]
        return next((error for error in errors if error is not None), None)

    def _start_with(self, launcher: Launcher, jobs: Jobs) -> BaseException | None:
        # the folder of a job is named after its number in the sweep, whatever the launcher's own numbers are
        words = [[*words, f"hydra.sweep.subdir={n}"] for n, words in jobs.items()]
        try:
            with _waits_for_every_job(self.kind):
                launcher.launch(words, initial_job_idx=min(jobs))
        except (Exception, SystemExit) as error:  # the process of a job died, or left with a status
            return error
        return None

    def _launcher_for(self, words: Sequence[str]) -> Launcher:
        """The launcher with the resources that a job asks for."""
        key = tuple(word for word in words if _may_change_resources(word))
        if key not in self._by_words:
            job = self.context.config_loader.load_sweep_config(self.config, list(words))
            resources = OmegaConf.to_yaml(job.resources, resolve=True)
            if resources not in self._launchers:
                config = copy.deepcopy(self.config)
                with open_dict(config):
                    config.resources = OmegaConf.create(resources)
                make = Plugins.instance().instantiate_launcher
                self._launchers[resources] = make(self.context, self.task, config)
                self._prepare(self._launchers[resources])
            self._by_words[key] = self._launchers[resources]
        return self._by_words[key]

    def _prepare(self, launcher: Any) -> None:
        if self.kind == "RayLauncher":  # several groups of jobs must not each start Ray
            import ray

            if not ray.is_initialized():
                ray.init(**OmegaConf.to_container(launcher.ray_cfg.init, resolve=True))

    def _named(self, jobs: Jobs) -> str:
        names = [str(n + 1) for n in jobs]
        return f"job {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"


def _may_change_resources(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0]
    return key != "seed" and ("." not in key or key.startswith(RESOURCE_KEYS))


@contextmanager
def _waits_for_every_job(kind: str) -> Iterator[None]:
    """Lets submitit's launchers wait for all of their jobs: they leave at the first job whose process died."""
    if kind not in ("LocalLauncher", "SlurmLauncher"):
        yield
        return
    import submitit

    jobs: list[Any] = []
    original = submitit.AutoExecutor

    class Remembering(original):  # type: ignore[misc, valid-type]
        def map_array(self, *args: Any) -> Any:
            jobs.extend(started := super().map_array(*args))
            return started

    submitit.AutoExecutor = Remembering
    try:
        yield
    finally:
        submitit.AutoExecutor = original
        for job in jobs:
            job.wait()
