"""Tables, verdicts and scores in the terminal."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

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

# rows of a table that the terminal shows
TERMINAL_ROWS = 20
COLORS = {"holds": "green", "does not hold": "red", "depends": "magenta", "undecided": "yellow"}


def tables_text(tables: Sequence[Table]) -> str:
    """The parts of each table, as the terminal shows them."""
    console = console_of_tables()
    with console.capture() as captured:
        _print_tables(console, tables)
    return captured.get()


def _print_tables(console: Console, tables: Sequence[Table]) -> None:
    for table in tables:
        console.print(f"\n[bold]{escape(table.title)}[/bold]  {escape(table.notes)}")
        for part, columns, rows in table.parts:
            heads = (escape(column.heading) for column in columns)
            shown = RichTable("model", "seeds", *heads, header_style="", title=part, title_justify="left")
            for row in rows[:TERMINAL_ROWS]:
                shown.add_row(escape(printable(row.label)), row.seeds, *(_cell(row, column) for column in columns))
            console.print(shown)
            if len(rows) > TERMINAL_ROWS:
                console.print(f"{len(rows) - TERMINAL_ROWS} more rows are on the page")
        for remark in table.remarks:
            console.print(escape(printable(remark)))
    console.print(
        "mean ± standard deviation over training seeds; [bold green]green[/bold green] is a column's best, "
        "† is not significantly worse"
    )


def print_answers(answers: Sequence[Answer]) -> None:
    """Prints each claim with its verdicts, one line a data set; then the claims of which no runs have both sides."""
    console = console_of_tables()
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


def print_newcomers(found: Sequence[Newcomer]) -> None:
    """Prints for each model that no claim names what it does better and worse than each model that claims name."""
    console = console_of_tables()
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


def _cell(row: Row, column: ColumnHead) -> str:
    cell = row.cells.get(column.name)
    if cell is None:
        return "—"
    return f"[bold green]{cell_text(cell)}[/bold green]" if cell.is_best else cell_text(cell) + "†" * cell.is_tied
