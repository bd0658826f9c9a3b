"""Copies of a run: which folders hold the same run, and whether their records and scores agree.

A record is written once and never edited, so copies of a run have equal records. They may have the scores of different protocols.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from benchmarks.errors import warn
from benchmarks.records.files import RecordError
from benchmarks.records.runs import Run, ScoreSheet


def disagreement(runs: Sequence[Run]) -> str | None:
    """Where the records or the scores of copies disagree, in words; None if they agree.

    Records agree if they are equal. Sheets of one protocol agree if they are equal; a sheet that one copy lacks is no
    disagreement.
    """
    first = runs[0].record
    for run in runs[1:]:
        if keys := [key for key in {**first, **run.record} if first.get(key) != run.record.get(key)]:
            return f"their records differ in {', '.join(keys[:4])}"
    sheets: dict[str, ScoreSheet] = {}
    for sheet in (sheet for run in runs for sheet in run.sheets):
        if sheets.setdefault(sheet.filename, sheet) != sheet:
            return f"their scores in {sheet.filename} differ"
    return None


def once_each(runs: Iterable[Run], on_conflict: Callable[[RecordError], None]) -> list[Run]:
    """Each run once, in the order of the first copies. Of equal copies, the one with the scores of most protocols counts.

    Args:
        runs: in any order.
        on_conflict: called for copies that disagree, or of which each has scores that the others lack. All of them are left
            out: none is chosen silently.
    """
    copies: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        copies.setdefault(_identity(run), []).append(run)
    others = list[str]()
    chosen = list(_chosen(copies.values(), on_conflict, others.append))
    if others:
        more = f"; {len(others) - 1} more copies do not count" if len(others) > 1 else ""
        warn(f"{others[0]}; the copy does not count{more}")
    return chosen


def _chosen(
    groups: Iterable[Sequence[Run]], on_conflict: Callable[[RecordError], None], on_copy: Callable[[str], None]
) -> Iterator[Run]:
    for copies in groups:
        chosen = max(copies, key=lambda run: len(run.sheets))
        reason = disagreement(copies) if len(copies) > 1 else None
        names = {sheet.filename for sheet in chosen.sheets}
        if reason is None and any(sheet.filename not in names for run in copies for sheet in run.sheets):
            reason = "each has scores that the other lacks (python -m benchmarks.merge unites them)"
        if reason is not None:
            paths = " and ".join(str(run.path) for run in copies)
            on_conflict(RecordError(f"{paths} are the same run, and {reason}; name one of them alone"))
            continue
        for run in copies:
            if run is not chosen:
                on_copy(f"{run.path} is a copy of {chosen.path}")
        yield chosen


def _identity(run: Run) -> tuple[object, ...]:
    """What two copies of a run share. A record without the names of its groups is a copy of nothing."""
    names = run.record["names"]
    facts = [names.get("datamodule"), names.get("network"), names.get("model"), run.record["data"].get("id")]
    return (run.path,) if None in facts else (*map(str, facts), run.record["config_id"], run.record["seed"])
