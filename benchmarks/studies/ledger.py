"""Steps of known length within a limited time: what is done is kept, and the rest waits for the next time."""

import json
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError, fail, one_line
from benchmarks.records.files import write_json, write_text
from benchmarks.reporting.numbers import number

# a step starts if so many times its estimated length is left
RESERVE = 1.3
# of the time, for what follows the last step
TAIL = 2.0
# a step that goes on where it was stopped starts if so many seconds are left, or what is left of it
PIECE = 60.0
# seconds between two alarms once the time is over: Python drops an exception that is raised while it frees an object
AGAIN = 5.0

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]


class OutOfTime(BaseException):
    """The time is over. Not an Exception, because a run that is stopped is not a run that failed."""


@dataclass(frozen=True)
class Step:
    """A piece of a study.

    Args:
        name: of the file of its result.
        kind: steps of one kind correct each other's estimates.
        seconds: the length that is guessed for some machine; the lengths of steps that are done correct it.
        work: makes rows, by the title of their table.
        goes_on: whether what is done of the step is kept when the time is over, so that it may be longer than the time.
    """

    name: str
    kind: str
    seconds: float
    work: Callable[[], Tables]
    goes_on: bool = False


@dataclass
class Ledger:
    """The results of steps in a folder.

    Args:
        folder: of the results.
        machine: what the tables say of the machine; results of several machines stand in one table, each row with its own.
        clock: in seconds.
        is_usable: whether this process can still use the device after a step that failed.
    """

    folder: Path
    machine: str
    clock: Callable[[], float] = time.monotonic
    is_usable: Callable[[], bool] = lambda: True

    def run(self, steps: Sequence[Step], seconds: float) -> None:
        """Runs each step in order that has no result and fits into what is left of the time; what failed before comes last.

        Raises:
            UserError: after a step that leaves the device unusable to this process, in which every later step would fail too.
        """
        deadline = self.clock() + seconds - TAIL
        waiting = []
        for i, step in enumerate(sorted(steps, key=lambda step: self._failed(step).is_file()), 1):
            if self.result(step) is not None:
                continue
            left, needed = deadline - self.clock(), self.estimate(step, steps)
            if RESERVE * (min(needed, PIECE) if step.goes_on else needed) > left:
                waiting.append(step)
                continue
            print(f"[{i}/{len(steps)}] {step.name}: about {needed:.0f} s, {left:.0f} s left", flush=True)
            is_done = self._take(step, left)
            self.write_tables(steps)
            if not is_done:
                waiting.append(step)
                if not self.is_usable():
                    raise UserError(
                        f"{step.name} left the device unusable to this process: run the same command again for the other steps"
                    )
        self.write_tables(steps)
        done = sum(self.result(step) is not None for step in steps)
        rest = sum(self.estimate(step, steps) for step in waiting)
        print(
            f"{done} of {len(steps)} steps are done, about {rest / 60:.1f} minutes are left: {self.folder}/results.md"
        )

    def result(self, step: Step) -> Mapping[str, Any] | None:
        return _read(self._path(step))

    def estimate(self, step: Step, steps: Sequence[Step]) -> float:
        """Seconds: the step's own, times the median of measured over guessed of the done steps of its kind, or else of all.

        What was spent on the step before is taken off.
        """
        ratios: dict[bool, list[float]] = {True: [], False: []}
        for other in steps:
            if (result := self.result(other)) is not None:
                ratios[other.kind == step.kind].append(result["seconds"] / other.seconds)
        known = ratios[True] or ratios[False]
        whole = step.seconds * (statistics.median(known) if known else 1.0)
        return max(whole - self._spent(step), 0.1 * whole)

    def write_tables(self, steps: Sequence[Step]) -> None:
        """`results.json` and `results.md`: each table with the columns that any of its rows has, and the steps that failed."""
        tables: dict[str, list[Row]] = {}
        for step in steps:
            result = self.result(step) or _read(self._failed(step)) or {"tables": {}}
            for title, rows in result["tables"].items():
                tables.setdefault(title, []).extend({**row, "machine": result["machine"]} for row in rows)
        write_json(self.folder / "results.json", tables)
        write_text(self.folder / "results.md", "\n".join(_markdown(title, rows) for title, rows in tables.items()))

    def _take(self, step: Step, left: float) -> bool:
        start, target = self.clock() - self._spent(step), self._path(step)
        try:
            with _alarm(left):
                tables = step.work()
        except OutOfTime:
            if step.goes_on:
                print("      the time is over; training goes on from its checkpoint next time", flush=True)
                write_json(self._begun(step), {"seconds": round(self.clock() - start, 2)})
            else:
                print("      the time is over; the step starts again next time", flush=True)
            return False
        except Exception as fault:  # the other steps can still run, and this one is tried again next time
            message = f"{type(fault).__name__}: {one_line(fault)}"[:300]
            fail(f"{step.name}: {message}")
            tables, target = {"Steps that failed": [{"step": step.name, "error": message}]}, self._failed(step)
        write_json(target, {"tables": tables, "seconds": round(self.clock() - start, 2), "machine": self.machine})
        return target == self._path(step)

    def _path(self, step: Step) -> Path:
        return self.folder / "steps" / f"{step.name}.json"

    def _spent(self, step: Step) -> float:
        """The seconds that a step took before the time was over, and need not take again."""
        return float((_read(self._begun(step)) or {"seconds": 0.0})["seconds"])

    def _begun(self, step: Step) -> Path:
        return self.folder / "begun" / f"{step.name}.json"

    def _failed(self, step: Step) -> Path:
        return self.folder / "failed" / f"{step.name}.json"


def _read(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    result: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raises `OutOfTime` in the block once the time is over."""

    def ring(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _markdown(title: str, rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"## {title}", "", f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    lines += [f"| {' | '.join(_cell(row.get(column)) for column in columns)} |" for row in rows]
    return "\n".join([*lines, ""])


def _cell(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(float(value)) if isinstance(value, int | float) else str(value).replace("|", "/")
