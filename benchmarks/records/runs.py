"""A run on disk: its record, its scores, its curve.

A run's folder holds `config.yaml`, `run.json`, `curve.csv`, `checkpoints/last.ckpt`, pictures, and
`scores/<protocol>-<protocol id>.json`. A record is written once, under a temporary name, synced and renamed. Nothing
edits a record afterwards.
"""

import csv
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal

from benchmarks.records.files import SCHEMA, RecordError, read_json, write_json
from benchmarks.records.paths import BASELINES, CURVE, NO_RUNS, OLD_BASELINES, RECORD, run_path, runs_dir_of

Status = Literal["finished", "diverged", "failed"]

# the kinds of the keys that every record has
_KINDS: dict[str, type | UnionType] = {"status": str, "seed": int, "config_id": str, "names": Mapping, "data": Mapping}
# of the keys that a report needs too
_KINDS_FOR_REPORTS: dict[str, type | UnionType] = {
    **{"names.datamodule": str, "names.model": str, "names.network": str},
    **{"data.id": str, "data.sizes.test": int, "data.binarize": str, "data.dequantize": bool},
}
# of the keys that some records lack
_KINDS_OF_OPTIONAL: dict[str, type | UnionType] = {
    **{"data.sizes.train": int, "data.sizes.val": int, "data.shape": list},
    **{"budget": Mapping, "budget.unit": str, "budget.amount": int | float},
    **{"spent": Mapping, "spent.images": int | float, "spent.seconds": int | float, "spent.updates": int | float},
    **{"cost": Mapping, "cost.parameters": int | float, "cost.train_seconds": int | float},
    **{"cost.images_per_second": int | float, "cost.peak_memory_bytes": int | float},
    "cost.sampling_images_per_second": int | float,
    **dict.fromkeys(("search", "checkpoint", "environment", "packages", "git"), Mapping),
}


@dataclass(slots=True)  # not frozen: frozen objects are slower to make, and a report makes hundreds of thousands
class Score:
    """One score. `value` is None if the score does not apply or failed; `detail["reason"]` then says why."""

    name: str
    value: float | None
    unit: str
    higher_is_better: bool | None
    n: int
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreSheet:
    """The scores of one run under one protocol."""

    protocol: dict[str, Any]
    protocol_id: str
    status: Literal["scored", "diverged"]
    scores: list[Score]

    @property
    def filename(self) -> str:
        return f"{self.protocol['name']}-{self.protocol_id}.json"


@dataclass(frozen=True)
class Run:
    """A folder with the record of a run."""

    path: Path
    record: dict[str, Any]
    sheets: list[ScoreSheet]

    @property
    def status(self) -> Status:
        status: Status = self.record["status"]
        return status

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


def write_sheet(run: Path, sheet: ScoreSheet) -> Path:
    """Writes a score sheet into a run's folder and returns the sheet's path."""
    path = run / "scores" / sheet.filename
    write_json(path, {"schema": SCHEMA, **asdict(sheet)})
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
        RecordError: for a damaged file, a newer schema, or keys of other kinds than a record has.
    """
    path = run / RECORD
    if not path.is_file():
        return None
    record = read_json(path, need=("status", "seed", "config_id", "names", "data"))
    for key, kind in (_KINDS | _KINDS_FOR_REPORTS | _KINDS_OF_OPTIONAL).items():
        value = _value_at(record, key)
        is_finite = not isinstance(value, float) or math.isfinite(value)
        if not (isinstance(value, kind) and is_finite) and (key in _KINDS or value is not None):
            raise RecordError(
                f"{path} has {key} {str(value)[:40]!r}, which is none; restore the record or move it away"
            )
    return record


def _value_at(record: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; None if a record lacks the key or a part of it."""
    node: Any = record
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def read_sheets(run: Path) -> list[ScoreSheet]:
    """Reads every score sheet of a run, in order of file names.

    Raises:
        RecordError: for a damaged file or a newer schema.
    """
    sheets = []
    folder = run / "scores"
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except FileNotFoundError:
        names = []
    for path in (folder / name for name in names):
        sheet = read_json(path, need=("protocol", "protocol_id", "status", "scores"))
        del sheet["schema"]
        try:
            scores = [Score(**score) for score in sheet.pop("scores")]
            sheets.append(ScoreSheet(scores=scores, **sheet))
        except TypeError as error:
            raise RecordError(f"{path} is not a score sheet ({error}); move it away and score the run again") from error
    return sheets


def read_curve(run: Path) -> list[dict[str, float]]:
    """Reads `curve.csv`: one dictionary per point of the budget, without empty cells.

    Returns an empty list for a file that cannot be read, because no result depends on the curve.
    """
    try:
        with (run / CURVE).open(encoding="utf-8", newline="") as stream:
            return [
                {name: float(text) for name, text in line.items() if name is not None and text}
                for line in csv.DictReader(stream)
            ]
    except (OSError, ValueError, TypeError):
        return []


def sha256_of(record: Mapping[str, Any]) -> str | None:
    """The checksum of the final checkpoint of a run; None for records of earlier versions, which have none."""
    checkpoint = record.get("checkpoint")
    return checkpoint.get("sha256") if isinstance(checkpoint, Mapping) else None


def check_data(run: Run, data_id: str) -> None:
    """Checks that the data at hand are those of a run.

    Raises:
        RecordError: if their id differs from the record's.
    """
    recorded = run.record["data"].get("id")
    if recorded != data_id:
        raise RecordError(
            f"{run.path}: the data differ: {recorded} in the record, {data_id} here; set data_dir to the folder of the "
            "recorded data"
        )


def check_for_report(run: Run) -> None:
    """Checks that a record has the keys from which a report makes tables.

    Raises:
        RecordError: for a missing key.
    """
    needed = [*_KINDS_FOR_REPORTS, *(("budget.unit", "budget.amount") if run.record.get("budget") else ())]
    for key in needed:
        if _value_at(run.record, key) is None:
            raise RecordError(f"{run.path / RECORD} lacks {key}; restore the record or move it away")


def check_place(run: Run) -> None:
    """Checks that a run lies where its record says, so that what is written beside it stays inside the folder of runs.

    Raises:
        RecordError: for another place, or a link in the place of one of its folders.
    """
    names, config_id, seed = run.record["names"], run.record["config_id"], run.record["seed"]
    expected = run_path(runs_dir_of(run.path), names["datamodule"], names["model"], config_id, seed)
    if run.path.resolve() != expected.resolve():
        place = f"{names['datamodule']}/{names['model']}/{config_id}/seed={seed}"
        raise RecordError(f"{run.path} does not lie at <runs>/{place}, as its record says; move it there")
    folders = [run.path, *run.path.glob("*/")]
    for name in (BASELINES, OLD_BASELINES):
        baselines = expected.parents[2] / name
        folders += [baselines, *baselines.glob("*"), *baselines.glob("*/*"), *baselines.glob("*/*/*")]
    if links := [folder for folder in folders if folder.is_symlink()]:
        raise RecordError(f"{links[0]} is a link to another folder; scores are written inside the folder of runs only")


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
    return None if record is None else Run(path, record, read_sheets(path))


def find_runs(root: Path, on_bad: Callable[[RecordError], None] | None = None) -> list[Run]:
    """Every run with a record at or below `root`, in order of paths.

    Args:
        root: a run, or a folder of runs.
        on_bad: the function to call for each record that cannot be read, which is then left out. None: the error is raised.

    Raises:
        RecordError: if there is no run at all, or for a bad record if `on_bad` is None.
    """
    if not root.is_dir():
        raise RecordError(f"{root} is not a folder; set runs=PATH to a run or a folder of runs")
    runs = []
    for path in _run_folders(root):
        try:
            run = read_run(path)
        except RecordError as error:
            if on_bad is None:
                raise
            on_bad(error)
        else:
            runs += [] if run is None else [run]
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
