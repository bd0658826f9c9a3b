"""python -m benchmarks.report: verdicts and leaderboards from records alone, as a page, Markdown, LaTeX, CSV and in the
terminal."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmarks import exports, uncertainty
from benchmarks.claims import Claim, load_claims
from benchmarks.cli import prepare
from benchmarks.errors import UserError, exits_cleanly, fail
from benchmarks.gallery import copy_pictures, save_sheets
from benchmarks.leaderboard import ColumnHead, Row, Table, cell_text, number, tables
from benchmarks.page import BADGES, page
from benchmarks.runs import RecordError, Run, ScoreSheet, find_runs, read_run, read_sheets, write_text
from benchmarks.searches import Search, find_searches
from benchmarks.statistics import MIN_SEEDS
from benchmarks.verdicts import Answer, answer_all, effect_text
from benchmarks.wandb_tables import is_wandb, upload

# of a table, in the terminal
TERMINAL_ROWS = 20
COLORS = {"holds": "green", "does not hold": "red", "undecided": "yellow"}


@exits_cleanly
def main() -> None:
    prepare("report", needs_torch=False)
    _hydra_main()


@hydra.main(config_path="pkg://conf", config_name="report", version_base="1.3")
@exits_cleanly  # inside Hydra too, which would print a traceback
def _hydra_main(cfg: DictConfig) -> None:
    if not isinstance(cfg.min_seeds, int) or cfg.min_seeds < 2:
        raise UserError(f"min_seeds is {cfg.min_seeds!r}; expected a whole number of 2 or more")
    claims = None if cfg.claims is None else Path(cfg.claims)
    build([Path(cfg.runs)], Path(cfg.out), cfg.title, claims, cfg.min_seeds, cfg.logger)


def build(
    roots: Sequence[Path],
    out: Path,
    title: str,
    claims: Path | None = None,
    min_seeds: int = MIN_SEEDS,
    logger: Mapping[str, Any] | None = None,
) -> None:
    """Writes the report of every run and search at or below the roots into `out`, and prints it.

    Args:
        roots: runs, searches, or folders of them.
        out: the folder of the report.
        title: its heading.
        claims: a folder of claims; None for genbench's own.
        min_seeds: rows with fewer get no interval, no rank and no verdict.
        logger: a choice of conf/logger; with wandb the tables go up as well.

    Raises:
        RecordError: where there is neither a run nor a search. A single bad record is named and left out.
        UserError: for claims that are none.
    """
    asked = load_claims(claims)
    # records are many small objects and no cycles: looking for cycles would take a quarter of the time
    with _without_collection():
        _build(roots, out, title, asked, min_seeds, logger)


@contextmanager
def _without_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _build(
    roots: Sequence[Path],
    out: Path,
    title: str,
    asked: Sequence[Claim],
    min_seeds: int,
    logger: Mapping[str, Any] | None,
) -> None:
    # two jobs of a sweep may have left one run, and roots may overlap: a run counts once
    runs, empty = [], list[RecordError]()
    for root in roots:
        try:
            runs += find_runs(root, on_bad=left_out)
        except RecordError as error:
            empty.append(error)
    if len(roots) > 1:
        runs = list({run.path.resolve(): run for run in runs}.values())
    found_searches = [search for root in roots for search in find_searches(root, left_out)]
    searches = list({search.path.resolve(): search for search in found_searches}.values())
    if not runs and not searches:
        raise empty[0]
    found = tables(runs)
    uncertainty.add(found, min_seeds)
    answers = answer_all(asked, found, searches, [*runs, *_trial_runs(searches, runs)], min_seeds)
    failures = [run for run in runs if run.status != "finished" and not run.is_trial]
    pictures = copy_pictures(found, out)
    for table in found:
        save_sheets(table, pictures, out)
    files = {
        "leaderboard.md": exports.markdown(found, failures, title, answers, searches, min_seeds),
        "leaderboard.tex": exports.latex(found, answers, min_seeds),
        "leaderboard.csv": exports.leaderboard_csv(found),
        "comparisons.csv": exports.comparisons_csv(found),
        "claims.csv": exports.claims_csv(answers),
        "index.html": page(found, failures, pictures, title, answers, searches, out, min_seeds),
    }
    for name, text in files.items():
        write_text(out / name, text, is_precious=False)
    print_tables(found)
    print_answers(answers)
    if logger and is_wandb(logger):
        upload(found, answers, title, logger, out)
    print(f"{out / 'index.html'}: {sum(len(t.rows) for t in found)} rows of {len(runs)} runs")


def print_answers(answers: Sequence[Answer]) -> None:
    """Each claim and its verdicts, a line a data set, in the terminal."""
    console = console_of_tables()
    console.print("\n[bold]Claims[/bold]")
    for claim, its in groupby(answers, key=lambda answer: answer.claim):
        console.print(f"[bold]{escape(claim.title)}[/bold]")
        for answer in its:
            effect = effect_text(claim, answer.decisive) if answer.decisive else ""
            words = "; ".join(word for word in (effect, answer.reason) if word)
            where = f"{escape(answer.where)}: " if answer.where != "—" else ""
            color, badge = COLORS[answer.verdict], BADGES[answer.verdict]
            console.print(f"  [{color}]{badge} {answer.verdict:<13}[/{color}] {where}{escape(words)}")


def print_tables(found: Sequence[Table]) -> None:
    """Scores, then cost, in the terminal."""
    console = console_of_tables()
    for table in found:
        console.print(f"\n[bold]{escape(table.title)}[/bold]  {escape(table.notes)}")
        for part, columns, rows in table.parts:
            heads = (escape(exports.head(column)) for column in columns)
            shown = RichTable("model", "seeds", *heads, header_style="", title=part, title_justify="left")
            for row in rows[:TERMINAL_ROWS]:
                shown.add_row(escape(row.label), row.seeds, *(_rich_cell(row, column) for column in columns))
            console.print(shown)
            if len(rows) > TERMINAL_ROWS:
                console.print(f"and {len(rows) - TERMINAL_ROWS} more rows, which the page has")
    console.print(
        "mean ± standard deviation over training seeds; [bold green]green[/bold green] is a column's best, "
        "† is not significantly worse"
    )


def console_of_tables() -> Console:
    """As wide as the terminal; where the output goes to a file, as wide as tables need."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def print_scores(run: Path, protocol_id: str | None = None) -> None:
    """One run's scores, a line each; under one protocol, if that is given."""
    for sheet in read_sheets(run):
        if protocol_id in (None, sheet.protocol_id):
            _print_sheet(sheet)


def left_out(error: RecordError) -> None:
    """Names a record that cannot be read; the others still count."""
    fail(f"{error} (left out)")


def _trial_runs(searches: Sequence[Search], known: Sequence[Run]) -> list[Run]:
    """The runs of every trial that has a record, less those that are known: most lie below the roots."""
    there = {run.path.resolve() for run in known} if searches else set()
    trials = [(search, trial) for search in searches for its in search.trials.values() for trial in its]
    found = []
    for path in (search.runs_dir / trial.run for search, trial in trials):
        if path.resolve() not in there:
            with suppress(RecordError):  # named already, where it lies below the roots
                run = read_run(path)
                found += [] if run is None else [run]
    return found


def _print_sheet(sheet: ScoreSheet) -> None:
    print(f"protocol {sheet.protocol['name']} ({sheet.protocol_id})")
    for score in sheet.scores:
        if score.value is None:
            print(f"  {score.name:<22} — ({score.detail['reason']})")
            continue
        error = score.detail.get("standard_error")
        words = [number(score.value), score.unit, f"(standard error {number(error)})" if error is not None else ""]
        print(f"  {score.name:<22} {' '.join(word for word in words if word)}")


def _rich_cell(row: Row, column: ColumnHead) -> str:
    cell = row.cells.get(column.name)
    if cell is None:
        return "—"
    return f"[bold green]{cell_text(cell)}[/bold green]" if cell.is_best else cell_text(cell) + "†" * cell.is_tied


if __name__ == "__main__":
    main()
