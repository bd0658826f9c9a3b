"""Rows of a data set by two scores, and the Pareto front: the rows that no other row dominates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.reporting.across_statistics import pareto_front
from benchmarks.reporting.alone import TIMES, are_of_one_measurement, incomparable
from benchmarks.reporting.opening import ACROSS, UP, first_column
from benchmarks.reporting.table import ColumnHead, Row, Table

COST_COLUMNS = ("train_seconds",)
# if one measurement has the speeds of all rows
MEASURED_COST = ("images_per_second",)


@dataclass(frozen=True)
class Front:
    """Rows of a data set by two columns.

    Args:
        table: of the data set.
        across, up: the columns.
        rows: with the means of both, and whether no other row dominates the row.
    """

    table: Table
    across: ColumnHead
    up: ColumnHead
    rows: Sequence[tuple[Row, float, float, bool]]


def fronts_of(table: Table, rows: Sequence[Row]) -> list[Front]:
    """FID against reconstruction, log-likelihood and the cost of training, with the rows that no other row dominates."""
    up = first_column(UP, table, rows)
    fronts = []
    for names in (*ACROSS, MEASURED_COST if are_of_one_measurement(rows) else COST_COLUMNS):
        across = first_column(names, table, rows)
        if up is None or across is None:
            continue
        if across.name in TIMES and across.name in incomparable(rows):
            continue
        points = [(row, *means) for row in rows if (means := _means(row, across, up)) is not None]
        costs = np.array([[_cost(row, across, a), _cost(row, up, b)] for row, a, b in points])
        on_front = pareto_front(costs)
        fronts.append(Front(table, across, up, [(*p, bool(f)) for p, f in zip(points, on_front, strict=True)]))
    return fronts


def _means(row: Row, *columns: ColumnHead) -> tuple[float, float] | None:
    means = [cell.mean for c in columns if (cell := row.cells.get(c.name)) is not None and cell.mean is not None]
    return (means[0], means[1]) if len(means) == 2 else None


def _cost(row: Row, column: ColumnHead, mean: float) -> float:
    """The mean as a cost; infinity for a row with a lost run."""
    if row.count("finished") < len(row.runs):
        return np.inf
    return -mean if column.higher_is_better else mean
