"""Statements about the rows of a table: intervals of means, ranks, and pairwise comparisons."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, compress, islice, product
from typing import NamedTuple

import numpy as np

from benchmarks.reporting.cells import Interval, Place
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
# a row's label, its values by column, one a seed, and its budget
RowValues = tuple[str, Mapping[str, Sequence[float]], str | None]


class SeedValues:
    """The values of each row and column with enough seeds: one array for all that have equal numbers of seeds.

    The intervals of their means are computed when the first one is asked for: the process of a large report that answers
    claims asks for none.

    Args:
        rows: the models of a table.
        min_seeds: places with fewer values are left out.
    """

    def __init__(self, rows: Sequence[RowValues], min_seeds: int) -> None:
        self.places: dict[int, list[Place]] = defaultdict(list)  # by number of seeds
        self.at: dict[Place, tuple[int, int]] = {}  # the number of seeds, and the line of the array
        lists: dict[int, list[Sequence[float]]] = defaultdict(list)
        for i, (_, columns, _) in enumerate(rows):
            for name, values in columns.items():
                if (n := len(values)) >= min_seeds:
                    self.at[i, name] = n, len(lists[n])
                    self.places[n].append((i, name))
                    lists[n].append(values)
        self.arrays = {n: np.array(same) for n, same in lists.items()}

    def __getitem__(self, place: Place) -> Array:
        n, line = self.at[place]
        values: Array = self.arrays[n][line]
        return values

    def interval_at(self, place: Place) -> Interval | None:
        """The interval of a mean; None for a place with too few values, or with equal ones."""
        return self._intervals.get(place)

    @cached_property
    def _intervals(self) -> Mapping[Place, Interval]:
        """The 95% bootstrap intervals of the means."""
        intervals: dict[Place, Interval] = {}
        for n, array in self.arrays.items():
            # a number that is equal for every seed, such as a count of parameters, needs no interval
            varies = array.min(1) < array.max(1)
            ends = mean_intervals(array[varies]).tolist()
            intervals |= zip(compress(self.places[n], varies.tolist()), map(tuple, ends), strict=True)
        return intervals


@dataclass
class Statements:
    """What can be said about the rows of a table that have enough seeds."""

    values: SeedValues
    ranks: dict[Place, tuple[int, int, int]] = field(default_factory=dict)
    tied: set[Place] = field(default_factory=set)
    comparisons: list[Comparison] = field(default_factory=list)


def make_statements(
    rows: Sequence[RowValues], columns: Sequence[ColumnHead], best: set[Place], min_seeds: int
) -> Statements:
    """Ranks, and pairwise comparisons by Welch's test with Holm's correction.

    Args:
        rows: the models of a table. Rows of different budgets are not compared.
        columns: those with a direction are compared.
        best: the best row of each column and budget.
        min_seeds: rows with fewer values in a column are in no statement. At least 2.
    """
    values = SeedValues(rows, min_seeds)
    statements = Statements(values)
    families = [
        family
        for column, budget in product(columns, dict.fromkeys(budget for *_, budget in rows))
        if column.higher_is_better is not None and (family := _family(rows, values, budget, column)) is not None
    ]
    tests = iter(_differences(values, [(family.at[a], family.at[b]) for family in families for a, b in family.pairs]))
    labels = [label for label, *_ in rows]
    for family in families:
        _compare(statements, family, values, labels, list(islice(tests, len(family.pairs))), best)
    return statements


class _Family(NamedTuple):
    """The comparisons of a column among the rows of one budget.

    Args:
        column: that is compared.
        rows: the places of the rows that have enough values.
        at: the values of each of these rows: how many, and the line of their array.
        first: the place among `rows` of the row with the best mean.
        pairs: places among `rows`.
    """

    column: ColumnHead
    rows: list[int]
    at: list[tuple[int, int]]
    first: int
    pairs: list[tuple[int, int]]


def _family(rows: Sequence[RowValues], values: SeedValues, budget: str | None, column: ColumnHead) -> _Family | None:
    """The comparisons of a column among the rows of a budget; None for fewer than two rows."""
    name = column.name
    enough = [i for i, (*_, of_row) in enumerate(rows) if of_row == budget and (i, name) in values.at]
    at = [values.at[i, name] for i in enough]
    if len(enough) < 2:
        return None
    sign = -1 if column.higher_is_better else 1
    means = [math.fsum(rows[i][1][name]) / len(rows[i][1][name]) for i in enough]
    first = min(range(len(enough)), key=lambda k: sign * means[k])
    if len(enough) <= MANY_ROWS:
        pairs = list(combinations(range(len(enough)), 2))
    else:
        pairs = [(first, k) for k in range(len(enough)) if k != first]
    return _Family(column, enough, at, first, pairs)


def _compare(
    statements: Statements,
    family: _Family,
    values: SeedValues,
    labels: Sequence[str],
    tests: Sequence[Difference],
    best: set[Place],
) -> None:
    """Adds the ranks, the comparisons and the ties of a family to the statements."""
    name, rows, first = family.column.name, family.rows, family.first
    if len(rows) <= MANY_ROWS:
        ranks = rank_intervals([values[i, name] for i in rows], bool(family.column.higher_is_better))
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


def _differences(values: SeedValues, pairs: Sequence[tuple[tuple[int, int], tuple[int, int]]]) -> list[Difference]:
    """In the order of the pairs. Pairs with equal numbers of seeds are tested in one call."""
    shapes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for k, ((n, _), (m, _)) in enumerate(pairs):
        shapes[n, m].append(k)
    by_pair: dict[int, Difference] = {}
    for (n, m), ks in shapes.items():
        left, right = (values.arrays[size][[pairs[k][side][1] for k in ks]] for side, size in enumerate((n, m)))
        by_pair.update(zip(ks, differences(left, right), strict=True))
    return [by_pair[k] for k in range(len(pairs))]
