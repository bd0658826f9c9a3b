"""Times of a run beside other work are no times of a run alone, and nothing is stated of them.

Speeds that `python -m benchmarks.costs` measured in turns are compared whatever else the machine did: other work slows every
row of such a measurement alike.
"""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Protocol

from benchmarks.records.runs import Run

# what `benchmarks.costs` measures
SPEEDS = frozenset({"images_per_second", "sampling_images_per_second"})
# what is slower beside other work
TIMES = SPEEDS | {"train_seconds"}
# what a machine is, for times: the keys of an environment
MACHINE = ("device", "processor", "threads")
# the processors that other programs may keep busy meanwhile: what a system does by itself
MOST_NEIGHBOURS = 0.25

# between a row and how it was trained, in a reason
TRAINED = " was trained "
# in it, how many processors other work kept busy
_BUSY = re.compile(r"[0-9]+\.[0-9](?= processors busy)")


class OfRuns(Protocol):
    """A row, or a row in the making."""

    @property
    def runs(self) -> Sequence[Run]: ...

    @property
    def measured(self) -> Mapping[int, Mapping[str, float]]: ...


def measured_together(row: OfRuns) -> Set[str]:
    """The ids of the measurements that the speeds of a row are from; "" for speeds of the training itself.

    Empty for a row without speeds, as a row from elsewhere.
    """
    return {"" if run.costs is None else run.costs["together"] for run in with_speeds(row)}


def ran_alone(row: OfRuns) -> bool:
    """Whether other programs left the machine to every run of a row, as far as the records say."""
    return all(values.get("neighbours", 0.0) <= MOST_NEIGHBOURS for values in row.measured.values())


def incomparable(rows: Iterable[OfRuns]) -> frozenset[str]:
    """The times of which nothing is stated, because rows were trained beside other work, or measured at different times."""
    rows = [row for row in rows if any(run.status == "finished" for run in row.runs)]
    were_alone = all(map(ran_alone, rows))
    of_training = frozenset() if were_alone else TIMES - SPEEDS
    if all(measured_together(row) <= {""} for row in rows):
        return of_training if were_alone else TIMES
    return of_training if are_of_one_measurement(rows) else of_training | SPEEDS


def are_of_one_measurement(rows: Iterable[OfRuns]) -> bool:
    """Whether `benchmarks.costs` measured every speed of some rows, in one command and on one machine."""
    measured = [run.costs for row in rows for run in with_speeds(row)]
    # one command may measure runs of several numbers of threads, and on several devices
    machines = {
        None if costs is None else (costs["together"], *(costs["environment"].get(key) for key in MACHINE))
        for costs in measured
    }
    return len(machines) == 1 and None not in machines


def with_speeds(row: OfRuns) -> list[Run]:
    """The finished runs of a row that have a speed."""
    runs = [run for run in row.runs if run.status == "finished"]
    return [run for run in runs if not SPEEDS.isdisjoint(row.measured.get(int(run.record["seed"]), ()))]


def once_for_all(reasons: Iterable[str]) -> list[str]:
    """Reasons in order, each once. If several rows were trained in one way, one reason says so of them all, with the most
    processors that other work kept busy beside any of them."""
    rows: dict[str, list[str]] = {}
    said: dict[str, str] = {}
    for reason in dict.fromkeys(reasons):
        row, trained, how = reason.rpartition(TRAINED)
        way = _BUSY.sub("", how)
        rows.setdefault(way, []).extend([row] if trained else [])
        said[way] = max(said.get(way, how), how, key=_busy)
    return [f"{_subject(of_way)}{said[way]}" for way, of_way in rows.items()]


def _busy(how: str) -> float:
    found = _BUSY.search(how)
    return float(found[0]) if found else 0.0


def _subject(rows: Sequence[str]) -> str:
    if len(rows) < 2:
        return "".join(f"{row}{TRAINED}" for row in rows)
    return f"{', '.join(rows[:-1])} and {rows[-1]} were trained "
