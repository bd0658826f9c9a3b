"""A run on disk: its configuration, its record, its scores. Needs no torch, so that reports are quick.

`runs/<datamodule>/<model>/<config id>/seed=<n>/` holds `config.yaml`, `run.json`, `curve.csv`, `checkpoints/last.ckpt`,
pictures, and `scores/<protocol>-<protocol id>.json`. A record is written once, under a temporary name, synced and
renamed; nothing edits it afterwards.
"""

import csv
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.errors import UserError

SCHEMA = 1

Status = Literal["finished", "diverged", "failed"]

# what decides a run's result; everything else (paths, loggers, protocols, launchers, progress) does not
RESULT_KEYS = ("model", "datamodule", "budget", "trainer")
PATH_KEYS = {"data_dir", "cache_dir"}
TRAINER_RESULT_KEYS = {"precision", "devices", "num_nodes", "sync_batchnorm", "deterministic"}

# the rows that calibrate a table lie beside the models' runs, under this folder
CALIBRATION = "_calibration"
# and so do the records of searches
SEARCHES = "_searches"

# both are safe; the one in C is ten times as fast
_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RecordError(UserError):
    """A record that cannot be read. The message names the file and what to do."""


@dataclass(slots=True)  # not frozen, which is slower to make: a report makes hundreds of thousands
class Score:
    """One cell. `value` is None where the score does not apply or failed; `detail["reason"]` then says why."""

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
    """A run directory that has a record."""

    path: Path
    record: dict[str, Any]
    sheets: list[ScoreSheet]

    @property
    def status(self) -> Status:
        status: Status = self.record["status"]
        return status

    @property
    def was_trial(self) -> bool:
        """Whether it was trained by a search, to choose hyper-parameters."""
        return (self.record.get("search") or {}).get("role") == "trial"

    @property
    def is_trial(self) -> bool:
        """Whether it is a search's trial and nothing more: no row of a leaderboard. One that somebody asked for again, by
        the command that trains and scores it on the test split, is a run like others."""
        return self.was_trial and not any(sheet.protocol.get("split") == "test" for sheet in self.sheets)


def config_id(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits over the part of a resolved configuration that decides the result, seed left out."""
    decisive = {key: config[key] for key in RESULT_KEYS if key in config}
    decisive["trainer"] = {k: v for k, v in decisive.get("trainer", {}).items() if k in TRAINER_RESULT_KEYS}
    decisive["datamodule"] = {k: v for k, v in decisive.get("datamodule", {}).items() if k not in PATH_KEYS}
    return digest(decisive)


def digest(value: Any) -> str:
    """Eight hexadecimal digits over a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def run_path(runs_dir: Path, datamodule: str, model: str, config_id: str, seed: int) -> Path:
    return runs_dir / datamodule / model / config_id / f"seed={seed}"


def calibration_path(runs_dir: Path, datamodule: str, data_id: str, row: str) -> Path:
    return runs_dir / datamodule / CALIBRATION / data_id / row


@contextmanager
def replacing(path: Path, is_precious: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`; once it is written it takes `path`'s place, or is removed.

    What is precious is synced to the disk first; what can be made again from records need not wait for that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if is_precious:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, is_precious: bool = True) -> None:
    with replacing(path, is_precious) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Strict JSON: no NaN, which other readers refuse."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_sheet(run: Path, sheet: ScoreSheet) -> Path:
    path = run / "scores" / sheet.filename
    write_json(path, {"schema": SCHEMA, **asdict(sheet)})
    return path


def write_record(run: Path, record: Mapping[str, Any]) -> None:
    """Writes `run.json`. A record of an earlier, failed attempt is kept beside it under a number."""
    path = run / "run.json"
    if path.exists():
        attempt = 1 + sum(1 for _ in run.glob("run.failed-*.json"))
        path.rename(run / f"run.failed-{attempt}.json")
    write_json(path, {"schema": SCHEMA, **record})


def read_record(run: Path) -> dict[str, Any] | None:
    """`run.json`, or None where the run has not ended.

    Raises:
        RecordError: for a file that is damaged or of a newer schema.
    """
    path = run / "run.json"
    return read_json(path, need=("status", "seed", "config_id", "names", "data")) if path.is_file() else None


def read_config(run: Path) -> dict[str, Any]:
    """`config.yaml`.

    Raises:
        RecordError: where it is missing or damaged.
    """
    path = run / "config.yaml"
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=_YamlLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecordError(
            f"{path} cannot be read ({' '.join(str(error).split())}); restore it or move the run away"
        ) from error
    if not isinstance(config, dict):
        raise RecordError(f"{path} is not a configuration; restore it or move the run away")
    return config


def read_sheets(run: Path) -> list[ScoreSheet]:
    """Every score sheet of a run, by file name.

    Raises:
        RecordError: for a file that is damaged or of a newer schema.
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
    """`curve.csv`: a row a point of the budget, each with the columns that have a number; nothing where it cannot be read."""
    try:
        with (run / "curve.csv").open(encoding="utf-8", newline="") as stream:
            return [
                {name: float(text) for name, text in line.items() if name is not None and text}
                for line in csv.DictReader(stream)
            ]
    except (OSError, ValueError, TypeError):  # nothing rests on a curve
        return []


def is_finished(run: Path) -> bool:
    """Whether the run has ended with a result, good or bad: there is nothing left to train."""
    record = read_record(run)
    return record is not None and record["status"] in ("finished", "diverged")


def read_run(path: Path) -> Run | None:
    """A run with its record and scores, or None where it has not ended.

    Raises:
        RecordError: for a file that is damaged or of a newer schema.
    """
    record = read_record(path)
    return None if record is None else Run(path, record, read_sheets(path))


def find_runs(root: Path, on_bad: Callable[[RecordError], None] | None = None) -> list[Run]:
    """Every run with a record at or below `root`, in the order of their paths.

    Args:
        root: a run, or a folder of runs.
        on_bad: called with what is wrong with a record, which is then left out; without it, the error is raised.

    Raises:
        RecordError: where there is no run at all, or for a bad record where `on_bad` is not given.
    """
    if not root.is_dir():
        raise RecordError(f"{root} is not a folder; set runs=PATH to a run or a folder of runs")
    found = []
    for path in _run_folders(root):
        try:
            run = read_run(path)
        except RecordError as error:
            if on_bad is None:
                raise
            on_bad(error)
        else:
            found += [] if run is None else [run]
    if not found:
        raise RecordError(
            f"{root} holds no finished run (no run.json that can be read); train one: python -m benchmarks.train"
        )
    return found


def read_json(path: Path, need: tuple[str, ...]) -> dict[str, Any]:
    """A record that has these keys.

    Raises:
        RecordError: for a file that is damaged, no record of genbench's, or of a newer schema.
    """
    try:
        with open(path, "rb") as stream:  # reports read tens of thousands: no text layer in between
            value = json.loads(stream.read())
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is damaged ({' '.join(str(error).split())}); restore it or move it away") from error
    if not isinstance(value, dict) or not isinstance(value.get("schema"), int):
        raise RecordError(f"{path} is not a record of genbench's; move it away")
    if value["schema"] > SCHEMA:
        raise RecordError(
            f"{path} has schema {value['schema']} and this genbench reads up to {SCHEMA}: install a newer genbench"
        )
    missing = [key for key in need if key not in value]
    if missing:
        raise RecordError(f"{path} lacks {', '.join(missing)}; restore it or move it away")
    return value


def finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _run_folders(root: Path) -> Iterator[Path]:
    """In the order of their paths, part by part."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in ("checkpoints", "scores", "wandb", CALIBRATION, SEARCHES))
        if "run.json" in files:
            yield Path(folder)
