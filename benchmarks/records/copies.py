"""Copies of a run: which folders hold the same run, and whether their records and scores agree.

A record is written once and never edited, so copies of a run have equal records. They may have the scores of different protocols.
A copy whose seed was edited is found by what two trainings never share.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from benchmarks.errors import warn
from benchmarks.records.commands import without_folders
from benchmarks.records.files import RecordError
from benchmarks.records.runs import Run, ScoreSheet, sha256_of, submission_of

# what two trainings of a row never share
CHECKSUM = "checksum of the checkpoint"
SUBMISSION = "checksum of what was submitted"
COSTS = "measured costs and scores"


class SeedCopy(NamedTuple):
    """A run that is another run of its row under an edited seed.

    Args:
        run: the run that does not count.
        original: the run that counts.
        evidence: what both share and two trainings never share.
    """

    run: Run
    original: Run
    evidence: str

    def __str__(self) -> str:
        seeds = f"seeds {self.run.record['seed']} and {self.original.record['seed']}"
        return f"{self.run.path} is a copy of {self.original.path}: {seeds} have the same {self.evidence}"


def disagreement(runs: Sequence[Run]) -> str | None:
    """Where the records or the scores of copies disagree, in words; None if they agree.

    Records agree if they are equal; commands also if they differ in folders of a machine, which a published record lacks. Sheets
    of one protocol agree if they are equal; a sheet that one copy lacks is no disagreement.
    """
    first = runs[0].record
    for run in runs[1:]:
        if keys := [key for key in {**first, **run.record} if not _are_alike(key, first.get(key), run.record.get(key))]:
            return f"their records differ in {', '.join(keys[:4])}"
    sheets: dict[str, ScoreSheet] = {}
    for sheet in (sheet for run in runs for sheet in run.sheets):
        if sheets.setdefault(sheet.filename, sheet) != sheet:
            return f"their scores in {sheet.filename} differ"
    return None


def _are_alike(key: str, a: object, b: object) -> bool:
    """Whether the values of a key of two records say the same."""
    if key == "command" and isinstance(a, str) and isinstance(b, str):
        return a == b or without_folders(a) == without_folders(b)
    return a == b


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


def seeds_once(runs: Iterable[Run]) -> tuple[list[Run], list[SeedCopy]]:
    """The runs that count, and the copies of them under other seeds, which do not. Of a run and its copies, the first one counts.

    Two runs of a row are one run if they share

    - the checksum of the checkpoint: a checkpoint holds the seed and the states of the generators; or
    - of rows from elsewhere, the checksum of what was submitted: `evaluate` refuses the same submission under another seed; or
    - the measured costs, and every score under each protocol that both have: speeds are quotients of a clock in nanoseconds.

    Equal scores alone are no evidence: collapsed models whose samples are all black have equal scores under every seed.

    Args:
        runs: in any order, each once.
    """
    kept, copies = list[Run](), list[SeedCopy]()
    known: dict[tuple[object, ...], Run] = {}
    for run in runs:
        traces = list(_traces(run))
        matches = ((known[key], evidence) for key, evidence in traces if key in known)
        found = next(
            ((other, evidence) for other, evidence in matches if evidence is not COSTS or _agree(run, other)), None
        )
        if found is None:
            kept.append(run)
        else:
            copies.append(SeedCopy(run, *found))
        for key, _ in traces:  # those of a copy too: a copy of the copy may share others
            known.setdefault(key, run if found is None else found[0])
    return kept, copies


def _traces(run: Run) -> Iterator[tuple[tuple[object, ...], str]]:
    """What no other training of the row leaves, each with its name."""
    row = _identity(run)[:-1]
    if row and (sha256 := sha256_of(run.record)):
        yield (*row, CHECKSUM, sha256), CHECKSUM
    if row and run.is_external:
        if submission := submission_of(run.record):
            yield (*row, SUBMISSION, submission), SUBMISSION
        return  # the costs of a row from elsewhere are its owner's words
    cost = run.record.get("cost") or {}
    speed = cost.get("images_per_second")
    if row and isinstance(speed, float) and not speed.is_integer():  # a whole number may be a rounded one
        yield (*row, COSTS, *sorted(cost.items())), COSTS


def _agree(a: Run, b: Run) -> bool:
    """Whether two runs have the same scores under each protocol that both have."""
    sheets = {sheet.filename: sheet.scores for sheet in a.sheets}
    return all(sheets.get(sheet.filename, sheet.scores) == sheet.scores for sheet in b.sheets)


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
