"""Builds a report from records: reads, computes, writes the files, prints to the terminal."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from benchmarks.errors import UserError, warn
from benchmarks.garbage import without_collection
from benchmarks.records.checks import check_for_report
from benchmarks.records.copies import seeds_once
from benchmarks.records.examples import forget_examples
from benchmarks.records.files import RecordError, remove_dead_leftovers, scratch, write_pieces, write_text
from benchmarks.records.logger_choice import is_wandb
from benchmarks.records.roots import find_all
from benchmarks.records.runs import Run, read_run
from benchmarks.records.searches import Search, find_searches
from benchmarks.reporting import exports
from benchmarks.reporting.across import across_data_sets
from benchmarks.reporting.claim_files import load_claims
from benchmarks.reporting.claims import Claims
from benchmarks.reporting.cores import are_many, beside
from benchmarks.reporting.filters import EVERYTHING, Only
from benchmarks.reporting.gallery import copy_pictures, save_sheets
from benchmarks.reporting.latex import latex
from benchmarks.reporting.leaderboard import make_tables
from benchmarks.reporting.newcomers import newcomers
from benchmarks.reporting.page import page_end, page_start
from benchmarks.reporting.reading import read_beside
from benchmarks.reporting.report import Report
from benchmarks.reporting.seed_statistics import MIN_SEEDS
from benchmarks.reporting.summary import verdicts_markdown
from benchmarks.reporting.table_sections import table_sections
from benchmarks.reporting.terminal import print_answers, print_newcomers, print_tables, report_bad_record, text_of
from benchmarks.reporting.verdicts import answer_all
from benchmarks.reporting.wandb_tables import upload


def write_report(
    roots: Sequence[Path],
    out: Path,
    title: str,
    claims: Path | None = None,
    min_seeds: int = MIN_SEEDS,
    logger: Mapping[str, Any] | None = None,
    only: Only = EVERYTHING,
    nicknames: Mapping[str, str] | None = None,
    latex_columns: Sequence[str] = (),
) -> Report:
    """Writes the report of every run and search at or below the roots into `out`, and prints it.

    Args:
        roots: runs, searches, or folders of them.
        out: the folder of the report.
        title: its heading.
        claims: a folder of claims; None for genbench's own.
        min_seeds: rows with fewer finished seeds get no interval, no rank and no verdict.
        logger: a choice of conf/logger; wandb gets the tables too.
        only: the runs and searches to report; the others are left out.
        nicknames: of rows, by config id.
        latex_columns: the scores of the LaTeX tables; none for all.

    Raises:
        RecordError: if there is neither a run nor a search. A single bad record is named and left out.
        UserError: for files that are not claims, or if `only` leaves nothing.
    """
    asked = load_claims(claims)
    # records are many small objects without cycles; the search for cycles would take a quarter of the time
    with _without_garbage_collection():
        tabulated, runs = _tabulated(roots, out, title, min_seeds, only, nicknames)
        remove_dead_leftovers(out, out / "pictures")
        with scratch(out) as start, scratch(out) as rest:
            with beside(lambda: _write_tables(tabulated, rest), pays=are_many(len(runs))) as printed:
                answers = answer_all(asked, tabulated.tables, tabulated.searches, runs, min_seeds)
                new = newcomers(tabulated.tables, asked, min_seeds)
                across = across_data_sets(tabulated.tables, min_seeds)
                report = replace(tabulated, answers=answers, shared_by=asked.shared_by, newcomers=new, across=across)
                _write_documents(report, latex_columns)
                start.writelines(page_start(report))
                answered = text_of(print_answers, answers), text_of(print_newcomers, new)
            pieces = chain(_pieces(start), _pieces(rest))
            write_pieces(out / "index.html", pieces, is_precious=False)
        print(*printed, *answered, sep="", end="")
    if logger and is_wandb(logger):
        upload(report, logger)
    searched = f", {len(report.searches)} search{'es' * (len(report.searches) > 1)}" if report.searches else ""
    rows = sum(len(table.rows) for table in report.tables)
    print(f"{out / 'index.html'}: {rows} rows of {report.runs} runs{searched}")
    return report


def make_report(roots: Sequence[Path], title: str, claims: Claims, min_seeds: int, only: Only = EVERYTHING) -> Report:
    """Reads the records at or below the roots, makes the tables and answers the claims. Nothing is written."""
    tabulated, runs = _tabulated(roots, None, title, min_seeds, only)
    answers = answer_all(claims, tabulated.tables, tabulated.searches, runs, min_seeds)
    return replace(tabulated, answers=answers, shared_by=claims.shared_by)


def _tabulated(
    roots: Sequence[Path],
    out: Path | None,
    title: str,
    min_seeds: int,
    only: Only,
    nicknames: Mapping[str, str] | None = None,
) -> tuple[Report, Sequence[Run]]:
    """Reads the records at or below the roots, makes the tables, and copies pictures into `out`; without `out`, no pictures.

    Returns:
        The report without answers to claims, and every run, those of the searches' trials included.
    """
    forget_examples()  # this process may have scored runs since its last report
    missing: RecordError | None = None
    try:
        runs = list(_complete(find_all(roots, report_bad_record, read_beside)))
    except RecordError as error:
        runs, missing = [], error
    searches = [search for root in roots for search in find_searches(root, report_bad_record)]
    searches = list({search.path.resolve(): search for search in searches}.values())
    if not runs and not searches:
        raise missing or RecordError("every record is left out; restore the records that are named above")
    runs, searches = only.select(runs, searches)
    runs, copies = seeds_once(runs)
    if copies:
        warn(f"{copies[0]} (copies that do not count: {len(copies)}; the page lists them)")
    if unknown := sorted((nicknames or {}).keys() - {run.record["config_id"] for run in runs}):
        raise UserError(f"nicknames has {unknown[0]}, which is the id of no configuration of the report")
    tables = make_tables(runs, min_seeds, nicknames)
    report = Report(
        title=title,
        out=out or Path(),
        tables=tables,
        searches=searches,
        failures=[run for run in runs if run.status != "finished" and not run.is_trial],
        copies=copies,
        pictures={} if out is None else copy_pictures(tables, out),
        runs=len(runs),
        min_seeds=min_seeds,
    )
    return report, [*runs, *_trial_runs(searches, runs)]


def _complete(runs: Sequence[Run]) -> Iterator[Run]:
    """The runs whose records have all that tables need; an error line for each other run."""
    for run in runs:
        try:
            check_for_report(run)
        except RecordError as error:
            report_bad_record(error)
        else:
            yield run


def _write_tables(report: Report, rest: TextIO) -> str:
    """Writes what needs no answers to claims: files, and the page after its verdicts. Returns the tables for the terminal."""
    rest.seek(0)
    rest.truncate()
    rest.writelines(chain(table_sections(report), page_end(report)))
    rest.flush()
    for table in report.tables:
        save_sheets(table, report.pictures, report.out)
    write_text(report.out / "leaderboard.csv", exports.leaderboard_csv(report.tables), is_precious=False)
    write_text(report.out / "comparisons.csv", exports.comparisons_csv(report.tables), is_precious=False)
    return text_of(print_tables, report.tables)


def _pieces(text: TextIO) -> Iterator[str]:
    text.seek(0)
    yield from iter(lambda: text.read(2**20), "")


def _write_documents(report: Report, latex_columns: Sequence[str]) -> None:
    write_text(report.out / "verdicts.md", verdicts_markdown(report.answers), is_precious=False)
    write_text(report.out / "leaderboard.md", exports.markdown(report), is_precious=False)
    write_text(report.out / "leaderboard.tex", latex(report, latex_columns), is_precious=False)
    write_text(report.out / "claims.csv", exports.claims_csv(report.answers), is_precious=False)
    if report.across:
        write_text(report.out / "across.csv", exports.across_csv(report.across), is_precious=False)
    else:  # of an earlier report in the same folder
        (report.out / "across.csv").unlink(missing_ok=True)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    with without_collection():
        try:
            yield
        finally:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()  # all objects count as old, so that the next allocation does not search them all


def _trial_runs(searches: Sequence[Search], runs: Sequence[Run]) -> list[Run]:
    """The runs of the searches' trials that are not among `runs`; most trials lie below the roots and are."""
    known = {run.path.resolve() for run in runs} if searches else set()
    trials = [(search, trial) for search in searches for group in search.trials.values() for trial in group]
    more = []
    for path in (search.runs_dir / trial.run for search, trial in trials):
        if path.resolve() not in known:
            with suppress(RecordError):  # a bad record below the roots has been named already
                run = read_run(path)
                more += [] if run is None else [run]
    return more
