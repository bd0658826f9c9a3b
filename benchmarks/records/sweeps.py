"""A sweep on disk while it runs: its plan, and what became of each of its jobs.

<folder>/plan.json               the jobs, written when the sweep starts
<folder>/lock                    held by the process that started the sweep
<folder>/<number>/job.json       the run of a job, written when the job begins
<folder>/<number>/lock           held while a process works on the job
<folder>/<number>/outcome.json   how the job ended

The folder is removed when every job has an outcome; the runs and their records stay.
"""

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from filelock import FileLock
from msgspec import Meta

from benchmarks.records.files import SCHEMA, RecordError, make_folder, remove_dead_leftovers, write_text
from benchmarks.records.json_files import read_json
from benchmarks.records.locks import LOCK, is_held
from benchmarks.records.outcomes import FILE, Outcome, read_outcome
from benchmarks.records.schemas import Amount, Text

PLAN = "plan.json"
JOB = "job.json"
SWEEPS = ".sweeps"
# files of a sweep that a process writes before the plan: Hydra's own, and the lock
WITHOUT_PLAN = ("multirun.yaml", LOCK)
# of a sweep: ten times what a sweep of a hundred thousand runs has
MOST_JOBS = 1_000_000
# seconds since 1970, until the year 5138
Time = Annotated[float, Meta(ge=0, le=1e11)]

State = Literal["waiting", "running", "interrupted", "finished", "diverged", "failed"]
ENDED: tuple[State, ...] = ("finished", "diverged", "failed")


@dataclass(frozen=True)
class Plan:
    """The jobs of a sweep.

    Args:
        name: the name of the sweep.
        command: the command that started the sweep; the same command finishes it.
        common: the overrides that every job has.
        jobs: the other overrides of each job, in order of the jobs' numbers.
        started_at: seconds since 1970.
    """

    name: str
    command: str
    common: list[str]
    jobs: list[list[str]]
    started_at: float

    @classmethod
    def of(cls, name: str, command: str, overrides: Sequence[Sequence[str]]) -> "Plan":
        """From the overrides of each job."""
        shared = set(overrides[0]).intersection(*map(set, overrides)) if len(overrides) > 1 else set()
        common = [word for word in overrides[0] if word in shared] if overrides else []
        return cls(name, command, common, [[w for w in words if w not in shared] for words in overrides], time.time())

    def label(self, number: int) -> str:
        """What tells a job from the others: `model=vae seed=1`."""
        return shlex.join(self.jobs[number]) or shlex.join(self.common) or self.name


@dataclass(frozen=True)
class Job:
    """A job that has begun.

    Args:
        label: its name in progress lines.
        run: the folder of its run; None for a job whose configuration could not be composed.
        unit, amount: the budget of the run.
        host: the name of the machine.
        began_at: seconds since 1970.
    """

    label: str
    run: str | None
    unit: str | None
    amount: float | None
    host: str
    began_at: float


class _PlanFile(TypedDict):
    """`plan.json`."""

    schema: int
    name: Text
    command: str
    common: list[str]
    jobs: Annotated[list[list[str]], Meta(max_length=MOST_JOBS)]
    started_at: Time


class _JobFile(TypedDict):
    """`job.json`."""

    schema: int
    label: str
    run: Annotated[str, Meta(max_length=4096, pattern=r"\A[^\x00]*\Z")] | None
    unit: Literal["images", "seconds", "updates"] | None
    amount: Amount | None
    host: str
    began_at: Time


@dataclass(frozen=True)
class Progress:
    """A job of a sweep: its state, its entry if it has begun, and its outcome if it has ended."""

    number: int
    state: State
    job: Job | None
    outcome: Outcome | None
    ended_at: float | None


def write_plan(folder: Path, plan: Plan) -> None:
    """Writes the plan of a sweep."""
    write_text(folder / PLAN, json.dumps({"schema": SCHEMA, **asdict(plan)}) + "\n", is_precious=False)


def read_plan(folder: Path) -> Plan:
    """Reads the plan of a sweep.

    Raises:
        RecordError: for a missing or damaged file.
    """
    record = read_json(folder / PLAN, _PlanFile)
    return Plan(**{key: value for key, value in record.items() if key != "schema"})  # type: ignore[arg-type]


def find_plans(runs: Path) -> list[Path]:
    """The folders of sweeps that have a plan, oldest first.

    Args:
        runs: a folder of runs.
    """
    plans = [*runs.glob(PLAN), *(runs / SWEEPS).glob(f"*/*/{PLAN}")]
    return [plan.parent for plan in sorted(plans, key=lambda path: path.stat().st_mtime)]


def write_job(folder: Path, job: Job) -> None:
    """Writes the entry of a job that begins into the folder of the job."""
    write_text(folder / JOB, json.dumps({"schema": SCHEMA, **asdict(job)}) + "\n", is_precious=False)


@contextmanager
def working(folder: Path) -> Iterator[None]:
    """Holds the lock of a job, or of a sweep, while a process works on it. Waits for another process that holds it."""
    make_folder(folder)
    with FileLock(folder / LOCK):
        yield


def progress_of(folder: Path, number: int) -> Progress:
    """The state of a job of a sweep, from its files alone. A job that has begun, has no outcome, and that no process works on
    is interrupted."""
    own = folder / str(number)
    with suppress(OSError, RecordError):  # a file that is being written is read at the next look
        outcome = read_outcome(own / FILE)
        return Progress(number, outcome.status, _read_job(own), outcome, (own / FILE).stat().st_mtime)
    job = _read_job(own)
    if is_held(own / LOCK):
        return Progress(number, "running", job, None, None)
    return Progress(number, "waiting" if job is None else "interrupted", job, None, None)


def has_outcome(folder: Path, number: int) -> bool:
    """Whether a job has ended with an outcome that can be read."""
    try:
        read_outcome(folder / str(number) / FILE)
    except RecordError:
        return False
    return True


def forget_attempt(folder: Path, number: int) -> bool:
    """Removes the entry of a job that has begun, so that a new attempt is told from the last one. Returns whether there was an
    entry."""
    entry = folder / str(number) / JOB
    had_begun = entry.is_file()
    entry.unlink(missing_ok=True)
    return had_begun


def remove_sweep(folder: Path, jobs: int) -> None:
    """Removes the files of a sweep, and folders that are then empty: a folder that a user chose may hold more."""
    for own in (folder / str(number) for number in range(jobs)):
        _remove(own, (JOB, LOCK, FILE))
    _remove(folder, (*WITHOUT_PLAN, PLAN))  # the plan last: what a killed process left is found by it


def supersede(folder: Path, plan: Plan) -> None:
    """Removes earlier sweeps with the same jobs, and sweeps without a plan, whose process ended before the sweep did."""
    for lock in folder.parent.glob(f"*/{LOCK}"):
        if lock.parent != folder and not (lock.parent / PLAN).exists() and not is_held(lock):
            _remove(lock.parent, WITHOUT_PLAN)
    for other in folder.parent.glob(f"*/{PLAN}"):
        if other.parent == folder or is_held(other.parent / LOCK):
            continue
        with suppress(RecordError):
            old = read_plan(other.parent)
            if (old.common, old.jobs) == (plan.common, plan.jobs):
                remove_sweep(other.parent, len(old.jobs))


def _read_job(folder: Path) -> Job | None:
    try:
        record = read_json(folder / JOB, _JobFile)
    except RecordError:
        return None
    return Job(**{key: value for key, value in record.items() if key != "schema"})  # type: ignore[arg-type]


def _remove(folder: Path, names: Sequence[str]) -> None:
    remove_dead_leftovers(folder)
    for name in names:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
