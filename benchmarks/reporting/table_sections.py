"""The sections of the page for the tables: cells, pictures, comparisons, and the records of each run.

They are most of a large page, and need no answers to claims.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from benchmarks.errors import printable
from benchmarks.records.configurations import reads_images
from benchmarks.records.paths import CONFIG, COSTS, CURVE, PICTURES, RECORD
from benchmarks.records.runs import Run
from benchmarks.reporting.cells import cell_text
from benchmarks.reporting.charts import FEW_ROWS
from benchmarks.reporting.gallery import CAPTIONS, EMBEDDED_ROWS, address_of, row_slug
from benchmarks.reporting.numbers import number, p_text
from benchmarks.reporting.replaying import replay_command
from benchmarks.reporting.report import Report
from benchmarks.reporting.table import ARROWS, ColumnHead, Row, Table


def table_sections(report: Report) -> Iterator[str]:
    """The sections of every table, in pieces. Everything that comes from a record is escaped."""
    out = report.out
    yield from (
        template_environment()
        .get_template("tables.html.j2")
        .generate(
            tables=report.tables,
            galleries=[_gallery(table, report.pictures, out) for table in report.tables],
            captions=CAPTIONS,
            few_rows=FEW_ROWS,
            arrow=ARROWS,
            number=number,
            p_text=p_text,
            data_cells=_data_cells,
            dashes=_dashes,
            model_of=lambda table, label: next(row.model for row in table.rows if row.label == label),
            titles_of=lambda table: {column.name: column.title for column in table.columns},
            records=lambda row: _records(row, out),
            sigma_curves=_sigma_curves,
        )
    )


def template_environment() -> Environment:
    """The templates of the page. They escape every text."""
    return Environment(
        loader=PackageLoader("benchmarks.reporting"),
        autoescape=select_autoescape(["html", "j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _data_cells(row: Row, columns: Sequence[ColumnHead]) -> Markup:
    """The cells of a row. Python builds them faster than the template, and there may be hundreds of thousands."""
    return Markup("".join([_data_cell(row, column.name) for column in columns]))


def _data_cell(row: Row, column: str) -> str:
    """A cell in HTML, escaped."""
    cell = row.cells.get(column)
    if cell is None or cell.mean is None:
        return f'<td><abbr title="{escape(row.why_not(column))}">—</abbr></td>'
    kind = ' class="best"' if cell.is_best else ' class="tied"' if cell.is_tied else ""
    mark = '<span class="hidden"> (best)</span>' if cell.is_best else ""
    if cell.is_tied:
        mark = '<span aria-hidden="true">†</span><span class="hidden"> (not significantly worse than the best)</span>'
    small = ""
    if (interval := cell.interval) is not None:
        small = f"<small>{number(interval[0])} to {number(interval[1])}"
        if cell.rank is not None:
            rank, low, high = cell.rank
            small += f" · rank {rank}" if low == high == rank else f" · rank {rank} ({low}–{high})"
        small += "</small>"
    # only numbers and fixed words, so nothing needs escaping
    return f'<td{kind} data-value="{cell.mean!r}">{cell_text(cell)}{mark}{small}</td>'


def _dashes(rows: Sequence[Row], columns: Sequence[ColumnHead]) -> list[tuple[str, str, str]]:
    """Why cells of models have no number: columns, models, reason; for readers who cannot point at a cell."""
    by_column: dict[tuple[str, str], dict[str, None]] = {}  # the models of each reason in a column, in their order
    for column in columns:
        for row in rows:
            cell = row.cells.get(column.name)
            if not row.is_baseline and (cell is None or cell.mean is None):
                by_column.setdefault((row.why_not(column.name), column.title), {})[row.model] = None
    grouped: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (reason, title), models in by_column.items():
        grouped.setdefault((reason, tuple(models)), []).append(title)
    return [(", ".join(titles), ", ".join(models), reason) for (reason, models), titles in grouped.items()]


def _gallery(
    table: Table, pictures: Mapping[str, Mapping[str, Path]], out: Path
) -> dict[str, list[tuple[Row, str, bool]]]:
    """By kind: rows with the address of their picture, and whether the address holds the picture itself."""
    gallery: dict[str, list[tuple[Row, str, bool]]] = {}
    for i, row in enumerate(table.models):
        for kind, path in pictures.get(row_slug(table, row), {}).items():
            embed = i < EMBEDDED_ROWS
            address = address_of(path.read_bytes()) if embed else link(path, out)
            gallery.setdefault(kind, []).append((row, address, embed))
    return {kind: gallery[kind] for kind in PICTURES if kind in gallery}


def _records(row: Row, out: Path) -> Markup:
    """What a reader needs to repeat each run of a row: its command, its environment, and links to its records."""
    needs_images = bool(row.runs) and reads_images(row.runs[0].path)
    return Markup("".join([_record(run, out, needs_images) for run in row.runs]))


def _record(run: Run, out: Path, needs_images: bool) -> str:
    """An item of a list in HTML, escaped. Python builds it faster than the template, and there is one for each run."""
    record, folder = run.record, escape(link(run.path, out))
    files = [*([] if run.is_external else [CURVE]), *([] if run.costs is None else [COSTS])]
    names = [RECORD, CONFIG, *files, *(f"scores/{sheet.filename}" for sheet in run.sheets)]
    links = [f'<a href="{folder}/{name}">{shown}</a> ' for name, shown in map(_escaped_name, names)]
    return (
        f"      <li>seed {record['seed']}, {run.status}: <code>{escape(printable(str(record.get('command', ''))))}</code><br>\n"
        f"      {_again(run, needs_images)}<br>\n"
        f'      <span class="soft">{escape(_environment(record))}</span><br>\n'
        f"{''.join(links)}</li>\n"
    )


@lru_cache(maxsize=256)
def _escaped_name(name: str) -> tuple[str, str]:
    """The name of a file inside a run, and its last part, in HTML."""
    return str(escape(name)), str(escape(name.rpartition("/")[2]))


def _again(run: Run, needs_images: bool) -> str:
    """How to repeat a run, in HTML, escaped; what was submitted, for a row from elsewhere."""
    command = replay_command(run, run.path, needs_images)
    if not run.is_external:
        return f"to train the run again and compare: <code>{escape(command)}</code>"
    external = run.record["external"]
    file, kind = external.get("file") or {}, external["kind"]
    words = [f"scored from {kind}: {file.get('name')}, SHA-256 {file.get('sha256')}", external.get("range")]
    words += [external.get("source"), external.get("notes")]
    said = escape("; ".join(str(word) for word in words if word))
    if command is None:
        return f"{said}; it was trained elsewhere, and cannot be repeated here"
    return f"{said}; it was trained elsewhere; to score the same file again: <code>{escape(command)}</code>"


def _environment(record: Mapping[str, Any]) -> str:
    """The machine, the versions and the commit of a run, as far as they are known."""
    environment, packages, git = (record.get(key) or {} for key in ("environment", "packages", "git"))
    words = [environment.get("device"), f"{threads} threads" if (threads := environment.get("threads")) else None]
    words += [environment.get("system"), f"Python {python}" if (python := environment.get("python")) else None]
    words += [f"{name} {packages[name]}" for name in ("torch", "pytorch-lightning") if packages.get(name)]
    if git.get("sha"):
        words.append(f"commit {git['sha'][:10]}" + (" with changes" if git.get("dirty") else ""))
    if extended := record.get("extended_from"):
        words.append(f"went on from configuration {extended['config_id']}, a budget of {extended['amount']:,}")
    return ", ".join(word for word in words if word)


@lru_cache(maxsize=2**14)  # a run may be in the evidence of many claims
def link(path: Path, out: Path) -> str:
    """The address of a path, relative to the page."""
    return f"{_folder_link(path.parent, out)}/{quote(path.name, safe='=')}"


@lru_cache(maxsize=1024)  # relative paths are slow to compute, and the seeds of a row share a folder
def _folder_link(folder: Path, out: Path) -> str:
    return "./" + quote(Path(os.path.relpath(folder, out)).as_posix(), safe="/=")


def _sigma_curves(table: Table) -> list[tuple[str, list[tuple[str, str]]]]:
    """By row: the log-likelihood of validation examples for each σ of the observation model, by the search of the first seed."""
    curves = []
    for row in table.models:
        sheets = [sheet for run in row.runs for sheet in run.sheets if sheet.protocol_id == table.protocol_id]
        details = [score.detail for sheet in sheets[:1] for score in sheet.scores if score.name == "ais_sigma"]
        points = [point for detail in details for point in detail.get("sigma_curve", ())]
        numbers = [(number(sigma), number(value)) for sigma, value in points]
        curves += [(row.label, numbers)] if numbers else []
    return curves
