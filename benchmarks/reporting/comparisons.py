"""Statements about the rows of a table: intervals of means, ranks, and pairwise comparisons."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

import numpy as np

from benchmarks.reporting.seed_statistics import (
    ALPHA,
    Array,
    Difference,
    differences,
    holm,
    mean_intervals,
    rank_intervals,
)
from benchmarks.reporting.table import ColumnHead, Comparison

# tables of up to this many rows compare every pair; larger ones compare each row with the best, and ranks get no interval
MANY_ROWS = 20

# (index of the row, column)
Place = tuple[int, str]
# a row's label, its values by column, one a seed, and its budget
RowValues = tuple[str, Mapping[str, Sequence[float]], str | None]


@dataclass
class Statements:
    """What can be said about the rows of a table that have enough seeds."""

    intervals: dict[Place, tuple[float, float]] = field(default_factory=dict)
    ranks: dict[Place, tuple[int, int, int]] = field(default_factory=dict)
    tied: set[Place] = field(default_factory=set)
    comparisons: list[Comparison] = field(default_factory=list)


def make_statements(
    rows: Sequence[RowValues], columns: Sequence[ColumnHead], best: set[Place], min_seeds: int
) -> Statements:
    """95% intervals of means, ranks, and pairwise comparisons by Welch's test with Holm's correction.

    Args:
        rows: the models of a table. Rows of different budgets are not compared.
        columns: those with a direction are compared.
        best: the best row of each column and budget.
        min_seeds: rows with fewer values in a column are in no statement. At least 2.
    """
    statements = Statements(intervals=_intervals(rows, min_seeds))
    for column, budget in product(columns, dict.fromkeys(budget for *_, budget in rows)):
        if column.higher_is_better is not None:
            _compare(statements, rows, budget, column, best, min_seeds)
    return statements


def _intervals(rows: Sequence[RowValues], min_seeds: int) -> dict[Place, tuple[float, float]]:
    by_count: dict[int, list[tuple[Place, Sequence[float]]]] = defaultdict(list)
    for i, (_, columns, _) in enumerate(rows):
        for name, values in columns.items():
            # a number that is equal for every seed, such as a count of parameters, needs no interval
            if len(values) >= min_seeds and min(values) < max(values):
                by_count[len(values)].append(((i, name), values))
    intervals: dict[Place, tuple[float, float]] = {}
    for cells in by_count.values():
        ends = mean_intervals(np.array([values for _, values in cells])).tolist()
        intervals |= {place: (low, high) for (place, _), (low, high) in zip(cells, ends, strict=True)}
    return intervals


def _compare(
    statements: Statements,
    rows: Sequence[RowValues],
    budget: str | None,
    column: ColumnHead,
    best: set[Place],
    min_seeds: int,
) -> None:
    enough = [
        (i, label, np.array(columns[column.name]))
        for i, (label, columns, of_row) in enumerate(rows)
        if of_row == budget and len(columns.get(column.name, ())) >= min_seeds
    ]
    if len(enough) < 2:
        return
    sign = -1 if column.higher_is_better else 1
    values = [row_values for _, _, row_values in enough]
    first = min(range(len(enough)), key=lambda k: sign * math.fsum(values[k]) / len(values[k]))
    if len(enough) <= MANY_ROWS:
        pairs = list(combinations(range(len(enough)), 2))
        ranks = rank_intervals(values, bool(column.higher_is_better))
        statements.ranks.update({(i, column.name): rank for (i, _, _), rank in zip(enough, ranks, strict=True)})
    else:
        pairs = [(first, k) for k in range(len(enough)) if k != first]
    tests = _differences(values, pairs)
    adjusted = holm([difference.p for difference in tests])
    first_is_best = (enough[first][0], column.name) in best
    for (a, b), difference, p in zip(pairs, tests, adjusted, strict=True):
        statements.comparisons.append(Comparison(column.name, enough[a][1], enough[b][1], difference, p))
        # a best row with too few seeds is in no comparison, and no row is tied with it
        if first_is_best and first in (a, b) and p >= ALPHA:
            other = (enough[b if first == a else a][0], column.name)
            if other not in best:
                statements.tied.add(other)


def _differences(values: Sequence[Array], pairs: Sequence[tuple[int, int]]) -> list[Difference]:
    """In the order of the pairs. Pairs with equal numbers of seeds are tested in one call."""
    shapes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for k, (i, j) in enumerate(pairs):
        shapes[len(values[i]), len(values[j])].append(k)
    by_pair: dict[int, Difference] = {}
    for ks in shapes.values():
        a, b = (np.stack([values[pairs[k][side]] for k in ks]) for side in (0, 1))
        by_pair.update(zip(ks, differences(a, b), strict=True))
    return [by_pair[k] for k in range(len(pairs))]
