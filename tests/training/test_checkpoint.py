"""Checkpoints of a run: whose they are, which process writes them, and what a killed process leaves."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from filelock import FileLock, Timeout
from pytorch_lightning.utilities import rank_zero_only

from benchmarks.errors import UserError
from benchmarks.records.checkpoints import checksum
from benchmarks.records.paths import checkpoint_path
from benchmarks.training.callbacks import Diverged
from benchmarks.training.checkpoint import Checkpoint
from benchmarks.training.clock import Clock
from benchmarks.training.task import Training
from tests.conftest import Result, run

# five minibatches, and the cheap metrics alone
SMALL = (
    *("budget.amount=320", "datamodule.block_size=2", "curve_points=1", "trainer=cpu", "network=mlp_narrow"),
    *("protocol.samples=100", "protocol.second_encoder=null", "~protocol.metrics.ais", "~protocol.metrics.inversion"),
)


def train(folder: Path, *words: str) -> Result:
    return run("train", *SMALL, *words, cwd=folder)


def trained(folder: Path, model: str) -> Path:
    """A run that was trained and scored; its folder."""
    result = train(folder, f"model={model}")
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob(f"runs/digits/{model}/*/seed=0")
    return path


def look_before_training(monkeypatch: pytest.MonkeyPatch, look: Callable[[Path], str]) -> None:
    """Instead of training, a program ends in an error of what `look` says about the folder of the run."""

    def fit(training: Training) -> None:
        raise UserError(f"seen: {look(training.config.path)}")

    monkeypatch.setattr("benchmarks.training.run.fit", fit)


@pytest.mark.parametrize("model", ["gan", "ae"])
def test_a_run_that_was_killed_after_its_last_checkpoint_has_its_checksum_in_its_record(
    model: str, tmp_path: Path
) -> None:
    """Once null for models that are not calibrated: nothing was left to train, so nothing was saved either."""
    path = trained(tmp_path, model)
    (path / "run.json").unlink()
    (sheet,) = path.glob("scores/*.json")
    scores = sheet.read_bytes()
    sheet.unlink()
    again = train(tmp_path, f"model={model}")
    assert again.returncode == 0, again.stderr
    record = json.loads((path / "run.json").read_text())
    assert record["checkpoint"]["sha256"] == checksum(checkpoint_path(path))
    assert sheet.read_bytes() == scores


def test_a_checkpoint_of_another_run_is_refused_and_one_that_does_not_say_is_accepted(tmp_path: Path) -> None:
    path = trained(tmp_path, "gan")
    (path / "run.json").unlink()
    other = path.with_name("seed=1")
    shutil.copytree(path / "checkpoints", other / "checkpoints")
    refused = train(tmp_path, "model=gan", "seed=1")
    assert refused.returncode == 1
    (line,) = [line for line in refused.stderr.splitlines() if line]
    assert f"is the checkpoint of configuration {path.parent.name} with seed 0, not of this run" in line
    assert not (other / "run.json").exists()
    last = checkpoint_path(path)
    content = torch.load(last, weights_only=True)
    assert content.pop("run") == [path.parent.name, 0]
    torch.save(content, last)
    last.with_name("checksums.json").unlink()
    accepted = train(tmp_path, "model=gan")
    assert accepted.returncode == 0, accepted.stderr


@pytest.mark.parametrize(
    ("written_by", "is_refused"),
    [(["1a2b3c4d", 0], False), (["1a2b3c4d", 1], True), (["deadbeef", 0], True), (None, False)],
)
def test_a_checkpoint_is_of_one_configuration_and_one_seed(
    written_by: list[Any] | None, is_refused: bool, tmp_path: Path
) -> None:
    callback = Checkpoint(tmp_path / "last.ckpt", Clock(), 30, ("1a2b3c4d", 0))
    content: dict[str, Any] = {"random_states": [{}]} | ({"run": written_by} if written_by else {})
    trainer: Any = SimpleNamespace(world_size=1)
    model: Any = None
    if is_refused:
        with pytest.raises(UserError, match="not of this run; move it away to train from the start"):
            callback.on_load_checkpoint(trainer, model, content)
    else:
        callback.on_load_checkpoint(trainer, model, content)


@pytest.mark.parametrize("rank", [0, 3])
def test_the_only_process_of_a_run_has_its_lock_whatever_rank_a_launcher_gave_it(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs of a SLURM array step have ranks (SLURM_PROCID) and are no distributed run."""

    def held(path: Path) -> str:
        try:
            with FileLock(path / "lock").acquire(timeout=0):
                return "free"
        except Timeout:
            return "held"

    monkeypatch.setattr(rank_zero_only, "rank", rank)
    look_before_training(monkeypatch, held)
    assert train(tmp_path, "model=gan").stderr == "error: seen: held\n"


def test_what_killed_processes_left_half_written_is_removed_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hidden(path: Path) -> str:
        return ", ".join(sorted(file.name for file in path.rglob(".*"))) or "nothing"

    def leave(path: Path) -> str:
        (path / "checkpoints").mkdir()
        for name in ("checkpoints/.last.ckpt.a1b2", "checkpoints/.checksums.json.c3", ".run.json.d4", ".curve.csv.e5"):
            (path / name).touch()
        (path / ".mine").touch()
        return hidden(path)

    look_before_training(monkeypatch, leave)
    left = train(tmp_path, "model=gan").stderr
    assert left == "error: seen: .checksums.json.c3, .curve.csv.e5, .last.ckpt.a1b2, .mine, .run.json.d4\n"
    look_before_training(monkeypatch, hidden)
    assert train(tmp_path, "model=gan").stderr == "error: seen: .mine\n"


def test_a_run_whose_folder_was_moved_away_writes_no_record_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(training: Training) -> None:
        path = training.config.path
        path.rename(path.with_name("moved"))
        raise Diverged("the loss is nan")

    monkeypatch.setattr("benchmarks.training.run.fit", fit)
    train(tmp_path, "model=gan")
    assert not list(tmp_path.glob("runs/digits/gan/*/seed=0"))
