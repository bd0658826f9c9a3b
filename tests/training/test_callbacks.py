"""Callbacks around the loop: points of the curve, divergence, a budget of seconds, and a bar for terminals alone."""

import csv
import math
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf

from benchmarks.scoring.restore import load_model
from benchmarks.training.budget import Budget
from benchmarks.training.callbacks import Curve, Diverged, ProgressBar, Watch, to_csv
from benchmarks.training.clock import Clock
from datamodules.digits import Digits
from models.game import GenerativeModel
from tests.conftest import composed
from tests.training.fakes import trainer_in


@pytest.fixture
def model() -> GenerativeModel:
    node: Any = OmegaConf.to_container(composed("model=ae", "network=mlp_narrow").model, resolve=True)
    return load_model(node)


def fit(
    folder: Path, model: GenerativeModel, budget: Budget, *callbacks: pl.Callback, block_size: int = 1
) -> pl.Trainer:
    """Trains on minibatches of 16 digits until the budget is spent."""
    data = Digits(name="digits", batch_size=16, block_size=block_size)
    trainer = trainer_in(folder, callbacks=list(callbacks))
    data.plan(0, budget.minibatches(model, 16, 1))
    trainer.fit(model, datamodule=data)
    return trainer


def curve(
    folder: Path, budget: Budget, points: int, score: Any = lambda model: {}, log: Any = lambda row: None
) -> Curve:
    clock = Clock()
    return Curve(folder / "curve.csv", clock, budget, points, score, log)


def rows_in(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "curve.csv").read_text().splitlines()))


def test_points_are_at_halves_of_halves_of_the_budget(tmp_path: Path, model: GenerativeModel) -> None:
    logged: list[Any] = []
    budget = Budget("images", 16 * 64)
    made = curve(tmp_path, budget, 4, lambda model: {"val_x": float(model.images)}, logged.append)
    fit(tmp_path, model, budget, made.clock, made)
    assert [int(row["images"]) for row in rows_in(tmp_path)] == [128, 256, 512, 1024]
    assert [float(row["val_x"]) for row in rows_in(tmp_path)] == [128, 256, 512, 1024]
    assert logged == made.rows
    assert [row["updates"] for row in made.rows] == [8, 16, 32, 64]
    seconds = [row["seconds"] for row in made.rows]
    assert seconds == sorted(seconds)


def test_a_block_that_passes_several_points_is_one_row(tmp_path: Path, model: GenerativeModel) -> None:
    budget = Budget("images", 16 * 16)
    made = curve(tmp_path, budget, 5)
    fit(tmp_path, model, budget, made.clock, made, block_size=6)
    assert [row["images"] for row in made.rows] == [96, 192, 256], "blocks of 6, 6 and 4 minibatches"


def test_a_model_is_scored_in_evaluation_mode_on_a_stopped_clock(tmp_path: Path, model: GenerativeModel) -> None:
    modes, waited = [], []
    budget = Budget("images", 64)
    made = curve(tmp_path, budget, 1, lambda model: look(model))

    def look(scored: GenerativeModel) -> dict[str, float]:
        modes.append((scored.training, torch.is_grad_enabled()))
        before = made.clock.seconds
        time.sleep(0.02)
        waited.append(made.clock.seconds - before)
        return {}

    fit(tmp_path, model, budget, made.clock, made)
    assert modes == [(False, False)]
    assert model.training
    assert waited == [0]


def test_the_losses_of_a_row_are_those_since_the_row_before(
    tmp_path: Path, model: GenerativeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, losses = Budget("images", 16 * 8), []
    made = curve(tmp_path, budget, 2)
    loss = model.loss

    def noted(x: torch.Tensor) -> torch.Tensor:
        losses.append(loss(x).detach())
        return loss(x)

    monkeypatch.setattr(model, "loss", noted)
    fit(tmp_path, model, budget, made.clock, made)
    means = [float(sum(part) / 4) for part in (losses[:4], losses[4:])]
    assert [row["loss_autoencoder"] for row in made.rows] == pytest.approx(means, rel=1e-5)


def test_a_curve_goes_on_at_its_next_point(tmp_path: Path, model: GenerativeModel) -> None:
    budget = Budget("images", 16 * 8)
    whole = curve(tmp_path, budget, 3)
    fit(tmp_path, model, budget, whole.clock, whole)
    state = {"rows": whole.rows[:2], "next": 2}
    resumed = curve(tmp_path, budget, 3)
    resumed.load_state_dict(state)
    fit(
        tmp_path, model, Budget("images", 16), resumed.clock, resumed
    )  # the model has seen all images, and one more batch
    assert [row["images"] for row in resumed.rows] == [32, 64, 144]
    assert resumed.state_dict() == {"rows": resumed.rows, "next": 3}


def test_a_run_that_goes_on_logs_what_was_before(tmp_path: Path) -> None:
    logged: list[Any] = []
    curve = Curve(tmp_path / "curve.csv", Clock(), Budget("images", 8), 3, lambda model: {}, logged.append)
    rows = [{"images": 2, "val_fid": 9.0}, {"images": 4, "val_fid": 5.0}]
    curve.load_state_dict({"rows": rows, "next": 2})
    assert logged == rows


def test_a_csv_has_every_column_of_any_row_and_empty_cells_for_the_rest() -> None:
    rows = [{"images": 2, "a": 0.1 + 0.2}, {"images": 4, "b": None}, {"images": 8, "a": 1e-9, "b": 3.0}]
    assert to_csv(rows) == "images,a,b\n2,0.30000000000000004,\n4,,\n8,1e-09,3.0\n"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run(value: float, tmp_path: Path, model: GenerativeModel) -> None:
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(value)
    clock, budget = Clock(), Budget("images", 16 * 50)
    with pytest.raises(Diverged, match=r"^the autoencoder's loss is (nan|inf) after 16 images$"):
        fit(tmp_path, model, budget, clock, Watch(clock, budget))


def test_a_weight_that_is_no_number_at_the_end_is_found_without_a_loss(tmp_path: Path, model: GenerativeModel) -> None:
    clock, budget = Clock(), Budget("images", 32)
    watch = Watch(clock, budget)
    trainer = fit(tmp_path, model, budget, clock, watch)
    watch.on_train_end(trainer, model)
    *_, (name, weight) = model.named_parameters()
    with torch.no_grad():
        weight.view(-1)[0] = math.nan
    with pytest.raises(Diverged, match=f"weight {name} is not finite at the end of training"):
        watch.on_train_end(trainer, model)


def test_a_budget_of_seconds_ends_at_its_clock(tmp_path: Path, model: GenerativeModel) -> None:
    clock, budget = Clock(), Budget("seconds", 0.2)
    trainer = fit(tmp_path, model, budget, clock, Watch(clock, budget))
    assert trainer.should_stop
    assert 0.2 <= clock.seconds < 20
    assert model.images > 0


def test_another_budget_is_not_ended_by_the_clock(tmp_path: Path, model: GenerativeModel) -> None:
    clock, budget = Clock(), Budget("images", 160)
    clock.load_state_dict({"seconds": 1e9})
    fit(tmp_path, model, budget, clock, Watch(clock, budget))
    assert model.images == 160


def test_a_progress_bar_shows_nothing_where_there_is_no_terminal(
    tmp_path: Path, model: GenerativeModel, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, budget = Clock(), Budget("images", 64)
    fit(tmp_path, model, budget, clock, ProgressBar("digits · vae", clock, budget))
    text = capsys.readouterr()
    assert "digits" not in text.out + text.err
