"""Loggers: what an offline run of Weights & Biases holds, read back; and that nothing of a logger can end a run."""

import csv
import json
import re
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from omegaconf import OmegaConf
from pytorch_lightning.loggers import WandbLogger
from wandb.proto import wandb_internal_pb2

from benchmarks.training.configure import RunConfig
from benchmarks.training.loggers import Tracker
from tests.conftest import TINY, composed, run, run_process
from tests.training.fakes import train_until

NAMES = {"datamodule": "digits", "network": "mlp", "model": "vae"}
BLOCK = 32768


def read_offline(path: Path) -> Iterator[tuple[str, Any]]:
    """The records of an offline run: a LevelDB log of protocol buffers, behind seven bytes of wandb's own."""
    raw, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(raw):
        if BLOCK - at % BLOCK < 7:  # too little for a header: the block is padded
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", raw[at : at + 7])
        whole, at = whole + raw[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # full, or the last of several
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            name = record.WhichOneof("record_type")
            yield name, getattr(record, name)
            whole = b""


def items(found: Any) -> dict[str, Any]:
    """A record's updates or items as plain values, by dotted key."""
    pairs = found.update if hasattr(found, "update") else found.item
    return {pair.key or "/".join(pair.nested_key): json.loads(pair.value_json) for pair in pairs}


class Offline:
    """An offline run, read back."""

    def __init__(self, path: Path) -> None:
        records = list(read_offline(path))
        self.run = next(record for name, record in records if name == "run")
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.history = [items(record) for name, record in records if name == "history"]
        self.files = [file.path for name, record in records if name == "files" for file in record.files]
        self.exit = next(record.exit_code for name, record in records if name == "exit")
        for name, record in records:
            if name == "config":
                self.config |= items(record)
            elif name == "summary":
                self.summary |= items(record)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multirun of two seeds that is logged offline, in a process of its own: wandb keeps what earlier tests told it."""
    folder = tmp_path_factory.mktemp("tracked")
    result = run_process("train", "-m", "model=vae", "seed=0,1", "logger=wandb", "sweep_name=mine", *TINY, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_each_job_of_a_sweep_is_a_run_of_its_own(tracked: Path) -> None:
    found = sorted(tracked.glob("runs/digits/vae/*/seed=*/wandb/offline-run-*/*.wandb"))
    assert [path.parents[2].name for path in found] == ["seed=0", "seed=1"]


def test_an_offline_run_holds_configuration_curves_pictures_and_scores(tracked: Path) -> None:
    (path,) = tracked.glob("runs/digits/vae/*/seed=1/wandb/offline-run-*/*.wandb")
    found, run_folder = Offline(path), path.parents[2]
    assert found.run.run_group == "mine"
    assert {"digits", "mlp", "vae", "mine"} <= set(found.run.tags)
    assert found.run.display_name == "digits-mlp-vae-seed1"
    assert found.exit == 0
    assert found.config["seed"] == 1
    assert found.config["model"]["_target_"] == "models.vae.VAE"
    assert found.config["budget"] == {"unit": "images", "amount": 2600}
    curve = (run_folder / "curve.csv").read_text().splitlines()
    rows = [row for row in found.history if "val_fid" in row]
    assert len(rows) == len(curve) - 1
    assert str(rows[-1]["images"]) == curve[-1].split(",")[0]
    for name in ("samples", "reconstructions", "interpolations", "traversals"):
        assert any(file.startswith(f"media/images/pictures/{name}_") for file in found.files)
    (sheet,) = run_folder.glob("scores/*.json")
    scores = {s["name"]: s["value"] for s in json.loads(sheet.read_text())["scores"] if s["value"] is not None}
    assert {name: found.summary[f"quick/{name}"] for name in scores} == scores


def test_the_leaderboard_and_the_claims_go_up_as_tables(tracked: Path) -> None:
    (path,) = tracked.glob("reports/wandb/offline-run-*/*.wandb")
    found = Offline(path)
    assert (found.run.run_group, found.run.job_type) == ("mine", "report")
    tables = [json.loads((path.parent / "files" / name).read_text()) for name in found.files if "table.json" in name]
    boards = [table for table in tables if table["columns"][0] == "model"]
    assert next(row[0] for table in boards for row in table["data"]) == "vae"
    (claims,) = [table for table in tables if table["columns"][0] == "claim"]
    verdicts = {row[0]: row[1] for row in claims["data"]}
    assert verdicts["ae_reconstructs_better"] == "undecided"


def config(name: str, folder: Path, **changes: Any) -> RunConfig:
    """A run in a folder with this logger."""
    document: Any = OmegaConf.to_container(composed(f"logger={name}", f"runs_dir={folder}"), resolve=True)
    document |= {"names": NAMES, "command": "", "logger": document["logger"] | changes}
    return RunConfig.of(document)


@pytest.mark.parametrize("switch", ["mode", "environment"])
def test_a_disabled_wandb_is_not_there(switch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if switch == "environment":
        monkeypatch.setenv("WANDB_DISABLED", "true")
    made = config("wandb", tmp_path, mode="disabled" if switch == "mode" else "offline")
    with mock.patch("benchmarks.training.loggers.instantiate") as instantiate, Tracker(made) as tracker:
        tracker.log({"images": 1, "loss": 1.0})
    instantiate.assert_not_called()
    assert not list(tmp_path.iterdir())


def test_a_wandb_that_cannot_go_online_is_kept_offline_with_a_warning(tmp_path: Path, capsys: Any) -> None:
    modes = []

    def refuse(node: Any, **more: Any) -> Any:
        modes.append(node["mode"])
        if node["mode"] == "online":
            raise ConnectionError("no network")
        return mock.MagicMock()

    with mock.patch("benchmarks.training.loggers.instantiate", side_effect=refuse):
        Tracker(config("wandb", tmp_path, mode="online"))
    assert modes == ["online", "offline"]
    assert "warning: wandb cannot go online (no network); this run is kept offline" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["wandb", "tensorboard", "csv"])
def test_a_missing_logger_costs_a_warning(name: str, tmp_path: Path, capsys: Any) -> None:
    with (
        mock.patch("benchmarks.training.loggers.instantiate", side_effect=ModuleNotFoundError("No module named 'it'")),
        Tracker(config(name, tmp_path)) as tracker,
    ):
        tracker.log({"images": 1, "loss": 1.0})
        tracker.log_pictures(step=1)
    assert capsys.readouterr().err.count("warning: ") == 1


def test_a_logger_that_fails_midway_is_left_out_from_there(tmp_path: Path, capsys: Any) -> None:
    logger = mock.MagicMock()
    logger.log_metrics.side_effect = OSError("disk full")
    with (
        mock.patch("benchmarks.training.loggers.instantiate", return_value=logger),
        Tracker(config("csv", tmp_path)) as tracker,
    ):
        tracker.log({"images": 1, "loss": 1.0})
        tracker.log({"images": 2, "loss": 1.0})
    assert logger.log_metrics.call_count == 1
    assert "failed; the run goes on without it: disk full" in capsys.readouterr().err


def test_a_wandb_that_fails_midway_is_not_left_open_for_the_next_job(tmp_path: Path) -> None:
    logger = mock.MagicMock(spec=WandbLogger)
    logger.log_metrics.side_effect = OSError("disk full")
    with (
        mock.patch("benchmarks.training.loggers.instantiate", return_value=logger),
        Tracker(config("wandb", tmp_path, mode="offline")) as tracker,
    ):
        tracker.log({"images": 1, "loss": 1.0})
    logger.experiment.finish.assert_called_once_with(exit_code=1)


def test_a_resumed_run_goes_on_in_the_same_run_of_wandb_without_the_curve_twice(tmp_path: Path) -> None:
    ids, rows = [], []

    def make(node: Any, **more: Any) -> Any:
        ids.append((node["id"], node["resume"]))
        logger = mock.MagicMock(spec=WandbLogger)
        logger.log_metrics.side_effect = lambda metrics, step: rows.append(step)
        return logger

    curve = [{"images": images, "val_fid": 1.0} for images in (64, 128, 256)]
    with mock.patch("benchmarks.training.loggers.instantiate", side_effect=make):
        with Tracker(config("wandb", tmp_path, mode="offline")) as tracker:
            for row in curve[:2]:
                tracker.log(row)
        with Tracker(config("wandb", tmp_path, mode="offline")) as tracker:
            for row in curve:  # the rows from before the interruption come again
                tracker.log(row)
        other = config("wandb", tmp_path, mode="offline").changed(seed=1)
        with Tracker(other) as tracker:
            tracker.log(curve[0])
    assert rows == [64, 128, 256, 64]
    assert ids[0] == ids[1]
    assert ids[2] != ids[0]
    assert {resume for _, resume in ids} == {"allow"}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema": 1, "id": "../../x", "images": 3}', '{"schema": 1, "id": "ab"}']
)
def test_a_note_of_wandb_that_is_damaged_starts_a_new_run(content: str, tmp_path: Path) -> None:
    made = config("wandb", tmp_path, mode="offline")
    made.path.mkdir(parents=True)
    (made.path / "wandb.json").write_text(content)
    logger = mock.MagicMock(spec=WandbLogger)
    with (
        mock.patch("benchmarks.training.loggers.instantiate", return_value=logger) as instantiate,
        Tracker(made) as tracker,
    ):
        tracker.log({"images": 1, "loss": 1.0})
    assert re.fullmatch("[0-9a-f]{16}", instantiate.call_args.args[0]["id"])
    assert logger.log_metrics.call_count == 1


@pytest.mark.slow
def test_an_interrupted_run_is_one_run_of_wandb_with_one_curve(tmp_path: Path) -> None:
    """Two offline parts of one run, read back: together the curve, each row once."""
    words = ["model=ae", "logger=wandb", *TINY, "budget.amount=100000", "curve_points=10"]
    cut = train_until(lambda: bool(list(tmp_path.rglob("curve.csv"))), signal.SIGTERM, *words, cwd=tmp_path)
    assert cut.returncode == 128 + signal.SIGTERM, cut
    whole = run_process("train", *words, cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    parts = [Offline(path) for path in sorted(tmp_path.rglob("*.wandb"))]
    assert len(parts) == 2
    assert len({part.run.run_id for part in parts}) == 1
    (curve,) = tmp_path.rglob("curve.csv")
    sent = [str(row["images"]) for part in parts for row in part.history if "val_fid" in row]
    assert sent == [line.split(",")[0] for line in curve.read_text().splitlines()[1:]]


@pytest.mark.parametrize("name", ["csv", "tensorboard"])
def test_a_run_is_logged_by_one_yaml(name: str, tmp_path: Path) -> None:
    result = run("train", "model=ae", f"logger={name}", *TINY, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stderr
    (folder,) = (tmp_path / "runs" / "digits" / "ae").glob(f"*/seed=0/{name}")
    files = [path for path in folder.rglob("*") if path.is_file()]
    if name == "csv":
        text = next(path for path in files if path.name == "metrics.csv").read_text()
        assert "val_fid" in text.splitlines()[0]
        assert "quick/fid" in text.splitlines()[0]
    else:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(next(path for path in files if "tfevents" in path.name).parent))
        events.Reload()
        assert {"val_fid", "quick/fid"} <= set(events.Tags()["scalars"])
        assert "pictures/samples" in events.Tags()["images"]


def test_a_finished_run_that_is_only_scored_logs_its_curve_too(tmp_path: Path) -> None:
    assert run("train", "model=ae", *TINY, cwd=tmp_path).returncode == 0
    (folder,) = (tmp_path / "runs" / "digits" / "ae").glob("*/seed=0")
    for sheet in folder.glob("scores/*.json"):
        sheet.unlink()
    result = run("train", "model=ae", "logger=csv", *TINY, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (path,) = folder.rglob("metrics.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    curve = list(csv.DictReader((folder / "curve.csv").read_text().splitlines()))
    assert [row["val_fid"] for row in rows if row["val_fid"]] == [row["val_fid"] for row in curve]
    assert [row["quick/fid"] for row in rows if row["quick/fid"]]
