"""Times of a run beside other work are no times of a run alone, and nothing is stated of them.

Speeds that `python -m benchmarks.costs` measured in turns are compared whatever else the machine did: other work slows every
row of such a measurement alike.
"""

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
    ids = set[str]().union(*map(measured_together, rows))
    if ids <= {""}:
        return of_training if were_alone else TIMES
    # one command may measure runs of several numbers of threads, and on several devices
    environments = [run.costs["environment"] for row in rows for run in with_speeds(row) if run.costs is not None]
    machines = {tuple(environment.get(key) for key in MACHINE) for environment in environments}
    return of_training if len(ids) == 1 and len(machines) == 1 else of_training | SPEEDS


def with_speeds(row: OfRuns) -> list[Run]:
    """The finished runs of a row that have a speed."""
    runs = [run for run in row.runs if run.status == "finished"]
    return [run for run in runs if not SPEEDS.isdisjoint(row.measured.get(int(run.record["seed"]), ()))]
