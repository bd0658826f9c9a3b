"""Tables and verdicts as LaTeX, for papers."""

from collections.abc import Iterator, Sequence

from benchmarks.errors import UserError
from benchmarks.reporting.cells import cell_text
from benchmarks.reporting.exports import LEGEND
from benchmarks.reporting.numbers import p_text
from benchmarks.reporting.points import effect_text
from benchmarks.reporting.report import Report
from benchmarks.reporting.table import ARROWS, ColumnHead, Row, Table

# the columns of scores that fit beside the labels on a page of one column
MOST_COLUMNS = 5
_LATEX = str.maketrans(
    {
        **{c: f"\\{c}" for c in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"},
        **{"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "∞": r"$_\infty$", "²": r"$^2$", "₂": r"$_2$"},
        **{"—": "---", "σ": r"$\sigma$", "β": r"$\beta$", "−": "$-$", "·": r"$\cdot$", "†": r"$^\dagger$", "<": "$<$"},
        **{">": "$>$", "‖": r"$\|$"},
    }
)


def latex(report: Report, columns: Sequence[str] = ()) -> str:
    r"""Tables, then verdicts; needs \usepackage{booktabs}. Each table has a caption and a label.

    Args:
        report: the report.
        columns: the scores of one table for each data set, in this order; none for every part of every table.

    Raises:
        UserError: for a column that no table has.
    """
    known = {column.name for table in report.tables for column in table.columns}
    if unknown := [name for name in columns if name not in known]:
        raise UserError(f"latex.columns has {unknown[0]!r}; expected some of {', '.join(sorted(known)) or 'no column'}")
    lines = ["% needs \\usepackage{booktabs}; each table stands alone: copy those that you need", ""]
    for table in report.tables:
        for part, heads, rows in _parts(table, columns):
            for i in range(0, max(1, len(heads)), MOST_COLUMNS):
                lines += _table(table, part, heads[i : i + MOST_COLUMNS], rows, 1 + i // MOST_COLUMNS)
    if report.answers:
        lines += _claims(report)
    return "\n".join(lines)


def _parts(table: Table, columns: Sequence[str]) -> list[tuple[str, list[ColumnHead], list[Row]]]:
    if not columns:
        return table.parts
    heads = [head for name in columns for head in table.columns if head.name == name]
    rows = [row for row in table.rows if not row.is_baseline or row.has_any(heads)]
    return [("Scores", heads, rows)] if heads else []


def _table(table: Table, part: str, heads: Sequence[ColumnHead], rows: Sequence[Row], number: int) -> Iterator[str]:
    facts = [
        f"{title}: {rest.removesuffix(')')}" for title, _, rest in (h.title.partition(" (") for h in heads) if rest
    ]
    more = f" ({number})" if number > 1 else ""
    caption = [f"{part} on {table.title}{more}. {table.notes}.", *([f"{'; '.join(facts)}."] if facts else [])]
    caption += [table.too_few] if table.too_few else []
    caption += [f"{remark}." for remark in table.remarks]
    caption.append(LEGEND.replace("**bold**", "bold").split(". Intervals")[0] + ".")
    slug = "-".join(part.lower().split())
    yield from (r"\begin{table}[tbp]", r"\centering", r"\small", rf"\caption{{{_tex(' '.join(caption))}}}")
    yield rf"\label{{tab:{table.slug.replace('_', '-')}-{slug}{f'-{number}' if number > 1 else ''}}}"
    yield from (rf"\begin{{tabular}}{{@{{}}l{'r' * (1 + len(heads))}@{{}}}}", r"\toprule")
    yield " & ".join(["model", "seeds", *(_tex(_heading(head)) for head in heads)]) + r" \\"
    yield r"\midrule"
    for row in rows:
        cells = [_cell(row, head) for head in heads]
        yield " & ".join([_tex(row.label), _tex(row.seeds), *cells]) + r" \\"
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}", "")


def _heading(head: ColumnHead) -> str:
    """The title without what the numbers depend on, which the caption has."""
    unit = f" [{head.unit}]" if head.unit else ""
    return f"{head.title.split(' (')[0]}{unit} {ARROWS[head.higher_is_better]}".rstrip()


def _claims(report: Report) -> Iterator[str]:
    yield from (r"\begin{table}[tbp]", r"\centering", r"\footnotesize")
    yield rf"\caption{{{_tex(f'Claims and verdicts, at 5% {report.shared_by} (Holm correction).')}}}"
    yield r"\label{tab:claims}"
    yield r"\begin{tabular}{@{}p{.11\linewidth}p{.27\linewidth}p{.14\linewidth}p{.30\linewidth}r@{}}"
    yield from (r"\toprule", r"verdict & claim & data & effect & $p$ (Holm) \\", r"\midrule")
    for answer in report.answers:
        point = answer.decisive
        effect = effect_text(answer.claim, point) if point else answer.reason
        cells = [answer.verdict, answer.claim.title, answer.where, effect, p_text(answer.adjusted_p)]
        yield " & ".join(map(_tex, cells)) + r" \\"
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}", "")


def _cell(row: Row, column: ColumnHead) -> str:
    cell = row.cells.get(column.name)
    if cell is None:
        return "---"
    text = _tex(cell_text(cell))
    return rf"\textbf{{{text}}}" if cell.is_best else text + (r"$^\dagger$" if cell.is_tied else "")


def _tex(text: str) -> str:
    return " ".join(text.split()).translate(_LATEX)
