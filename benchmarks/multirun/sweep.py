"""A multirun: its plan on disk, the number of each job, the time left, how each job ended, and the leaderboard at the end."""

import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from benchmarks.errors import fail, one_line
from benchmarks.multirun.progress import done_before, time_left
from benchmarks.multirun.seeds import groups_of_seeds, seed_of
from benchmarks.multirun.workers import is_worker
from benchmarks.records.files import RecordError
from benchmarks.records.locks import LOCK, is_held
from benchmarks.records.outcomes import FILE, Outcome, read_outcome, write_outcome
from benchmarks.records.paths import RECORD
from benchmarks.records.sweeps import (
    PLAN,
    Job,
    Plan,
    has_outcome,
    read_plan,
    remove_sweep,
    supersede,
    working,
    write_job,
    write_plan,
)

# the sweep that this process runs: the number of its jobs, when it started, and the lock of its folder
_jobs: int | None = None
_started = 0.0
_lock = ExitStack()
# of this process: the line of the job that it works on, until it is printed; the jobs with nothing to do, all of them and those
# whose line is not printed yet
_waiting = ""
_idle = 0
_untold = 0

# the files of submitit: what each job printed, and its pickled task
LOGS = ".submitit"
# the most missing jobs that the end of a sweep names
MOST_NAMED = 20


class Leaderboard(Callback):
    """Writes the plan when a multirun starts, and builds its leaderboard when it ends."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        global _jobs, _started, _idle, _untold
        overrides = _planned(config)
        _idle = _untold = 0
        _jobs, _started = None if overrides is None else len(overrides), time.monotonic()
        _lock.close()
        if overrides is None or OmegaConf.is_missing(config, "sweep_name"):
            return
        folder = Path(config.hydra.sweep.dir)
        command = shlex.join(["python", "-m", "benchmarks.train", *sys.argv[1:]])
        plan = Plan.of(config.sweep_name, command, overrides)
        try:
            if not is_held(folder / LOCK):  # a folder that a user chose may be that of another sweep
                _lock.enter_context(working(folder))
            write_plan(folder, plan)
        except OSError as error:  # Hydra would only warn, and then show its own traceback
            fail(one_line(error))
            raise SystemExit(1) from None
        supersede(folder, plan)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        _print_idle()
        try:
            is_complete = _end(config)
        except Exception as error:  # Hydra would only warn, and the sweep would seem to have succeeded
            fail(f"the end of the sweep failed: {one_line(error)}")
            is_complete = False
        if not is_complete:
            raise SystemExit(1)


def _end(config: DictConfig) -> bool:
    """Builds the leaderboard and prints what is missing. Returns whether every job has finished or diverged."""
    folder = Path(config.hydra.sweep.dir)
    outcomes = dict(_outcomes(folder))
    missing = (_jobs or len(outcomes)) - len(outcomes)
    plan = read_plan(folder) if (folder / PLAN).is_file() else None
    is_complete = not missing and all(outcome.status != "failed" for outcome in outcomes.values())
    if is_complete:
        shutil.rmtree(folder / LOGS, ignore_errors=True)
    if not missing or plan is None:  # a sweep that is not complete keeps its plan for `benchmarks.status`
        remove_sweep(folder, 1 + max(outcomes, default=0))
    _lock.close()
    for outcome in outcomes.values():
        if outcome.status != "finished":
            fail(outcome.message)
    if missing:
        fail(f"{missing} of {_jobs} jobs ended without an outcome")
        if plan is not None:
            _name_missing(folder, plan)
    paths = [outcome.path for outcome in outcomes.values() if (outcome.path / RECORD).is_file()]
    return _report(paths, config) and is_complete


def _report(paths: list[Path], config: DictConfig) -> bool:
    """Builds the leaderboard of runs. Returns whether it could be built."""
    from benchmarks.reporting.build import write_report

    try:
        if paths:
            out = Path(config.reports_dir) / config.sweep_name
            write_report(paths, out, title=config.sweep_name, logger=config.get("logger"))
    except Exception as error:
        fail(f"the leaderboard could not be built: {one_line(error)}")
        return False
    return True


def _outcomes(folder: Path) -> Iterator[tuple[int, Outcome]]:
    """The outcomes of a sweep's jobs by number, in order; a job whose outcome cannot be read has none."""
    for path in sorted(folder.glob(f"*/{FILE}"), key=_job_number):
        with suppress(RecordError):
            yield _job_number(path), read_outcome(path)


def is_multirun() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


@contextmanager
def job() -> Iterator[None]:
    """Holds the lock of the job that this process works on: other processes see that the job is alive."""
    with working(Path(HydraConfig.get().runtime.output_dir)):
        yield


def announce(label: str, run: Path | None = None, budget: tuple[str, float] | None = None) -> None:
    """Writes the entry of a job that begins, and prints a line: its number, the number of jobs, its label, and the time left.

    The line of a run that has ended before waits until it is known whether there is anything to do.

    Args:
        label: the name of the job.
        run: the folder of its run.
        budget: unit and amount of its budget.
    """
    unit, amount = budget or (None, None)
    entry = Job(label, None if run is None else str(run), unit, amount, socket.gethostname(), time.time())
    write_job(Path(HydraConfig.get().runtime.output_dir), entry)
    global _waiting
    if not _is_silent():
        done = _number()
        of = f"/{_jobs}" if _jobs else ""
        left = time_left(time.monotonic() - _started, done - _idle, (_jobs or done) - done)
        _waiting = f"[{done + 1}{of}] {label}{left}"
        if run is None or not (run / RECORD).is_file():
            _print_waiting()


def seeds_beside(size: int) -> list[int]:
    """The seeds, this job's among them, of the jobs of the sweep that one process trains together: `size` at most.

    Fewer than two if the sweep has no plan, or the job is alone.
    """
    folder = Path(HydraConfig.get().runtime.output_dir).parent
    if not (folder / PLAN).is_file():
        return []
    jobs = dict(enumerate(read_plan(folder).jobs))
    own = next((group for group in groups_of_seeds(jobs, size) if _number() in group), [])
    seeds = dict.fromkeys(seed_of(jobs[number]) for number in own)
    return [seed for seed in seeds if seed is not None]


def report_outcome(outcome: Outcome) -> None:
    """Prints the outcome of a job and writes it where `Leaderboard` reads it. Jobs with nothing to do share a line."""
    global _idle, _untold, _waiting
    if outcome.was_done and _waiting:
        _idle, _untold, _waiting = _idle + 1, _untold + 1, ""
    elif not _is_silent():
        _print_waiting()
        print(f"      {outcome.message}", flush=True)
    try:
        write_outcome(Path(HydraConfig.get().runtime.output_dir), outcome)
    except OSError as error:  # the other jobs may still have a place to write; the end of the sweep names this one
        fail(one_line(error))


def _print_waiting() -> None:
    """Prints the line of the job that this process works on, after that of jobs with nothing to do."""
    global _waiting
    _print_idle()
    if _waiting:
        print(_waiting, flush=True)
    _waiting = ""


def _print_idle() -> None:
    global _untold
    if _untold:
        print(f"      {done_before(_untold)}", flush=True)
    _untold = 0


def _number() -> int:
    """The number of the job, which names its folder: a launcher numbers the jobs that are started again from 0."""
    name = Path(HydraConfig.get().runtime.output_dir).name
    return int(name) if name.isdigit() else int(HydraConfig.get().job.num)


def _is_silent() -> bool:
    """Whether the job would print on the stream of the command, between the lines of other jobs; the command prints for it."""
    launcher: Any = HydraConfig.get().get("launcher") or {}  # type: ignore[attr-defined]
    return is_worker() or str(launcher.get("_target_")).endswith("RayLauncher")


def _planned(config: DictConfig) -> list[list[str]] | None:
    """The overrides of each job of the basic sweeper; None for a sweeper that decides while it runs."""
    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        return None
    params = config.hydra.sweeper.get("params") or {}
    return jobs_of([*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task])


def jobs_of(words: Sequence[str]) -> list[list[str]]:
    """The overrides of each job that Hydra's basic sweeper makes of words such as `seed=0,1`."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(list(words)), None)
    return [list(job) for batch in batches for job in batch]


def _name_missing(folder: Path, plan: Plan) -> None:
    missing = [number for number in range(len(plan.jobs)) if not has_outcome(folder, number)]
    for number in missing[:MOST_NAMED]:
        fail(f"missing: job {number + 1}, {plan.label(number)}")
    if len(missing) > MOST_NAMED:
        fail(f"missing: {len(missing) - MOST_NAMED} more")
    fail(f"the same command starts the missing jobs again, and they resume from their checkpoints: {plan.command}")


def _job_number(path: Path) -> int:
    return int(path.parent.name) if path.parent.name.isdigit() else 0
