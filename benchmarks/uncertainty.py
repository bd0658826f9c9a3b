"""Puts intervals, ranks and comparisons into tables; where the seeds are too few for them, leaves them out."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from benchmarks.leaderboard import ColumnHead, Comparison, Row, Table
from benchmarks.statistics import ALPHA, MIN_SEEDS, Array, Difference, differences, holm, mean_intervals, rank_intervals

# every pair of up to this many rows is compared; of more, each with the best alone, and ranks have no intervals
MANY_ROWS = 20


def add(tables: Sequence[Table], min_seeds: int = MIN_SEEDS) -> None:
    """To every table: intervals of means, ranks, and pairwise comparisons by Welch's test with Holm's correction.

    Args:
        tables: changed in place.
        min_seeds: rows with fewer seeds get nothing, and are compared with nothing. At least 2.
    """
    _add_intervals(tables, min_seeds)
    for table in tables:
        for column in table.columns:
            if column.higher_is_better is not None:
                _compare(table, column, min_seeds)


def too_few(table: Table, min_seeds: int = MIN_SEEDS) -> str | None:
    """A sentence on the rows that have too few seeds for a statement; None where there is no such row."""
    few = [f"{row.label} ({row.count('finished')})" for row in table.models if row.count("finished") < min_seeds]
    if not few:
        return None
    return (
        f"Too few seeds for intervals, ranks and comparisons, which need {min_seeds} finished ones: {', '.join(few[:8])}"
        + (f" and {len(few) - 8} more rows." if len(few) > 8 else ".")
    )


def _add_intervals(tables: Sequence[Table], min_seeds: int) -> None:
    by_count: dict[int, list[tuple[Row, str, list[float]]]] = defaultdict(list)
    for table in tables:
        for row in table.models:
            for name in row.cells:
                values = row.values(name)
                # a number that is the same for every seed (a count of parameters, say) needs no interval
                if len(values) >= min_seeds and min(values) < max(values):
                    by_count[len(values)].append((row, name, values))
    for cells in by_count.values():
        intervals = mean_intervals(np.array([values for _, _, values in cells]))
        for (row, name, _), (low, high) in zip(cells, intervals.tolist(), strict=True):
            row.cells[name].interval = (low, high)


def _compare(table: Table, column: ColumnHead, min_seeds: int) -> None:
    rows = [(row, np.array(row.values(column.name))) for row in table.models]
    rows = [(row, values) for row, values in rows if len(values) >= min_seeds]
    if len(rows) < 2:
        return
    sign = -1 if column.higher_is_better else 1
    means = [row.cells[column.name].mean or 0.0 for row, _ in rows]
    best = min(range(len(rows)), key=lambda i: sign * means[i])
    if len(rows) <= MANY_ROWS:
        pairs = list(combinations(range(len(rows)), 2))
        ranks = rank_intervals([values for _, values in rows], bool(column.higher_is_better))
        for (row, _), rank in zip(rows, ranks, strict=True):
            row.cells[column.name].rank = rank
    else:
        pairs = [(best, i) for i in range(len(rows)) if i != best]
    made = _differences([values for _, values in rows], pairs)
    adjusted = holm([difference.p for difference in made])
    for (i, j), difference, p in zip(pairs, made, adjusted, strict=True):
        table.comparisons.append(Comparison(column.name, rows[i][0].label, rows[j][0].label, difference, p))
        # a best row with too few seeds is in no comparison, and nothing is tied with it
        if best in (i, j) and p >= ALPHA and rows[best][0].cells[column.name].is_best:
            other = rows[j if i == best else i][0].cells[column.name]
            other.is_tied = not other.is_best


def _differences(values: Sequence[Array], pairs: Sequence[tuple[int, int]]) -> list[Difference]:
    """In the order of the pairs; those with as many seeds on each side are tested in one call."""
    shapes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for k, (i, j) in enumerate(pairs):
        shapes[len(values[i]), len(values[j])].append(k)
    found: dict[int, Difference] = {}
    for ks in shapes.values():
        a, b = (np.stack([values[pairs[k][side]] for k in ks]) for side in (0, 1))
        found.update(zip(ks, differences(a, b), strict=True))
    return [found[k] for k in range(len(pairs))]
