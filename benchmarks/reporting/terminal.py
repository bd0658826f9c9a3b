"""Tables, verdicts and scores in the terminal."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.errors import fail, printable
from benchmarks.records.files import RecordError
from benchmarks.records.runs import ScoreSheet, read_sheets
from benchmarks.reporting.cells import cell_text
from benchmarks.reporting.claims import NOWHERE
from benchmarks.reporting.exports import BADGES
from benchmarks.reporting.newcomers import Newcomer
from benchmarks.reporting.numbers import number
from benchmarks.reporting.points import effect_text
from benchmarks.reporting.table import ColumnHead, Row, Table
from benchmarks.reporting.verdicts import Answer

T = TypeVar("T")

# rows of a table that the terminal shows
TERMINAL_ROWS = 20
COLORS = {"holds": "green", "does not hold": "red", "depends": "magenta", "undecided": "yellow"}


def text_of(show: Callable[[Console, T], None], what: T) -> str:
    """What `show` prints, as the terminal shows it, for a later time."""
    console = console_of_tables()
    with console.capture() as captured:
        show(console, what)
    return captured.get()


def print_tables(console: Console, tables: Sequence[Table]) -> None:
    """Prints the parts of each table."""
    for table in tables:
        console.print(f"\n[bold]{escape(printable(table.title))}[/bold]  {escape(printable(table.notes))}")
        for part, columns, rows in table.parts:
            _print_part(console, part, columns, rows[:TERMINAL_ROWS])
            if len(rows) > TERMINAL_ROWS:
                console.print(f"{len(rows) - TERMINAL_ROWS} more rows are on the page")
        for remark in table.remarks:
            console.print(escape(printable(remark)))
    console.print(
        "mean ± standard deviation over training seeds; [bold green]green[/bold green] is a column's best, "
        "† is not significantly worse"
    )


def _print_part(console: Console, part: str, columns: Sequence[ColumnHead], rows: Sequence[Row]) -> None:
    """Prints some columns of a table; below each other, if they do not fit beside each other."""
    labels, heads = [printable(row.label) for row in rows], [printable(column.heading) for column in columns]
    seeds = [row.seeds for row in rows]
    of_labels = min(max(map(cell_len, [*labels, "model"])), console.width // 3)
    left = console.width - of_labels - max(map(cell_len, [*seeds, "seeds"])) - 7  # with the lines around both
    cells = [[_cell(row, column) for row in rows] for column in columns]
    # no number and no word of a heading is broken
    widths = [
        max(*(cell.cell_len for cell in of_column), *map(cell_len, head.split()))
        for head, of_column in zip(heads, cells, strict=True)
    ]
    title = part
    for some in _fitting([3 + width for width in widths], left):
        shown = RichTable(title=title, title_justify="left", header_style="")
        shown.add_column("model", width=of_labels, overflow="fold")
        shown.add_column("seeds", no_wrap=True)
        for i in some:
            shown.add_column(Text(heads[i]), min_width=widths[i])
        for k, row in enumerate(rows):
            if not row.is_baseline or any(columns[i].name in row.cells for i in some):
                shown.add_row(Text(labels[k]), seeds[k], *(cells[i][k] for i in some))
        console.print(shown)
        title = f"{part}, continued"


def _fitting(widths: Sequence[int], most: int) -> Iterator[range]:
    """Runs of columns whose widths fit into `most` together; a run has at least one."""
    first, used = 0, 0
    for i, width in enumerate(widths):
        if i > first and used + width > most:
            yield range(first, i)
            first, used = i, 0
        used += width
    yield range(first, len(widths))


def print_answers(console: Console, answers: Sequence[Answer]) -> None:
    """Prints each claim with its verdicts, one line a data set; then the claims of which no runs have both sides."""
    console.print("\n[bold]Claims[/bold]")
    asked = [answer for answer in answers if answer.where != NOWHERE]
    for claim, claim_answers in groupby(asked, key=lambda answer: answer.claim):
        console.print(f"[bold]{escape(claim.title)}[/bold]")
        for answer in claim_answers:
            effect = effect_text(claim, answer.decisive) if answer.decisive else ""
            words = "; ".join(word for word in (effect, answer.reason) if word)
            color, badge = COLORS[answer.verdict], BADGES[answer.verdict]
            console.print(f"  [{color}]{badge} {answer.verdict:<13}[/{color}] {escape(answer.where)}: {escape(words)}")
    if others := [answer for answer in answers if answer.where == NOWHERE]:
        console.print("[bold]Undecided, because a model or a score is missing here[/bold]  (the page names it)")
    for answer in others:
        console.print(f"  [{COLORS[answer.verdict]}]{BADGES[answer.verdict]}[/] {escape(answer.claim.title)}")


def print_newcomers(console: Console, found: Sequence[Newcomer]) -> None:
    """Prints for each model that no claim names what it does better and worse than each model that claims name."""
    if found:
        console.print("\n[bold]Models that no claim names[/bold]  (no verdicts: 5% for all pairs of a column together)")
    for new in found:
        console.print(f"[bold]{escape(printable(new.model))}[/bold] on {escape(new.table.title)}")
        for line in new.lines:
            console.print(f"  {escape(printable(line))}")


def print_scores(run: Path, protocol_id: str | None = None, is_brief: bool = False) -> None:
    """Prints the scores of a run, one a line: under every protocol, or under one.

    Args:
        run: its folder.
        protocol_id: of the protocol; None for every one.
        is_brief: whether scores without a number share a line for each reason.
    """
    for sheet in read_sheets(run):
        if protocol_id in (None, sheet.protocol_id):
            _print_sheet(sheet, is_brief)


def report_bad_record(error: RecordError) -> None:
    """Names a record that cannot be read and is left out."""
    fail(f"{error} (left out)")


def console_of_tables() -> Console:
    """A console as wide as the terminal; as wide as tables need if the output goes to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def _print_sheet(sheet: ScoreSheet, is_brief: bool) -> None:
    print(f"protocol {sheet.protocol['name']} ({sheet.protocol_id})")
    dashes: dict[str, list[str]] = {}
    for score in sheet.scores:
        if score.value is None:
            reason = printable(score.detail.get("reason", "no reason is given"))
            if is_brief:
                dashes.setdefault(reason, []).append(score.name)
            else:
                print(f"  {score.name:<22} — ({reason})")
            continue
        error = score.detail.get("standard_error")
        words = [number(score.value), score.unit, f"(standard error {number(error)})" if error is not None else ""]
        print(f"  {score.name:<22} {' '.join(word for word in words if word)}")
    for reason, names in dashes.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"  — {', '.join(names[:3])}{more}: {reason}")


def _cell(row: Row, column: ColumnHead) -> Text:
    cell = row.cells.get(column.name)
    text = "—" if cell is None else cell_text(cell)
    if cell is not None and cell.is_best:
        return Text(text, "bold green", no_wrap=True)
    return Text(f"{text}†" if cell is not None and cell.is_tied else text, no_wrap=True)
