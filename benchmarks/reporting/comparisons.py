"""Statements about the rows of a table: intervals of means, ranks, and pairwise comparisons."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice, product
from typing import NamedTuple

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
    arrays = [{name: np.array(values) for name, values in of_row.items()} for _, of_row, _ in rows]
    families = [
        family
        for column, budget in product(columns, dict.fromkeys(budget for *_, budget in rows))
        if column.higher_is_better is not None
        and (family := _family(rows, arrays, budget, column, min_seeds)) is not None
    ]
    tests = iter(_differences([(family.values[a], family.values[b]) for family in families for a, b in family.pairs]))
    for family in families:
        _compare(statements, family, [label for label, *_ in rows], list(islice(tests, len(family.pairs))), best)
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


class _Family(NamedTuple):
    """The comparisons of a column among the rows of one budget.

    Args:
        column: that is compared.
        rows: the places of the rows that have enough values.
        values: of each of these rows.
        first: the place among `rows` of the row with the best mean.
        pairs: places among `rows`.
    """

    column: ColumnHead
    rows: list[int]
    values: list[Array]
    first: int
    pairs: list[tuple[int, int]]


def _family(
    rows: Sequence[RowValues],
    arrays: Sequence[Mapping[str, Array]],
    budget: str | None,
    column: ColumnHead,
    min_seeds: int,
) -> _Family | None:
    """The comparisons of a column among the rows of a budget; None for fewer than two rows."""
    name = column.name
    enough = [
        i for i, (*_, of_row) in enumerate(rows) if of_row == budget and len(arrays[i].get(name, ())) >= min_seeds
    ]
    if len(enough) < 2:
        return None
    sign = -1 if column.higher_is_better else 1
    sums = [math.fsum(rows[i][1][name]) / len(rows[i][1][name]) for i in enough]
    first = min(range(len(enough)), key=lambda k: sign * sums[k])
    if len(enough) <= MANY_ROWS:
        pairs = list(combinations(range(len(enough)), 2))
    else:
        pairs = [(first, k) for k in range(len(enough)) if k != first]
    return _Family(column, enough, [arrays[i][name] for i in enough], first, pairs)


def _compare(
    statements: Statements, family: _Family, labels: Sequence[str], tests: Sequence[Difference], best: set[Place]
) -> None:
    """Adds the ranks, the comparisons and the ties of a family to the statements."""
    name, rows, first = family.column.name, family.rows, family.first
    if len(rows) <= MANY_ROWS:
        ranks = rank_intervals(family.values, bool(family.column.higher_is_better))
        statements.ranks.update({(i, name): rank for i, rank in zip(rows, ranks, strict=True)})
    adjusted = holm([difference.p for difference in tests])
    first_is_best = (rows[first], name) in best
    for (a, b), difference, p in zip(family.pairs, tests, adjusted, strict=True):
        statements.comparisons.append(Comparison(name, labels[rows[a]], labels[rows[b]], difference, p))
        # a best row with too few seeds is in no comparison, and no row is tied with it
        if first_is_best and first in (a, b) and p >= ALPHA:
            other = (rows[b if first == a else a], name)
            if other not in best:
                statements.tied.add(other)


def _differences(pairs: Sequence[tuple[Array, Array]]) -> list[Difference]:
    """In the order of the pairs. Pairs with equal numbers of seeds are tested in one call."""
    shapes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for k, (a, b) in enumerate(pairs):
        shapes[len(a), len(b)].append(k)
    by_pair: dict[int, Difference] = {}
    for ks in shapes.values():
        by_pair.update(zip(ks, differences(*(np.stack([pairs[k][side] for k in ks]) for side in (0, 1))), strict=True))
    return [by_pair[k] for k in range(len(pairs))]
