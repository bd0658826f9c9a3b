"""How far the sweeps and the runs of a folder are, from files alone and without torch."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from os import walk
from pathlib import Path

from benchmarks.errors import fail, printable
from benchmarks.multirun.progress import time_left
from benchmarks.records.files import RecordError
from benchmarks.records.locks import LOCK, is_held
from benchmarks.records.paths import CONFIG, CURVE, NO_RUNS, RECORD, SEED, checkpoint_path
from benchmarks.records.runs import read_curve, read_record
from benchmarks.records.sweeps import (
    ENDED,
    Job,
    Plan,
    Progress,
    State,
    find_plans,
    progress_of,
    read_plan,
)

# the states of jobs in the order in which they are counted
STATES: tuple[State, ...] = ("finished", "diverged", "failed", "running", "interrupted", "waiting")
# the most jobs of one state that are listed
MOST_LISTED = 20


@dataclass(frozen=True)
class Runs:
    """The runs of a folder: how many ended how, and which have no record."""

    ended: Counter[str]
    running: list[Path]
    interrupted: list[Path]


def print_status(root: Path) -> bool:
    """Prints how far the sweeps and the runs at or below a folder are.

    Returns:
        Whether a process works on any of them.
    """
    is_alive = False
    for folder in find_plans(root):
        try:
            plan = read_plan(folder)
        except RecordError as error:
            fail(str(error))
            continue
        jobs = [progress_of(folder, number) for number in range(len(plan.jobs))]
        has_command = is_held(folder / LOCK)
        is_alive |= has_command or any(job.state == "running" for job in jobs)
        for line in lines_of_sweep(plan, jobs, has_command):
            print(printable(line))
    runs = find_states(root)
    for line in lines_of_runs(runs):
        print(printable(line), flush=True)
    return is_alive or bool(runs.running)


def lines_of_sweep(plan: Plan, jobs: list[Progress], has_command: bool) -> Iterator[str]:
    """A sweep in lines: the numbers of its jobs, the time left, and each job that runs or needs attention.

    Args:
        plan: the sweep.
        jobs: its jobs.
        has_command: whether the process of the command is alive.
    """
    counts = Counter(job.state for job in jobs)
    ended = [job for job in jobs if job.state in ENDED]
    now = time.time()
    left = time_left(now - plan.started_at, len(ended), len(jobs) - len(ended)) if counts["running"] else ""
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(plan.started_at))
    numbers = " · ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    yield f"sweep {plan.name}, started {started}: {len(ended)} of {len(jobs)} jobs done"
    yield f"  {numbers}{left}"
    for state in ("running", "diverged", "failed", "interrupted"):
        listed = [job for job in jobs if job.state == state]
        for job in listed[:MOST_LISTED]:
            label = job.job.label if job.job is not None else plan.label(job.number)
            yield f"  {state:<12} [{job.number + 1}/{len(jobs)}] {label}{_detail(job, now)}"
        if len(listed) > MOST_LISTED:
            yield f"  {state:<12} {len(listed) - MOST_LISTED} more"
    if not has_command:
        yield f"  the command of the sweep has ended; the same command finishes the rest: {plan.command}"


def lines_of_runs(runs: Runs) -> Iterator[str]:
    """The runs of a folder in lines, those of sweeps and searches included."""
    counts = runs.ended | Counter({"in training": len(runs.running), "interrupted": len(runs.interrupted)})
    yield f"runs: {' · '.join(f'{n} {state}' for state, n in counts.items() if n) or 'none'}"
    for run in runs.interrupted[:MOST_LISTED]:
        resumes = (
            "resumes from its checkpoint" if checkpoint_path(run).is_file() else "has no checkpoint and starts anew"
        )
        yield f"  interrupted  {run}: {resumes}"
    if len(runs.interrupted) > MOST_LISTED:
        yield f"  interrupted  {len(runs.interrupted) - MOST_LISTED} more"


def find_states(root: Path) -> Runs:
    """The runs at or below a folder. A run without a record is in training if a process holds its lock, else interrupted."""
    runs = Runs(Counter(), [], [])
    for folder, folders, files in walk(root):
        folders[:] = sorted(name for name in folders if name not in NO_RUNS and not name.startswith("."))
        path = Path(folder)
        if not path.name.startswith(SEED):
            continue
        folders.clear()
        if RECORD in files:
            try:
                runs.ended[str((read_record(path) or {}).get("status"))] += 1
            except RecordError as error:
                fail(str(error))
        elif is_held(path / LOCK):
            runs.running.append(path)
        elif CONFIG in files:
            runs.interrupted.append(path)
    return runs


def share_spent(job: Job, now: float) -> tuple[float, float] | None:
    """The share of the budget that a running job has spent, from 0 to 1, and its speed in images per second.

    Both follow from the last point of the validation curve; since that point the run is taken to go on at its speed.

    Returns:
        None before the first point.
    """
    if job.run is None or job.amount is None:
        return None
    curve = Path(job.run) / CURVE
    rows = read_curve(curve.parent)
    if not rows or not rows[-1].get("seconds"):
        return None
    last = rows[-1]
    since = max(0.0, now - max(curve.stat().st_mtime, job.began_at))
    spent = last["seconds"] if job.unit == "seconds" else last[job.unit or "images"]
    spent_later = spent * (1 + since / last["seconds"])
    return min(1.0, spent_later / job.amount), last["images"] / last["seconds"]


def _detail(job: Progress, now: float) -> str:
    if job.outcome is not None:
        return f": {job.outcome.message}"
    if job.job is None or job.job.run is None:
        return ""
    run = Path(job.job.run)
    if job.state == "interrupted":
        if (run / RECORD).is_file():
            return ": trained, and not scored yet"
        return ": resumes from its checkpoint" if checkpoint_path(run).is_file() else ": starts anew"
    if (run / RECORD).is_file():
        return " · scoring"
    share = share_spent(job.job, now)
    if share is None:
        return f" · started {now - job.job.began_at:,.0f} s ago on {job.job.host}"
    return (
        f" · about {share[0]:.0%} of {job.job.amount:,.0f} {job.job.unit} · {share[1]:,.0f} images/s on {job.job.host}"
    )
