"""Tables and verdicts as Markdown, LaTeX and CSV: what goes into a document, a paper, a program."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.leaderboard import Cell, ColumnHead, Row, Table, cell_text, number
from benchmarks.runs import Run
from benchmarks.searches import Search
from benchmarks.statistics import MIN_SEEDS
from benchmarks.uncertainty import too_few
from benchmarks.verdicts import Answer, effect_text, p_text

ARROWS = {True: "↑", False: "↓", None: ""}
LEGEND = (
    "Mean ± standard deviation over training seeds; **bold** is the best of a column, and † is not significantly worse "
    "(Welch's t-test, Holm's correction, 5%). Intervals and ranks are in leaderboard.csv, every comparison in "
    "comparisons.csv."
)
# of a line of a CSV, which tells its table from every other
_PLACE = ("datamodule", "data_id", "network", "protocol", "protocol_id")
_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"},
    **{"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "∞": r"$_\infty$", "²": r"$^2$", "₂": r"$_2$"},
    **{"—": "---", "σ": r"$\sigma$", "β": r"$\beta$", "−": "$-$", "·": r"$\cdot$", "†": r"$^\dagger$", "<": "$<$"},
    ">": "$>$",
}


def markdown(
    tables: Sequence[Table],
    failures: Sequence[Run],
    title: str,
    answers: Sequence[Answer] = (),
    searches: Sequence[Search] = (),
    min_seeds: int = MIN_SEEDS,
) -> str:
    """Verdicts, then the tables, as GitHub's Markdown."""
    lines = [f"# {_md(title)}", ""]
    if answers:
        lines += ["## Claims", "", "| verdict | claim | data | effect | p (Holm) | why |", "|" + " --- |" * 6]
        for answer in answers:
            pair = answer.decisive
            effect = effect_text(answer.claim, pair) if pair else "—"
            cells = [answer.claim.title, answer.where, effect, p_text(answer.adjusted_p), answer.reason or "—"]
            lines.append(f"| **{answer.verdict}** | " + " | ".join(map(_md, cells)) + " |")
        lines.append("")
    for table in tables:
        lines += [f"## {_md(table.title)}", "", _md(table.notes), ""]
        if few := too_few(table, min_seeds):
            lines += [_md(few), ""]
        for part, columns, rows in table.parts:
            lines += [f"### {part}", ""]
            lines.append("| " + " | ".join(["model", "seeds", *(_md(head(column)) for column in columns)]) + " |")
            lines.append("|" + " --- |" * (2 + len(columns)))
            for row in rows:
                cells = [_md_cell(row, column) for column in columns]
                lines.append("| " + " | ".join([_md(row.label), row.seeds, *cells]) + " |")
            lines.append("")
    for search in searches:
        lines += [
            f"## Search: {_md(search.title)}",
            "",
            "| model | trials | best | expected best of n |",
            "|" + " --- |" * 4,
        ]
        for model, curve in search.best_of_n().items():
            best = search.best(model)
            shown = [n for n in (1, 2, 5, 10, 20, 50, 100) if n <= len(curve)]
            said = ", ".join(f"{n}: {number(found[0])}" for n in shown if (found := curve[n - 1]) is not None)
            value = number(best.value) if best is not None and best.value is not None else "—"
            lines.append(f"| {_md(model)} | {len(curve)} | {value} | {said or '—'} |")
        lines += ["", f"Validation {_md(search.record['select'])}; {_md(search.record['command'])}", ""]
    if failures:
        lines += ["## Runs without a result", ""]
        lines += [f"- {_md(str(run.path))}: {run.status}, {_md(str(run.record.get('error')))}" for run in failures]
        lines.append("")
    lines.append(LEGEND)
    return "\n".join(lines) + "\n"


def latex(tables: Sequence[Table], answers: Sequence[Answer] = (), min_seeds: int = MIN_SEEDS) -> str:
    r"""The same tables for a paper; needs \usepackage{booktabs}."""
    lines = ["% needs \\usepackage{booktabs}"]
    if answers:
        lines += [r"\begin{tabular}{lp{.4\linewidth}lp{.3\linewidth}l}", r"\toprule"]
        lines += [r"verdict & claim & data & effect & $p$ (Holm) \\", r"\midrule"]
        for answer in answers:
            pair = answer.decisive
            effect = effect_text(answer.claim, pair) if pair else answer.reason
            cells = [answer.verdict, answer.claim.title, answer.where, effect, p_text(answer.adjusted_p)]
            lines.append(" & ".join(map(_tex, cells)) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    for table in tables:
        if few := too_few(table, min_seeds):
            lines += [f"% {_tex(table.title)}: {_tex(few)}"]
        for part, columns, rows in table.parts:
            lines += [f"% {_tex(table.title)}, {part}: {_tex(table.notes)}"]
            lines += [rf"\begin{{tabular}}{{l{'r' * (1 + len(columns))}}}", r"\toprule"]
            lines += [" & ".join(["model", "seeds", *(_tex(head(column)) for column in columns)]) + r" \\", r"\midrule"]
            for row in rows:
                cells = [_tex_cell(row, column) for column in columns]
                lines.append(" & ".join([_tex(row.label), _tex(row.seeds), *cells]) + r" \\")
            lines += [r"\bottomrule", r"\end{tabular}", ""]
    lines.append(_tex(LEGEND.replace("**bold**", "bold")))
    return "\n".join(lines) + "\n"


def leaderboard_csv(tables: Sequence[Table]) -> str:
    """One line a row and column: what a program would rather read than a wide table."""
    names = [*_PLACE, "row", "model", "config_id", "column", "unit", "higher_is_better"]
    names += ["mean", "deviation", "low", "high", "rank", "rank_low", "rank_high", "seeds", "reason"]
    lines: list[list[Any]] = []
    for table in tables:
        for row in table.rows:
            for column in table.columns:
                cell = row.cells.get(column.name) or Cell(None)
                facts = [row.label, row.model, row.config_id, column.name, column.unit, column.higher_is_better]
                numbers: list[Any] = [cell.mean, cell.deviation, *(cell.interval or (None, None))]
                numbers += [*(cell.rank or (None, None, None)), cell.n]
                reason = row.why_not(column.name) if cell.mean is None else None
                lines.append([*_place(table), *facts, *numbers, reason])
    return _csv(names, lines)


def comparisons_csv(tables: Sequence[Table]) -> str:
    """Every pairwise comparison: a less b, its 95% interval, Hedges' g, p before and after Holm's correction."""
    names = [*_PLACE, "column", "a", "b", "difference", "low", "high", "hedges_g", "p", "p_holm"]
    lines = []
    for table in tables:
        for c in table.comparisons:
            d = c.difference
            lines.append([*_place(table), c.column, c.a, c.b, d.value, d.low, d.high, d.g, d.p, c.adjusted_p])
    return _csv(names, lines)


def claims_csv(answers: Sequence[Answer]) -> str:
    """A line for each pair of rows behind an answer; one line where there is none. The effect is left less right, or left
    over right, as `scale` says, also where the right side is a number."""
    names = ["claim", "title", "where", "verdict", "reason", "p", "p_holm", "left", "right"]
    names += ["scale", "unit", "effect", "low", "high"]
    lines: list[list[Any]] = []
    for answer in answers:
        facts: list[Any] = [answer.claim.name, answer.claim.title, answer.where, answer.verdict, answer.reason]
        facts += [answer.p, answer.adjusted_p]
        for pair in answer.pairs:
            right = pair.right if isinstance(pair.right, float) else pair.right.label
            runs = " ".join(map(str, answer.runs))
            its = [answer.claim.scale, answer.claim.unit if answer.claim.scale == "difference" else ""]
            lines.append([*facts, pair.left.label, right, *its, pair.effect, pair.low, pair.high, pair.g, runs])
        if not answer.pairs:
            lines.append(facts + [None] * 9)
    return _csv([*names, "hedges_g", "runs"], lines)


def head(column: ColumnHead) -> str:
    """A column's title, unit and direction."""
    unit = f" [{column.unit}]" if column.unit else ""
    return f"{column.title}{unit} {ARROWS[column.higher_is_better]}".rstrip()


def _place(table: Table) -> list[str]:
    return [table.datamodule, table.data["id"], table.network, table.protocol["name"], table.protocol_id]


def _csv(names: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(lines)
    return out.getvalue()


def _md_cell(row: Row, column: ColumnHead) -> str:
    cell = row.cells.get(column.name)
    if cell is None:
        return "—"
    return f"**{cell_text(cell)}**" if cell.is_best else cell_text(cell) + ("†" if cell.is_tied else "")


def _tex_cell(row: Row, column: ColumnHead) -> str:
    cell = row.cells.get(column.name)
    if cell is None:
        return "---"
    text = _tex(cell_text(cell))
    return rf"\textbf{{{text}}}" if cell.is_best else text + (r"$^\dagger$" if cell.is_tied else "")


def _md(text: str) -> str:
    """Text from a record as text in Markdown: no markup, no HTML, no cell borders."""
    for character in "\\`*_{}[]<>|#":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _tex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
