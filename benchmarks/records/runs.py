"""A run on disk: its record, its scores, its curve.

A run's folder holds `config.yaml`, `run.json`, `curve.csv`, `checkpoints/last.ckpt`, pictures,
`scores/<protocol>-<protocol id>.json`, and `costs.json` if the speeds were measured again after training. A record is
written once, under a temporary name, synced and renamed. Nothing edits a record afterwards.
"""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta, Struct, field
from msgspec.structs import asdict

from benchmarks.errors import one_line, warn
from benchmarks.records.costs import read_costs
from benchmarks.records.files import LARGEST, SCHEMA, RecordError, read_bytes, write_json
from benchmarks.records.json_files import check_kind, read_json
from benchmarks.records.paths import CURVE, NO_RUNS, RECORD
from benchmarks.records.schemas import (
    CONTROL,
    MOST_SCORES,
    MOST_VALUE,
    Detail,
    FileName,
    MeasuredCosts,
    ProtocolFacts,
    Real,
    Record,
    Whole,
)
from benchmarks.records.sharing import Head, keep_head, shared, shared_head

Status = Literal["finished", "diverged", "failed"]
# a curve of 64 points has some kilobytes
MOST_BYTES_OF_CURVE = LARGEST[".csv"]


class Score(Struct, gc=False):  # a report makes hundreds of thousands: a dataclass takes twice the time
    """One score. `value` is None if the score does not apply or failed; `detail["reason"]` then says why."""

    name: Annotated[str, Meta(max_length=200)]
    value: Real | None
    unit: Annotated[str, Meta(max_length=200)]
    higher_is_better: bool | None
    n: Whole
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreSheet:
    """The scores of one run under one protocol."""

    protocol: dict[str, Any]
    protocol_id: str
    status: Literal["scored", "diverged"]
    scores: list[Score]

    @property
    def values(self) -> dict[str, float | None]:
        """The scores by name; None where there is no number."""
        return {score.name: score.value for score in self.scores}

    @property
    def filename(self) -> str:
        return f"{self.protocol['name']}-{self.protocol_id}.json"


class _SheetFile(TypedDict):
    """A score sheet as it lies on disk."""

    schema: int
    protocol: dict[str, Any]
    protocol_id: FileName
    status: Annotated[str, Meta(pattern=r"\A(scored|diverged)\Z")]
    scores: Annotated[list[Score], Meta(max_length=MOST_SCORES)]


@dataclass(frozen=True)
class Run:
    """A folder with the record of a run."""

    path: Path
    record: dict[str, Any]
    sheets: list[ScoreSheet]
    # of `costs.json`, which is written after training, and may be written again
    costs: MeasuredCosts | None = None

    @property
    def status(self) -> Status:
        status: Status = self.record["status"]
        return status

    @property
    def is_external(self) -> bool:
        """Whether the run was trained elsewhere, and only scored here."""
        return self.record.get("external") is not None

    @property
    def was_trial(self) -> bool:
        """Whether a search trained the run to choose hyper-parameters."""
        return (self.record.get("search") or {}).get("role") == "trial"

    @property
    def is_trial(self) -> bool:
        """Whether the run is only a trial of a search, and therefore not a row of a leaderboard.

        A trial that was later scored on the test split, by the training program, counts as an ordinary run.
        """
        return self.was_trial and not any(sheet.protocol.get("split") == "test" for sheet in self.sheets)


# None: the run has not ended
RunOrError = Run | RecordError | None
# of paths: each with its run
Reader = Callable[[Sequence[Path]], Iterable[tuple[Path, RunOrError]]]


def write_sheet(run: Path, sheet: ScoreSheet) -> Path:
    """Writes a score sheet into a run's folder and returns the sheet's path."""
    path = run / "scores" / sheet.filename
    write_json(path, {"schema": SCHEMA, **vars(sheet), "scores": [asdict(score) for score in sheet.scores]})
    return path


def write_record(run: Path, record: Mapping[str, Any]) -> None:
    """Writes `run.json`. The record of an earlier, failed attempt is kept under a numbered name.

    Raises:
        RecordError: if the run has a record that is not of a failed attempt: nothing replaces such a record.
    """
    path = run / RECORD
    if path.exists():
        if has_ended(run):
            raise RecordError(
                f"{path} exists, and a record of a run that has ended is never replaced; move the run away"
            )
        attempt = 1 + sum(1 for _ in run.glob("run.failed-*.json"))
        path.rename(run / f"run.failed-{attempt}.json")
    write_json(path, {"schema": SCHEMA, **record})


def read_record(run: Path) -> dict[str, Any] | None:
    """Reads `run.json`; None for a run that has not ended.

    Raises:
        RecordError: for a damaged file, a newer schema, or values of other types than a record has.
    """
    path = run / RECORD
    if not os.path.lexists(path):
        return None
    if CONTROL.search(str(run)):
        raise RecordError(f"{run} has control characters, or is not UTF-8, in the name of a folder; rename the folder")
    return {key: shared(value) if isinstance(value, dict) else value for key, value in read_json(path, Record).items()}


def read_sheets(run: Path) -> list[ScoreSheet]:
    """Reads every score sheet of a run, in order of file names.

    Raises:
        RecordError: for a damaged file, a newer schema, values of other types, or a name that is not that of the sheet.
    """
    folder = run / "scores"
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [_read_sheet(folder / name) for name in names]


def _read_sheet(path: Path) -> ScoreSheet:
    sheet = read_json(path, _SheetFile)
    scores = sheet["scores"]
    check_kind(path, sheet["protocol"], ProtocolFacts, "protocol")
    for i, score in enumerate(scores):
        head = shared_head(score.name, score.unit, score.detail) or _new_head(path, i, score)
        score.name, score.unit, score.detail = head
    if len({score.name for score in scores}) < len(scores):  # a seed would count several times
        raise RecordError(f"{path} has several scores of one name; restore it or move it away")
    status: Any = sheet["status"]
    found = ScoreSheet(shared(sheet["protocol"]), sheet["protocol_id"], status, scores)
    if found.filename != path.name:  # a copy under another name would count a seed twice
        raise RecordError(f"{path} is the sheet {found.filename} by its content; move it away, or rename it")
    return found


def _new_head(path: Path, i: int, score: Score) -> Head:
    """What the score at the place `i` of a sheet has besides its value, checked."""
    check_kind(path, score.detail, Detail, f"detail of scores[{i}]")
    # here, and not in the type of a score: a pattern would double the time of reading
    if CONTROL.search(f"{score.name}{score.unit}{score.detail.get('encoder')}"):
        raise RecordError(f"{path} has control characters in a name, a unit or an encoder of a score; move it away")
    return keep_head(score.name, score.unit, score.detail)


def read_curve(run: Path) -> list[dict[str, float]]:
    """Reads `curve.csv`: one dictionary per point of the budget, without empty cells.

    Returns an empty list, with a warning, for a file that cannot be read, because no result depends on the curve.
    """
    path = run / CURVE
    try:
        lines = csv.DictReader(io.StringIO(read_bytes(path, MOST_BYTES_OF_CURVE).decode("utf-8")), strict=True)
        points = [{name: float(text) for name, text in line.items() if name is not None and text} for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, csv.Error) as error:
        warn(f"{path} cannot be read and is left out ({one_line(error)[:160]})")
        return []
    if bad := [name for point in points for name, value in point.items() if not abs(value) <= MOST_VALUE]:
        warn(f"{path} cannot be read and is left out (a value of {bad[0][:40]} is not a finite number)")
        return []
    return points


def sha256_of(record: Mapping[str, Any]) -> str | None:
    """The checksum of the final checkpoint of a run; None for records of earlier versions, which have none."""
    checkpoint = record.get("checkpoint")
    return checkpoint.get("sha256") if isinstance(checkpoint, Mapping) else None


def submission_of(record: Mapping[str, Any]) -> str | None:
    """The checksum of what was submitted as a row from elsewhere; None for a run that genbench trained."""
    file = (record.get("external") or {}).get("file") or {}
    sha256: str | None = file.get("sha256")
    return sha256


def has_ended(run: Path) -> bool:
    """Whether training ended with a result, finished or diverged, so that nothing is left to train."""
    record = read_record(run)
    return record is not None and record["status"] in ("finished", "diverged")


def read_run(path: Path) -> Run | None:
    """Reads a run with its record and scores; None for a run that has not ended.

    Raises:
        RecordError: for a damaged file or a newer schema.
    """
    record = read_record(path)
    return None if record is None else Run(path, record, read_sheets(path), read_costs(path, record))


def read_each(paths: Sequence[Path]) -> Iterator[tuple[Path, RunOrError]]:
    """Each path with its run; with None for a run that has not ended, and with the error of a record that cannot be read."""
    for path in paths:
        try:
            yield path, read_run(path)
        except RecordError as error:
            yield path, error


def find_runs(
    root: Path,
    on_bad: Callable[[RecordError], None] | None = None,
    read: Reader = read_each,
) -> list[Run]:
    """Every run with a record at or below `root`, in order of paths.

    Args:
        root: a run, or a folder of runs.
        on_bad: the function to call for each record that cannot be read, which is then left out. None: the error is raised.
        read: reads the runs, in the order of their paths.

    Raises:
        RecordError: if there is no run at all, or for a bad record if `on_bad` is None.
    """
    if not root.is_dir():
        raise RecordError(f"{root} is not a folder; set runs=PATH to a run or a folder of runs")
    runs = []
    for _, run in read(list(_run_folders(root))):
        if isinstance(run, Run):
            runs.append(run)
        elif run is not None:
            if on_bad is None:
                raise run
            on_bad(run)
    if not runs:
        raise RecordError(
            f"{root} holds no finished run (no {RECORD} that can be read); train one: python -m benchmarks.train"
        )
    return runs


def _run_folders(root: Path) -> Iterator[Path]:
    """Folders with a record, in order of paths, part by part."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in NO_RUNS)
        if RECORD in files:
            yield Path(folder)
