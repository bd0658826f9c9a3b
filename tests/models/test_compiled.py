"""Compiled turns: recorded losses and gradients are those of eager turns, and what cannot be recorded is told."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from models.game import GenerativeModel
from models.turns import Turns
from tests.conftest import choices
from tests.models.test_game import Random, fit
from tests.models.test_turns import made


def compiled_beside_eager(
    name: str, folder: Path, change: Callable[[GenerativeModel], None], minibatches: int = 31
) -> list[GenerativeModel]:
    """A model that was trained operation by operation, and one whose losses and gradients were compiled."""
    seed, models = int(torch.randint(2**31, ())), list[GenerativeModel]()
    for kind in ("eager", "compiled"):
        pl.seed_everything(seed, verbose=False)
        models.append(made(name))
        models[-1].turns = Turns(kind)
        change(models[-1])
        models[-1].configure_model()
        fit(models[-1], Random(), minibatches, folder)
    return models


@pytest.mark.parametrize("name", choices("model"))
def test_recorded_gradients_are_the_gradients(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before they are compiled, to the bit: with fresh random numbers, batch norm's statistics, averages and projections."""
    monkeypatch.setattr(torch, "compile", lambda recorded, **_: recorded)
    told: list[str] = []
    eager, compiled = compiled_beside_eager(name, tmp_path, lambda model: setattr(model.turns, "tell", told.append))
    if name == "began":
        reason = "the critic's turn cannot be recorded: its loss leaves _real on the model"
        assert (told, compiled.turns.ran) == ([f"{reason}: turns run without compiled losses"], "eager")
    else:
        assert (told, compiled.turns.ran) == ([], "compiled")
    assert (compiled.steps, compiled.losses()) == (eager.steps, eager.losses())
    state = eager.state_dict()
    for key, value in compiled.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_scaled_losses_are_not_compiled() -> None:
    """GradScaler, under float16, divides gradients by the scale of their losses."""
    told: list[str] = []
    model = made("ae")
    model.turns = Turns("compiled", told.append)
    plugin = SimpleNamespace(scaler=object())
    model._trainer = SimpleNamespace(precision_plugin=plugin, optimizers=[], world_size=1)  # type: ignore[assignment]
    model.on_train_start()
    assert (told, model.turns.ran) == (
        ["the losses of float16 have a scale: turns run without compiled losses"],
        "eager",
    )


def test_several_processes_run_without_compiled_losses() -> None:
    """Lightning averages gradients in autograd's backward pass, which compiled gradients do without."""
    told: list[str] = []
    turns = Turns("compiled", told.append)
    turns.start(torch.device("cpu"), [], 2)
    assert (told, turns.ran) == (
        ["compiled losses need a single process: turns run without compiled losses"],
        "eager",
    )


@pytest.mark.parametrize("name", ["wgan_gp"])
def test_a_compiled_loss_is_the_loss(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the last stage of compilation, which takes minutes for all families. The penalty has a second derivative."""
    compile_, options = torch.compile, []

    def traced(loss: Any, **given: Any) -> Any:
        options.append(given)
        return compile_(loss, dynamic=False, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", traced)
    models = []
    for kind in ("eager", "compiled"):
        pl.seed_everything(7, verbose=False)
        models.append(made(name))
        models[-1].turns = Turns(kind)
        models[-1].configure_model()
        fit(models[-1], Random(), 6, tmp_path)
    eager, compiled = models
    assert options == [{"dynamic": False, "options": {"fallback_random": True}}] * 2
    assert compiled.turns.ran == "compiled"
    for player, value in eager.losses().items():
        assert compiled.losses()[player] == pytest.approx(value, rel=1e-4)
    for key, value in compiled.state_dict().items():
        torch.testing.assert_close(value, eager.state_dict()[key], rtol=1e-3, atol=1e-5)
