"""How the jobs of a sweep are started by a launcher of Hydra, and started again if their process died.

Hydra's launchers raise the error of the first job whose process died, and leave the other jobs to themselves: joblib ends them,
submitit and Ray go on without anyone who waits. Here a job without an outcome is started again; its run resumes from its
checkpoint.
"""

import copy
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from benchmarks.errors import UserError, fail, one_line, warn
from benchmarks.multirun.progress import Reporter
from benchmarks.multirun.seeds import check_size, groups_of_seeds
from benchmarks.multirun.width import processes_that_pay
from benchmarks.multirun.workers import in_worker, saves_first
from benchmarks.records.sweeps import forget_attempt, has_outcome

Jobs = dict[int, Sequence[str]]

# keys that may change what a job asks of a cluster, besides the choices of groups
RESOURCE_KEYS = ("resources.", "trainer.")
# launchers that ask a cluster for resources, and those of submitit
ASK_FOR_RESOURCES = ("SlurmLauncher", "RayLauncher")
OF_SUBMITIT = ("SlurmLauncher", "LocalLauncher")
OF_JOBLIB = "JoblibLauncher"


def persistent(
    launcher: Launcher, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
) -> Launcher:
    """The launcher itself, if it runs jobs in this process; otherwise a launcher that starts jobs with it, and starts them again
    if their process died."""
    if type(launcher).__name__ == "BasicLauncher":
        return launcher
    kind = AsManyAsPay if _chooses_itself(launcher) else Persistent
    return kind(launcher, hydra_context, task_function, config)


def _chooses_itself(launcher: Any) -> bool:
    """Whether genbench chooses the number of processes: launcher=auto, unless the command says hydra.launcher.n_jobs."""
    return type(launcher).__name__ == OF_JOBLIB and getattr(launcher, "joblib", {}).get("n_jobs") == 0


class Persistent(Launcher):
    """Starts jobs with another launcher until each has an outcome, at most `retries` times more than once each.

    A job whose process died twice is started alone: joblib ends every process when one dies.
    """

    def __init__(
        self, launcher: Launcher, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.launcher, self.kind = launcher, type(launcher).__name__
        if self.kind == OF_JOBLIB:
            launcher.task_function = partial(in_worker, task_function)  # type: ignore[attr-defined]
        self.context, self.task, self.config = hydra_context, task_function, config
        if not isinstance(config.retries, int) or config.retries < 0:
            _leave(f"retries is {config.retries!r}; expected a whole number of 0 or more")
        self.folder, self.retries = Path(config.hydra.sweep.dir), config.retries
        self._resources: dict[tuple[str, ...], str] = {}

    def setup(self, **parts: Any) -> None:
        """The launcher is set up already."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Starts jobs and waits for them. Returns nothing: outcomes lie on disk.

        Raises:
            SystemExit: if the launcher starts no job at all, after an error line.
        """
        jobs: Jobs = dict(enumerate(job_overrides, initial_job_idx))
        long: list[int] = []
        if (size := self.config.get("seeds_per_job", 1)) != 1:
            jobs, long = _first_of_each_group(jobs, size)
        deaths, has_started = Counter[int](), False
        with Reporter(self.folder, jobs, initial_job_idx, long):
            while waiting := {
                n: jobs[n] for n in jobs if deaths[n] <= self.retries and not has_outcome(self.folder, n)
            }:
                if deaths:
                    warn(f"the process of a job died; jobs without an outcome are started again: {_named(waiting)}")
                together = {n: words for n, words in waiting.items() if deaths[n] < 2}
                rounds = [together] if together else [{n: words} for n, words in waiting.items()]
                for group in rounds:
                    error = self._start(group)
                    lost = [n for n in group if not has_outcome(self.folder, n)]
                    begun = [n for n in lost if forget_attempt(self.folder, n)]
                    has_started |= bool(begun) or len(lost) < len(group)
                    if not has_started:
                        reason = "no reason is known" if error is None else f"{type(error).__name__}: {one_line(error)}"
                        _leave(f"the launcher started none of {len(group)} jobs ({reason[:400]})")
                    # a process may die before its job has begun
                    deaths.update(begun or lost)
        return []

    def _start(self, jobs: Jobs) -> BaseException | None:
        """Starts jobs once and waits until each of them has ended. Returns an error of the launcher."""
        errors: list[BaseException] = []

        def start(launcher: Launcher, numbers: Sequence[int]) -> None:
            # the folder of a job is named after its number in the sweep, whatever the launcher's own numbers are
            words = [[*jobs[n], f"hydra.sweep.subdir={n}"] for n in numbers]
            try:
                launcher.launch(words, initial_job_idx=numbers[0])
            except (Exception, SystemExit) as error:  # the process of a job died, or left with a status
                errors.append(error)

        saving = saves_first(self.folder, jobs) if self.kind == OF_JOBLIB else nullcontext()
        with _waiting_for_every_job(self.kind), saving:
            groups = list(self._groups(jobs))
            if len(groups) == 1 or self.kind == "LocalLauncher":
                for launcher, numbers in groups:
                    start(launcher, numbers)
            else:  # the groups wait in the cluster's queue together
                threads = [threading.Thread(target=start, args=group, daemon=True) for group in groups]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        return errors[0] if errors else None

    def _groups(self, jobs: Jobs) -> Iterator[tuple[Launcher, Sequence[int]]]:
        """The jobs that one call of a launcher starts, each group with its launcher."""
        if self.kind == "LocalLauncher":  # submitit starts every job at once, whatever the number of cores
            numbers, width = list(jobs), os.cpu_count() or 1
            yield from ((self.launcher, numbers[i : i + width]) for i in range(0, len(numbers), width))
        elif self.kind in ASK_FOR_RESOURCES:
            grouped: dict[str, list[int]] = defaultdict(list)
            for n, words in jobs.items():
                grouped[self._resources_of(words)].append(n)
            yield from ((self._launcher_with(resources), numbers) for resources, numbers in grouped.items())
        else:
            yield self.launcher, list(jobs)

    def _resources_of(self, words: Sequence[str]) -> str:
        """What a job asks a cluster for, as yaml."""
        key = tuple(word for word in words if _may_change_resources(word))
        if key not in self._resources:
            job = self.context.config_loader.load_sweep_config(self.config, list(words))
            self._resources[key] = OmegaConf.to_yaml(job.resources, resolve=True)
        return self._resources[key]

    def _launcher_with(self, resources: str) -> Launcher:
        """A launcher whose jobs ask for resources."""
        config = copy.deepcopy(self.config)
        with open_dict(config):
            config.resources = OmegaConf.create(resources)
        launcher: Any = Plugins.instance().instantiate_launcher(self.context, self.task, config)
        if self.kind == "RayLauncher":  # groups of jobs must not each start Ray
            import ray

            if not ray.is_initialized():
                ray.init(**cast(dict[str, Any], OmegaConf.to_container(launcher.ray_cfg.init, resolve=True)))
        return cast(Launcher, launcher)


class AsManyAsPay(Persistent):
    """Starts as many jobs at a time as pay, with one thread each; one after another in this process if that is one."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """As `Persistent`."""
        launcher: Any = self.launcher
        launcher.joblib["n_jobs"] = processes = processes_that_pay(self.config, job_overrides)
        if processes == 1:
            launcher = BasicLauncher()
            launcher.setup(hydra_context=self.context, task_function=self.task, config=self.config)
            return cast(Sequence[JobReturn], launcher.launch(job_overrides, initial_job_idx))
        print(
            f"{processes} jobs at a time; python -m benchmarks.costs measures speeds that can be compared", flush=True
        )
        is_chosen = any(word.startswith("threads=") for job in job_overrides for word in job)
        more = [] if is_chosen or self.config.threads is not None else ["threads=1"]
        return super().launch([[*job, *more] for job in job_overrides], initial_job_idx)


def _first_of_each_group(jobs: Jobs, size: Any) -> tuple[Jobs, list[int]]:
    """Jobs in another order, and those that come first. These train seeds together; so no process waits for another's stack."""
    try:
        groups = groups_of_seeds(jobs, check_size(size))
    except UserError as error:
        _leave(str(error))
    first = [group[0] for group in groups]
    return {n: jobs[n] for n in (*first, *(n for group in groups for n in group[1:]))}, first


def _leave(message: str) -> NoReturn:
    """Prints an error line and leaves: outside of a job, Hydra shows the traceback of an exception."""
    fail(message)
    raise SystemExit(1)


def _named(jobs: Jobs) -> str:
    names = [str(n + 1) for n in jobs]
    return f"{', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"


def _may_change_resources(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0]
    return key != "seed" and ("." not in key or key.startswith(RESOURCE_KEYS))


@contextmanager
def _waiting_for_every_job(kind: str) -> Iterator[None]:
    """At the end of the block, waits for every job that submitit started in it: submitit's launchers leave at the first job whose
    process died, and keep no list of the others."""
    if kind not in OF_SUBMITIT:
        yield
        return
    from submitit import AutoExecutor

    jobs: list[Any] = []
    original = AutoExecutor.map_array

    def remember(self: Any, *arguments: Any) -> Any:
        jobs.extend(started := original(self, *arguments))
        return started

    setattr(AutoExecutor, "map_array", remember)  # noqa: B010 - a type checker refuses to assign to a method
    try:
        yield
        for job in jobs:
            job.wait()
    finally:
        setattr(AutoExecutor, "map_array", original)  # noqa: B010
