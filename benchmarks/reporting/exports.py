"""Tables and verdicts as Markdown and CSV, for documents and programs."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from benchmarks.records.searches import Search
from benchmarks.reporting.across import Across
from benchmarks.reporting.cells import Cell, cell_text
from benchmarks.reporting.labels import written
from benchmarks.reporting.numbers import number, p_text
from benchmarks.reporting.points import effect_text
from benchmarks.reporting.report import Report
from benchmarks.reporting.table import ColumnHead, Row, Table
from benchmarks.reporting.trials import best_of_n
from benchmarks.reporting.verdicts import Answer

BADGES = {"holds": "✓", "does not hold": "✗", "depends": "±", "undecided": "?"}
LEGEND = (
    "Mean ± standard deviation over training seeds; **bold** is the best of a column, and † is not significantly worse "
    "(Welch's t-test, Holm's correction, 5%). Intervals and ranks are in leaderboard.csv, every comparison in "
    "comparisons.csv."
)
BORDER = "\\|"  # of GitHub's tables, also inside code
# the cells of a CSV's line that identify its table
_PLACE = ("datamodule", "data_id", "network", "protocol", "protocol_id")


def markdown(report: Report) -> str:
    """Verdicts, tables, searches and failures as GitHub's Markdown."""
    lines = [f"# {md(report.title)}", ""]
    if report.answers:
        lines += ["## Claims", "", "| verdict | claim | data | effect | p (Holm) | why |", "|" + " --- |" * 6]
        lines += [*map(_md_answer, report.answers), ""]
    for new in report.newcomers:
        lines += [f"## {md(new.model)} on {md(new.table.title)}: no claim names this model", ""]
        lines += [*(f"- {md(line)}" for line in new.lines), ""]
    for across in report.across:
        lines += _md_across(across)
    for table in report.tables:
        lines += _md_table(table)
    for search in report.searches:
        lines += _md_search(search)
    if report.failures:
        lines += ["## Runs without a result", ""]
        lines += [f"- {md(str(run.path))}: {run.status}, {md(str(run.record.get('error')))}" for run in report.failures]
        lines.append("")
    if report.copies:
        lines += ["## Copies under other seeds, which do not count", ""]
        lines += [*(f"- {md(str(copy))}" for copy in report.copies), ""]
    lines.append(LEGEND)
    return "\n".join(lines) + "\n"


def _md_across(across: Across) -> list[str]:
    heads = [f"{c.question} ({c.column.title.split(' (')[0]})" for c in across.compared]
    lines = [f"## Mean rank over {md(', '.join(across.data_sets))}", "", md(" ".join(across.notes)), ""]
    lines += [f"| family | {' | '.join(map(md, heads))} |", "|" + " --- |" * (1 + len(heads))]
    for family in across.families:
        ranks = [compared.ranks[family] for compared in across.compared]
        cells = [f"{rank.value:.3g} ({rank.low:.3g} to {rank.high:.3g})" for rank in ranks]
        lines.append(f"| {md(written(family))} | {' | '.join(cells)} |")
    return [*lines, ""] if across.compared else []


def across_csv(found: Sequence[Across]) -> str:
    """Across data sets: mean ranks, and the probability that a run of a family is better than one of another."""
    names = ["network", "protocol", "data_sets", "column", "statistic", "family", "other", "value", "low", "high"]
    lines = []
    for across in found:
        table = across.tables[0]
        for compared in across.compared:
            place = [table.network, table.protocol["name"], "; ".join(across.data_sets), compared.column.name]
            lines += [[*place, "mean rank", family, None, *rank] for family, rank in compared.ranks.items()]
            lines += [[*place, "probability of improvement", p.better, p.other, *p.probability] for p in compared.pairs]
    return _csv(names, lines)


def leaderboard_csv(tables: Sequence[Table]) -> str:
    """The leaderboard in long form, for programs: one line for each row and column."""
    names = [*_PLACE, "row", "model", "config_id", "column", "unit", "higher_is_better"]
    names += ["mean", "deviation", "low", "high", "rank", "rank_low", "rank_high", "seeds", "reason"]
    return _csv(names, _leaderboard_lines(tables))


def _leaderboard_lines(tables: Sequence[Table]) -> Iterator[list[Any]]:
    for table in tables:
        for row in table.rows:
            for column in table.columns:
                cell = row.cells.get(column.name) or Cell(None)
                facts = [row.label, row.model, row.config_id, column.name, column.unit, column.higher_is_better]
                numbers: list[Any] = [cell.mean, cell.deviation, *(cell.interval or (None, None))]
                numbers += [*(cell.rank or (None, None, None)), cell.n]
                reason = row.why_not(column.name) if cell.mean is None else None
                yield [*_place(table), *facts, *numbers, reason]


def comparisons_csv(tables: Sequence[Table]) -> str:
    """Every pairwise comparison: a less b, the 95% interval, Hedges' g, p before and after Holm's correction."""
    names = [*_PLACE, "column", "a", "b", "difference", "low", "high", "hedges_g", "p", "p_holm"]
    lines = []
    for table in tables:
        for c in table.comparisons:
            d = c.difference
            lines.append([*_place(table), c.column, c.a, c.b, d.value, d.low, d.high, d.g, d.p, c.adjusted_p])
    return _csv(names, lines)


def claims_csv(answers: Sequence[Answer]) -> str:
    """One line for each test behind an answer; one line for an answer without tests.

    The effect is left − right or left / right, depending on `scale`, also if the right side is a number.
    """
    names = ["claim", "title", "where", "verdict", "reason", "p", "p_holm", "left", "right", "options"]
    names += ["scale", "unit", "effect", "low", "high", "hedges_g", "p_holds", "p_fails", "errors", "runs"]
    lines: list[list[Any]] = []
    for answer in answers:
        facts: list[Any] = [answer.claim.name, answer.claim.title, answer.where, answer.verdict, answer.reason]
        facts += [answer.p, answer.adjusted_p]
        for point in answer.points:
            right = point.right if isinstance(point.right, float) else point.right.label
            options = "; ".join(f"{choice}: {option}" for choice, option in point.options)
            scale = [answer.claim.scale, answer.claim.unit if answer.claim.scale == "difference" else ""]
            numbers = [point.effect, point.low, point.high, point.g, point.p_holds, point.p_fails]
            runs = " ".join(map(str, point.runs))
            lines.append([*facts, point.left.label, right, options, *scale, *numbers, point.errors, runs])
        if not answer.points:
            lines.append(facts + [None] * (len(names) - len(facts)))
    return _csv(names, lines)


def _place(table: Table) -> list[str]:
    return [table.datamodule, table.data["id"], table.network, table.protocol["name"], table.protocol_id]


def _csv(names: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_defused(cell) if isinstance(cell, str) else cell for cell in line] for line in lines)
    return out.getvalue()


@lru_cache(maxsize=2**14)  # the names of a table and a row are in a line for each column
def _defused(text: str) -> str:
    """The text; with an apostrophe before it if a spreadsheet would take the text for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _md_answer(answer: Answer) -> str:
    point = answer.decisive
    effect = effect_text(answer.claim, point) if point else "—"
    cells = [answer.claim.title, answer.where, effect, p_text(answer.adjusted_p), answer.reason or "—"]
    return f"| **{answer.verdict}** | " + " | ".join(map(md, cells)) + " |"


def _md_table(table: Table) -> Iterator[str]:
    yield from (f"## {md(table.title)}", "", md(table.notes), "")
    if table.too_few:
        yield from (md(table.too_few), "")
    for remark in table.remarks:
        yield from (md(remark), "")
    for part, columns, rows in table.parts:
        yield from (f"### {part}", "")
        yield "| " + " | ".join(["model", "seeds", *(md(column.heading) for column in columns)]) + " |"
        yield "|" + " --- |" * (2 + len(columns))
        for row in rows:
            cells = [_md_cell(row, column) for column in columns]
            yield "| " + " | ".join([md(row.label), row.seeds, *cells]) + " |"
        yield ""


def _md_search(search: Search) -> Iterator[str]:
    yield from (
        f"## Search: {md(search.heading)}",
        "",
        "| model | trials | best | expected best of n |",
        "|" + " --- |" * 4,
    )
    for model, curve in best_of_n(search).items():
        best = search.best(model)
        sizes = [n for n in (1, 2, 5, 10, 20, 50, 100) if n <= len(curve)]
        expected = ", ".join(f"{n}: {number(point[0])}" for n in sizes if (point := curve[n - 1]) is not None)
        value = number(best.value) if best is not None and best.value is not None else "—"
        yield f"| {md(model)} | {len(curve)} | {value} | {expected or '—'} |"
    yield from ("", f"Validation {md(search.record['select'])}; {md(search.record['command'])}", "")


def _md_cell(row: Row, column: ColumnHead) -> str:
    cell = row.cells.get(column.name)
    if cell is None:
        return "—"
    return f"**{cell_text(cell)}**" if cell.is_best else cell_text(cell) + ("†" if cell.is_tied else "")


def md(text: str) -> str:
    """Text of a record, escaped for Markdown: no markup, no HTML, no cell borders."""
    for character in "\\`*_{}[]<>|#":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def md_code(text: str) -> str:
    """A command as code in a cell of a Markdown table. A fence longer than every run of backticks keeps those of the command."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text.replace('|', BORDER)}{space}{fence}"
