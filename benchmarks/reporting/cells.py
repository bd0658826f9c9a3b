"""A cell of a table: a mean and a spread over seeds, and the cell as text."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.reporting.numbers import number

# (index of the row, column)
Place = tuple[int, str]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of a row: the mean and standard deviation over seeds, or the reason why there is no number.

    Args:
        mean, deviation: over seeds; no deviation for one seed.
        n: seeds with a value.
        reason: why there is no number.
        missing: seeds without a value.
        interval_at: gives the 95% bootstrap interval of the mean at a place, if there are enough seeds.
        place: of the cell.
        rank: among the models of the table, with its interval, if there are enough seeds.
        is_best: whether the mean is the best of the column.
        is_tied: whether the mean is not the best, and not significantly worse than the best.
    """

    mean: float | None
    deviation: float | None = None
    n: int = 0
    reason: str | None = None
    missing: int = 0
    interval_at: Callable[[Place], Interval | None] | None = None
    place: Place = (0, "")
    rank: tuple[int, int, int] | None = None
    is_best: bool = False
    is_tied: bool = False

    @property
    def interval(self) -> Interval | None:
        """The 95% bootstrap interval of the mean, if there are enough seeds and their values differ."""
        return None if self.interval_at is None else self.interval_at(self.place)


def cell_text(cell: Cell) -> str:
    """ "mean ± deviation", the mean alone if there is no deviation, or a dash; "(2 of 3)" if a seed has no value."""
    if cell.missing and cell.mean is not None:
        return f"{cell_text(replace(cell, missing=0))} ({cell.n} of {cell.n + cell.missing})"
    if cell.mean is None:
        return "—"
    if not cell.deviation:  # one seed, or equal values
        return number(cell.mean)
    # the deviation to two digits, the mean to the same place
    digits = max(0, 1 - math.floor(math.log10(cell.deviation)))
    if digits > 6:
        return f"{number(cell.mean)} ± {cell.deviation:.1e}"
    return f"{cell.mean:,.{digits}f} ± {cell.deviation:,.{digits}f}"
