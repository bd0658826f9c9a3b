"""Losses whose turns are not what a repeated turn would be: each is told, and the run goes on operation by operation."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.recordable import CannotRecord
from models.recorded import Recorded
from tests.models.test_compiled import compiled_beside_eager
from tests.models.test_turns import made


class Annealed:
    """A factor that falls with each call."""

    def __init__(self) -> None:
        self.calls = {"loss": 10**6}

    def __call__(self) -> float:
        self.calls["loss"] += 1
        return 1e6 / self.calls["loss"]


def _initialised(model: Any) -> Any:
    """The weights of the first minibatch, as in layers that begin with the statistics of the data."""
    if not hasattr(model, "is_initialised"):
        model.is_initialised = True
        with torch.no_grad():
            next(model.decoder.parameters()).add_(1)
    return 1


def _counted(model: Any) -> Any:
    model.running = model.running * 0.9
    return 1 + model.running


def _forgotten(model: Any) -> Any:
    """The second forward pass of a checkpoint has the mask of the first one."""
    return checkpoint(lambda w: nn.functional.dropout(w, 0.5).square().sum(), model.kept[0], use_reentrant=False)


def _noted_twice(model: Any) -> Any:
    for _ in range(2):
        model.note("kl", torch.ones(()))
    return 1


MORE = "its loss reads more than a minibatch, weights and random numbers"
OTHERS = "its gradients are others when they are recorded"

# factors of a loss, of the model and the minibatch, and why the loss is not recorded
FACTORS: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "count": (lambda m, x: 1 + m.images, "its loss reads images, which changes as the training goes on"),
    "every_16": (
        lambda m, x: 2 if m.minibatches % 16 == 0 else 1,
        "its loss reads minibatches, which changes as the training goes on",
    ),
    "trainer": (lambda m, x: 1 + m.global_step, "its loss reads trainer, which changes as the training goes on"),
    "own_mean": (
        lambda m, x: 1 + m.losses().get("x", 0),
        "its loss reads loss_counts, which changes as the training goes on",
    ),
    "inside": (lambda m, x: m.annealed(), "its loss leaves annealed on the model"),
    "buffer": (lambda m, x: _counted(m), "its loss leaves _buffers on the model"),
    "first": (lambda m, x: _initialised(m), "its loss leaves is_initialised on the model"),
    "coin": (lambda m, x: 2 if random.random() < 0.5 else 1, "its loss draws random numbers outside of torch"),
    "minibatch_outside": (lambda m, x: float(x.numpy().mean()), MORE),
    "weights_outside": (lambda m, x: float(m.kept[0].detach().numpy().std()), MORE),
    "weights_kept": (lambda m, x: 1 + m.kept[0].square().sum(), OTHERS),
    "checkpoint": (lambda m, x: _forgotten(m), OTHERS),
    "twice": (lambda m, x: _noted_twice(m), "its loss notes kl twice"),
}


@pytest.mark.parametrize("name", FACTORS)
def test_what_a_repeated_turn_would_not_do_is_not_recorded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the turns that follow are those of an eager run, to the bit."""
    monkeypatch.setattr(torch, "compile", lambda recorded, **_: recorded)
    told: list[str] = []
    factor, reason = FACTORS[name]

    def change(model: Any) -> None:
        loss = model.loss
        random.seed(3)
        model.annealed, model.kept = Annealed(), list(model.decoder.parameters())
        model.register_buffer("running", torch.ones(()))
        model.loss = lambda x: factor(model, x) * loss(x)
        model.turns.tell = told.append

    eager, compiled = compiled_beside_eager("ae", tmp_path, change, 3)
    assert told == [f"the autoencoder's turn cannot be recorded: {reason}: turns run without compiled losses"]
    assert compiled.turns.ran == "eager"
    if name != "inside":
        state = eager.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in compiled.state_dict().items())


def test_a_compiled_turn_with_other_random_numbers_is_not_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch 2.11 compiles some draws into another order."""

    def disordered(recorded: Any, **_: Any) -> Any:
        return lambda *given: (torch.rand(5), recorded(*given))[1]

    monkeypatch.setattr(torch, "compile", disordered)
    told: list[str] = []
    eager, compiled = compiled_beside_eager("vae", tmp_path, lambda m: setattr(m.turns, "tell", told.append), 3)
    assert len(told) == 1
    assert "compiled: turns run without compiled losses" in told[0]
    state = eager.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in compiled.state_dict().items())


@pytest.mark.parametrize("changed", ["shape", "mode", "frozen"])
def test_a_turn_is_not_repeated_where_it_would_be_another(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda recorded, **_: recorded)
    model: Any = made("ae")
    recorded, x = Recorded(model, 0, lambda made: made), torch.rand(4, 1, 2, 2)
    recorded.play(x)
    recorded.play(x)
    if changed == "mode":
        model.decoder.eval()
    elif changed == "frozen":
        next(model.decoder.parameters()).requires_grad_(False)
    with pytest.raises(CannotRecord, match="minibatches have another shape, or modules another mode"):
        recorded.play(x[:3] if changed == "shape" else x)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("project_critic", "the critic's turn cannot be recorded: its projection leaves factor on the model"),
        ("on_train_batch_end", "the model has its own on_train_batch_end, which may change its losses"),
    ],
)
def test_a_loss_that_changes_between_turns_is_not_recorded(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda recorded, **_: recorded)
    told: list[str] = []

    def shrink(model: Any, *_: Any) -> None:
        model.factor *= 0.5

    def change(model: Any) -> None:
        loss = model.critic_loss
        model.factor, model.turns.tell = 1.0, told.append
        model.critic_loss = lambda x: model.factor * loss(x)
        model.__class__ = type("Own", (type(model),), {name: shrink})

    eager, compiled = compiled_beside_eager("wgan", tmp_path, change, 5)
    assert told == [f"{reason}: turns run without compiled losses"]
    state = eager.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in compiled.state_dict().items())
