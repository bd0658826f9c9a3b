"""The data that the page's charts draw."""

import math
import statistics
from itertools import zip_longest
from typing import Any

from benchmarks.records.columns import BY_NAME
from benchmarks.records.runs import read_curve
from benchmarks.records.searches import Search
from benchmarks.reporting.table import Row, Table
from benchmarks.reporting.trials import best_of_n

# the columns of a curve that say what was spent; scores are plotted against them
SPENT = ("images", "seconds", "updates")
# tables of up to this many rows show the seeds in charts and the pairwise comparisons
FEW_ROWS = 12


def table_chart(table: Table) -> dict[str, Any]:
    """The data of a table's charts: means, deviations and seeds of each row, and its curve over the budget."""
    few = len(table.models) <= FEW_ROWS
    columns = [column for column in table.columns if column.higher_is_better is not None]
    rows = []
    for row in table.rows:
        cells = {
            c.name: row.cells[c.name] for c in columns if c.name in row.cells and row.cells[c.name].mean is not None
        }
        rows.append(
            {
                "label": row.label,
                "family": row.model,
                "baseline": row.is_baseline,
                "cells": {name: [_short(cell.mean), _short(cell.deviation)] for name, cell in cells.items()},
                # every list has one value a seed, in one order, so that two lists are of the same runs
                "seeds": {name: [_short(s.get(name)) for s in row.measured.values()] for name in cells} if few else {},
                "curve": _curve(row) if few else [],
            }
        )
    return {
        "title": table.title,
        "datamodule": table.datamodule,
        "network": table.network,
        "columns": [[column.name, column.heading] for column in columns],
        "titles": {f"val_{name}": f"validation {column.heading}" for name, column in BY_NAME.items()},
        "rows": rows,
    }


def _curve(row: Row) -> list[dict[str, list[float | None]]]:
    """Mean and deviation over seeds of the spent budget and of the scores, at each point of the budget."""
    curves = [read_curve(run.path) for run in row.runs if run.status == "finished"]
    points = []
    # aligned at the end, which is the whole budget for every seed: a slow start may skip several of the first points
    backwards = [curve[::-1] for curve in curves if curve]
    for at in list(zip_longest(*backwards))[::-1]:
        seeds = [point for point in at if point is not None]
        names = dict.fromkeys(name for point in seeds for name in point)
        mean_point: dict[str, list[float | None]] = {}
        for name in names:
            values = [point[name] for point in seeds if name in point]
            if name in SPENT or name.startswith("val_"):
                deviation = statistics.stdev(values) if len(values) > 1 else None
                mean_point[name] = [_short(statistics.fmean(values)), _short(deviation)]
        points.append(mean_point)
    return points


def search_chart(search: Search) -> dict[str, Any]:
    """The data of a search's chart: the expected best of n trials, and the value of each trial."""
    return {
        "title": search.title,
        "datamodule": search.record["datamodule"],
        "network": search.record["network"],
        "select": search.record["select"],
        "curves": {
            model: [None if point is None else [_short(v) for v in point] for point in curve]
            for model, curve in best_of_n(search).items()
        },
        "values": {
            model: [None if trial.value is None else _short(trial.value) for trial in trials]
            for model, trials in search.trials.items()
        },
    }


def _short(value: float | None) -> float | None:
    """To six digits, which charts do not show more than; None for NaN and infinities, which JSON does not have."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
