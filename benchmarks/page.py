"""The report's page: one HTML file that needs nothing else, with its charts' library inside."""

import base64
import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from benchmarks.claims import Claim
from benchmarks.exports import ARROWS
from benchmarks.gallery import EMBEDDED_ROWS, KINDS, row_slug
from benchmarks.leaderboard import ColumnHead, Row, Table, cell_text, number
from benchmarks.runs import Run, read_curve
from benchmarks.searches import Search, Trial
from benchmarks.statistics import MIN_SEEDS
from benchmarks.uncertainty import too_few
from benchmarks.verdicts import Answer, Group, Pair, effect_text, p_text

# of a curve, what is not plotted against the budget
SPENT = ("images", "seconds", "updates")
BADGES = {"holds": "✓", "does not hold": "✗", "undecided": "?"}
# rows whose pairwise comparisons the page shows, and whose seeds' own values its charts do
FEW_ROWS = 12


def page(
    tables: Sequence[Table],
    failures: Sequence[Run],
    pictures: Mapping[str, Mapping[str, Path]],
    title: str,
    answers: Sequence[Answer] = (),
    searches: Sequence[Search] = (),
    out: Path = Path(),
    min_seeds: int = MIN_SEEDS,
) -> str:
    """The whole page. Whatever comes from a record is escaped.

    Args:
        tables, answers, searches: what it shows.
        failures: runs without a result.
        pictures: files by row and kind; those of a table's first rows are embedded.
        title: its heading.
        out: the folder it will lie in: links to records are relative to it.
        min_seeds: as many as a statement needs.
    """
    environment = Environment(
        loader=PackageLoader("benchmarks"),
        autoescape=select_autoescape(["html", "j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "arrow": ARROWS,
        "badges": BADGES,
        "effect_text": effect_text,
        "p_text": p_text,
        "number": number,
        "row_slug": row_slug,
        "too_few": lambda table: too_few(table, min_seeds),
        "data_cells": _data_cells,
        "dashes": _dashes,
        "model_of": lambda table, label: next(row.model for row in table.rows if row.label == label),
        "forest": _forest,
        "groups": _groups,
        "is_group": lambda side: isinstance(side, Group),
        "records": lambda row: [_record(run, out) for run in row.runs],
        "link": lambda path: _link(path, out),
        "params": _params,
        "few_rows": FEW_ROWS,
    }
    by_claim: dict[str, tuple[Claim, list[Answer]]] = {}
    for answer in answers:
        by_claim.setdefault(answer.claim.name, (answer.claim, []))[1].append(answer)
    assets = resources.files("benchmarks") / "templates"
    needs_charts = bool(tables or searches)
    return environment.get_template("report.html.j2").render(
        title=title,
        tables=tables,
        failures=failures,
        claims=list(by_claim.values()),
        counts={verdict: sum(a.verdict == verdict for a in answers) for verdict in BADGES},
        searches=searches,
        galleries=[_gallery(table, pictures, out) for table in tables],
        kinds={kind: text for kind, (_, text) in KINDS.items()},
        filters=_filters(tables, searches),
        min_seeds=min_seeds,
        css=Markup((assets / "report.css").read_text(encoding="utf-8")),
        script=Markup((assets / "report.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()) if needs_charts else "",
        data=_json(
            {"tables": [_chart_data(table) for table in tables], "searches": [_search_data(s) for s in searches]}
        ),
    )


def _filters(tables: Sequence[Table], searches: Sequence[Search]) -> dict[str, list[str]]:
    """What can be chosen of, in the order of the page; nothing where there is only one."""
    records = [search.record for search in searches]
    families = [row.model for table in tables for row in table.models]
    families += [model for search in searches for model in search.trials]
    found = {
        "datamodule": dict.fromkeys([*(t.datamodule for t in tables), *(r["datamodule"] for r in records)]),
        "network": dict.fromkeys([*(t.network for t in tables), *(r["network"] for r in records)]),
        "family": dict.fromkeys(families),
    }
    return {name: list(values) for name, values in found.items() if len(values) > 1}


def _data_cells(row: Row, columns: Sequence[ColumnHead]) -> Markup:
    """A row's cells. Built here and not in the template: there may be tens of thousands."""
    return Markup("").join(_data_cell(row, column.name) for column in columns)


def _data_cell(row: Row, column: str) -> Markup:
    cell = row.cells.get(column)
    if cell is None or cell.mean is None:
        return Markup('<td><abbr title="{}">—</abbr></td>').format(row.why_not(column))
    kind = ' class="best"' if cell.is_best else ' class="tied"' if cell.is_tied else ""
    said = '<span class="hidden"> (best)</span>' if cell.is_best else ""
    if cell.is_tied:
        said = '<span aria-hidden="true">†</span><span class="hidden"> (not significantly worse than the best)</span>'
    small = ""
    if cell.interval is not None:
        small = f"<small>{number(cell.interval[0])} to {number(cell.interval[1])}"
        if cell.rank is not None:
            rank, low, high = cell.rank
            small += f" · rank {rank}" if low == high == rank else f" · rank {rank} ({low}–{high})"
        small += "</small>"
    # numbers and fixed words only
    return Markup(f'<td{kind} data-value="{cell.mean!r}">{escape(cell_text(cell))}{said}{small}</td>')


def _dashes(rows: Sequence[Row], columns: Sequence[ColumnHead]) -> list[tuple[str, str, str]]:
    """Why cells of models have no number: columns, models, reason. For those who cannot point at a cell."""
    by_column: dict[tuple[str, str], dict[str, None]] = {}  # a reason's models in a column, in their order
    for column in columns:
        for row in rows:
            cell = row.cells.get(column.name)
            if not row.is_calibration and (cell is None or cell.mean is None):
                by_column.setdefault((row.why_not(column.name), column.title), {})[row.model] = None
    grouped: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (reason, title), models in by_column.items():
        grouped.setdefault((reason, tuple(models)), []).append(title)
    return [(", ".join(titles), ", ".join(models), reason) for (reason, models), titles in grouped.items()]


def _gallery(
    table: Table, pictures: Mapping[str, Mapping[str, Path]], out: Path
) -> dict[str, list[tuple[Row, str, bool]]]:
    """By kind: rows with the address of their picture, which is the picture itself for the first rows."""
    gallery: dict[str, list[tuple[Row, str, bool]]] = {}
    for i, row in enumerate(table.models):
        for kind, path in pictures.get(row_slug(table, row), {}).items():
            embed = i < EMBEDDED_ROWS
            address = (
                f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" if embed else _link(path, out)
            )
            gallery.setdefault(kind, []).append((row, address, embed))
    return {kind: gallery[kind] for kind in KINDS if kind in gallery}


def _record(run: Run, out: Path) -> dict[str, Any]:
    """What a reader needs to make a run again: its command, where it ran, and links to its records."""
    record, folder = run.record, _link(run.path, out)
    environment, packages, git = (record.get(key) or {} for key in ("environment", "packages", "git"))
    words = [environment.get("device"), f"{environment['threads']} threads" if "threads" in environment else None]
    words += [environment.get("system"), f"Python {environment['python']}" if "python" in environment else None]
    words += [f"{name} {packages[name]}" for name in ("torch", "pytorch-lightning") if packages.get(name)]
    if git.get("sha"):
        words.append(f"commit {git['sha'][:10]}" + (" with changes" if git.get("dirty") else ""))
    return {
        "seed": record["seed"],
        "status": run.status,
        "command": record.get("command", ""),
        "replay": f"python -m benchmarks.replay runs={run.path.as_posix()}",
        "environment": ", ".join(word for word in words if word),
        "files": [(name, f"{folder}/{name}") for name in ("run.json", "config.yaml", "curve.csv")]
        + [(sheet.filename, f"{folder}/scores/{sheet.filename}") for sheet in run.sheets],
    }


def _link(path: Path, out: Path) -> str:
    """Relative to the page, as an address."""
    return f"{_folder_link(path.parent, out)}/{quote(path.name, safe='=')}"


@lru_cache(maxsize=1024)  # a row's seeds lie in one folder, and a path from one folder to another takes long to find
def _folder_link(folder: Path, out: Path) -> str:
    return "./" + quote(Path(os.path.relpath(folder, out)).as_posix(), safe="/=")


def _params(trial: Trial) -> str:
    shown = {name: number(v) if isinstance(v, float) else v for name, v in trial.params.items()}
    return ", ".join(f"{name} = {value}" for name, value in shown.items())


def _groups(answer: Answer) -> list[Group]:
    """Each side's rows behind an answer, once."""
    sides = [side for pair in answer.pairs for side in (pair.left, pair.right) if isinstance(side, Group)]
    return list({(group.label, group.runs): group for group in sides}.values())


def _forest(claim: Claim, pair: Pair) -> Markup:
    """The effect's interval as a line with a point, beside the line of no difference."""
    is_ratio = claim.scale == "ratio"
    effect, low, high = (math.log(v) if is_ratio else v for v in (pair.effect, pair.low, pair.high))
    margin = abs((math.log(claim.margin) if is_ratio else claim.margin) if claim.margin is not None else 0.0)
    reach = 1.15 * max(abs(low), abs(high), margin, 1e-12)

    def x(value: float) -> str:
        return f"{60 + 56 * value / reach:.1f}"

    band = f'<rect x="{x(-margin)}" width="{112 * margin / reach:.1f}" y="2" height="16"/>' if margin else ""
    return Markup(
        f'<svg class="forest" viewBox="0 0 120 20" width="120" height="20" aria-hidden="true">{band}'
        f'<path class="none" d="M60 1V19"/><path d="M{x(low)} 10H{x(high)}M{x(low)} 6v8M{x(high)} 6v8"/>'
        f'<circle cx="{x(effect)}" cy="10" r="4"/></svg>'
    )


def _chart_data(table: Table) -> dict[str, Any]:
    """What a table's charts draw: a row's means, deviations and seeds, and its curve over the budget."""
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
                "calibration": row.is_calibration,
                "cells": {name: [_short(cell.mean), _short(cell.deviation)] for name, cell in cells.items()},
                # one a seed in every list, so that two of them are of the same runs
                "seeds": {name: [_short(s.get(name)) for s in row.measured.values()] for name in cells} if few else {},
                "curve": _curve(row) if few else [],
            }
        )
    return {
        "title": table.title,
        "datamodule": table.datamodule,
        "network": table.network,
        "columns": [[c.name, c.title, c.unit, c.higher_is_better] for c in columns],
        "rows": rows,
    }


def _curve(row: Row) -> list[dict[str, list[float | None]]]:
    """Mean and deviation over seeds at each point of the budget, of what was spent and what was scored."""
    curves = [read_curve(run.path) for run in row.runs if run.status == "finished"]
    points = []
    # from the end, which is the whole budget for all: a slow start may have passed several of the first points in one
    backwards = [curve[::-1] for curve in curves if curve]
    for at in list(zip_longest(*backwards))[::-1]:
        there = [point for point in at if point is not None]
        names = dict.fromkeys(name for point in there for name in point)
        point: dict[str, list[float | None]] = {}
        for name in names:
            values = [point[name] for point in there if name in point]
            if name in SPENT or name.startswith("val_"):
                deviation = statistics.stdev(values) if len(values) > 1 else None
                point[name] = [_short(statistics.fmean(values)), _short(deviation)]
        points.append(point)
    return points


def _search_data(search: Search) -> dict[str, Any]:
    return {
        "title": search.title,
        "datamodule": search.record["datamodule"],
        "network": search.record["network"],
        "select": search.record["select"],
        "curves": {
            model: [None if point is None else [_short(v) for v in point] for point in curve]
            for model, curve in search.best_of_n().items()
        },
        "values": {
            model: [None if trial.value is None else _short(trial.value) for trial in trials]
            for model, trials in search.trials.items()
        },
    }


def _short(value: float | None) -> float | None:
    """To six digits: charts need no more, and no number that JSON does not have."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _json(value: Any) -> Markup:
    """For a script element: strict, and without a character that could end it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
