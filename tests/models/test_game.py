"""The one training loop: turns, freezing, projection, counting, averaging, resuming, and two processes."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from benchmarks.training.budget import UNITS, Budget
from benchmarks.training.callbacks import Phases
from benchmarks.training.checkpoint import Checkpoint
from benchmarks.training.clock import Clock
from datamodules.base import DataModule
from models.game import GenerativeModel, Player
from models.priors import Normal
from models.wgan import WGAN
from tests.conftest import ROOT, SMALL, choices, composed_model
from tests.training.fakes import trainer_in


class Random(DataModule):
    """Grey noise of 2x2 pixels."""

    def __init__(self, **options: Any) -> None:
        super().__init__("random", (1, 2, 2), **{"batch_size": 4, "block_size": 3} | options)

    def load(self) -> Any:
        rng = np.random.default_rng(0)
        return {split: rng.integers(0, 256, (50, 1, 2, 2), np.uint8) for split in ("train", "val", "test")}


class Recorder(GenerativeModel):
    """Two players that write down what they see; each has one weight, and its loss pulls on both weights."""

    def __init__(self, every: int = 1, ema_decay: float | None = None, change: float | None = None) -> None:
        super().__init__(nn.Linear(1, 1), Normal(1), nn.Identity(), ema_decay)
        self.critic = nn.Linear(1, 1)
        self.every = every
        # the share of the budget at which the generator stops and the critic starts
        self.phases = ((0.0, 1.0), (0.0, 1.0)) if change is None else ((change, 1.0), (0.0, change))
        self.log_book: list[tuple[str, list[bool], Tensor]] = []

    def players(self) -> Sequence[Player]:
        def sgd(weights: Any) -> torch.optim.Optimizer:
            return torch.optim.SGD(weights, lr=0.1)

        def plays(name: str) -> Callable[[Tensor], Tensor]:
            return lambda x: self._write(name, x)

        late, early = self.phases
        return [
            Player("critic", self.critic, plays("critic"), sgd, phase=late),
            Player("generator", self.decoder, plays("generator"), sgd, self.every, samples=True, phase=early),
        ]

    def _write(self, name: str, x: Tensor) -> Tensor:
        free = [module.weight.requires_grad for module in (self.critic, self.decoder)]
        self.log_book.append((name, free, x.detach().clone()))
        return (self.critic(self.decoder(torch.ones(1, 1))) ** 2).sum() + 0 * x.sum()


def fit(model: GenerativeModel, data: DataModule, minibatches: int, folder: Path, **options: Any) -> None:
    data.plan(0, minibatches)
    trainer_in(folder, **options).fit(model, datamodule=data)


def test_each_player_plays_on_its_turn(tmp_path: Path) -> None:
    model = Recorder(every=3)
    fit(model, Random(), 10, tmp_path)
    assert [name for name, _, _ in model.log_book] == ["critic", "critic", "critic", "generator"] * 3 + ["critic"]
    assert dict(model.steps) == {"critic": 10, "generator": 3}
    assert (model.minibatches, model.images, model.updates) == (10, 40, 3)


@pytest.mark.parametrize("unit", UNITS)
def test_a_player_plays_in_its_phase_of_a_budget_of_any_unit(unit: Any, tmp_path: Path) -> None:
    """A budget of 10 minibatches in blocks of 3: the phase changes inside a block; in seconds, with the block that begins."""
    model, clock = Recorder(change=0.4), Clock()
    budget = Budget(unit, {"images": 40, "updates": 10, "seconds": 10.0}[unit])

    class Seconds(pl.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            clock._before, clock._since = float(model.minibatches), None

    assert budget.minibatches(model, 4, 1) == (None if unit == "seconds" else 10)
    fit(model, Random(), 10, tmp_path, callbacks=[Seconds(), Phases(clock, budget)])
    before = 6 if unit == "seconds" else 4
    assert [name for name, _, _ in model.log_book] == ["generator"] * before + ["critic"] * (10 - before)
    assert dict(model.steps) == {"generator": before, "critic": 10 - before}
    assert model.updates == 10
    assert budget.fraction(model, 10.0) == 1


def test_phases_meet_without_a_gap_and_outlast_the_budget() -> None:
    loss: Any = None
    for change in torch.rand(20).tolist():
        early, late = (Player("a", nn.Identity(), loss, loss, phase=p) for p in ((0.0, change), (change, 1.0)))
        for share in (0.0, change, float(torch.rand(())), 1.0, 1.5):
            assert early.plays(1, lambda s=share: s) != late.plays(1, lambda s=share: s)
            assert late.plays(1, lambda s=share: s) == (share >= change)
    for phase in ((0.5, 0.5), (0.7, 0.2), (-0.1, 1.0), (0.0, 1.1)):
        with pytest.raises(ValueError, match="the phase of critic is"):
            Player("critic", nn.Identity(), loss, loss, phase=phase)


def test_players_of_one_minibatch_see_the_same_examples_and_no_two_minibatches_do(tmp_path: Path) -> None:
    model = Recorder()
    fit(model, Random(), 7, tmp_path)
    seen = [x for _, _, x in model.log_book]
    assert all(torch.equal(a, b) for a, b in zip(seen[::2], seen[1::2], strict=True))
    assert not torch.equal(seen[0], seen[2])


def test_the_other_player_is_frozen_during_a_turn_and_free_again_after(tmp_path: Path) -> None:
    model = Recorder()
    fit(model, Random(), 4, tmp_path)
    assert all(free == ([True, False] if name == "critic" else [False, True]) for name, free, _ in model.log_book)
    assert all(weight.requires_grad for weight in model.parameters())


def test_a_turn_moves_its_players_weights_only(tmp_path: Path) -> None:
    model = Recorder(every=100)  # the generator's turn never comes
    before = model.decoder.weight.detach().clone()
    moved = model.critic.weight.detach().clone()
    fit(model, Random(), 5, tmp_path)
    assert torch.equal(model.decoder.weight, before)
    assert not torch.equal(model.critic.weight, moved)


def test_losses_are_means_since_they_were_last_forgotten(tmp_path: Path) -> None:
    model = Recorder()
    fit(model, Random(), 6, tmp_path)
    assert set(model.losses()) == {"critic", "generator"}
    model.forget_losses()
    assert model.losses() == {}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_mean_of_many_losses_is_theirs_under_every_precision(dtype: torch.dtype) -> None:
    model, losses = Recorder(), torch.rand(2000, dtype=dtype)
    for loss in losses:
        model.note("critic", loss)
    assert model.losses()["critic"] == pytest.approx(float(losses.double().mean()), rel=1e-5)


def test_wgan_clips_every_critic_parameter_and_nothing_else(tmp_path: Path) -> None:
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8))
    trunk.features = 8  # type: ignore[assignment]
    decoder = nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (1, 2, 2)))
    model = WGAN(
        clip=0.01,
        trunk=trunk,
        decoder=decoder,
        prior=Normal(2),
        squash=nn.Sigmoid(),
        optimizer=lambda weights: torch.optim.RMSprop(weights, lr=0.05),
        n_critic=2,
    )
    fit(model, Random(), 6, tmp_path)
    assert all(weight.abs().max() <= 0.01 for weight in model.critic.parameters())
    assert max(weight.abs().max() for weight in model.decoder.parameters()) > 0.01
    assert trunk[2].running_var.max() > 0.01  # running statistics are not weights


def test_the_average_follows_its_formula_and_is_what_is_scored(tmp_path: Path) -> None:
    model, decay = Recorder(ema_decay=0.9), 0.9
    weights: list[Tensor] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            weights.append(model.decoder.weight.detach().clone())

    fit(model, Random(block_size=1), 5, tmp_path, callbacks=[Watch()])
    average = weights[0]
    for weight in weights[1:]:
        average = decay * average + (1 - decay) * weight
    last = model.decoder.weight.detach().clone()
    with model.scoring():
        torch.testing.assert_close(model.decoder.weight, average)
    assert torch.equal(model.decoder.weight, last)
    assert model.weights_scored == "ema(0.9)"
    assert {"decoder.weight", "ema.module.weight"} <= set(model.state_dict())


def test_without_an_average_the_last_weights_are_scored() -> None:
    assert Recorder().weights_scored == "last"


# the noise of the data is drawn by the data module, the same for each family
CUT_OFF = [(model, "none") for model in choices("model")]
CUT_OFF += [(model, "dynamic") for model in ("ae", "vae", "gan", "wgan", "wgan_gp")]


@pytest.mark.parametrize(("model", "binarize"), CUT_OFF)
def test_a_run_that_was_cut_off_ends_as_if_it_never_was(model: str, binarize: str, tmp_path: Path) -> None:
    """Weights, running statistics, averages, counts and losses are equal to the bit."""
    from hydra.utils import instantiate

    widths = SMALL.get(model, ["model.trunk.widths=[16]", "model.decoder.widths=[16]"])
    words = (f"model={model}", "model.ema_decay=0.99", *widths)
    config = composed_model(*words)
    if "likelihood" in config.model and binarize == "dynamic":
        config = composed_model(*words, "model/likelihood=bernoulli")

    def run(folder: Path, stop_after: int | None, resume: bool) -> GenerativeModel:
        pl.seed_everything(3, verbose=False)
        made = instantiate(config.model, _convert_="all")
        made.configure_model()
        data = instantiate(config.datamodule, block_size=4, binarize=binarize, _convert_="all")
        data.plan(3, 22)
        clock = Clock()
        checkpoint = Checkpoint(folder / "last.ckpt", clock, every_seconds=1e9)

        class Stop(pl.Callback):
            def on_train_batch_end(
                self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
            ) -> None:
                torch.rand(1)  # a stranger's draw: resuming restores the state all the same
                if batch_idx + 1 == stop_after:
                    checkpoint.save(trainer)
                    raise RuntimeError("power cut")

        phases = Phases(clock, Budget("images", 22 * 64))
        trainer = trainer_in(folder, callbacks=[clock, phases, checkpoint, Stop()])
        path = folder / "last.ckpt" if resume else None
        if stop_after is None:
            trainer.fit(made, datamodule=data, ckpt_path=path, weights_only=True)
        else:
            with pytest.raises(RuntimeError, match="power cut"):
                trainer.fit(made, datamodule=data, ckpt_path=path, weights_only=True)
        return made

    whole = run(tmp_path / "whole", None, resume=False)
    run(tmp_path / "cut", 3, resume=False)
    resumed = run(tmp_path / "cut", None, resume=True)
    assert (resumed.minibatches, resumed.images, resumed.steps) == (22, 22 * 64, whole.steps)
    assert whole.minibatches == 22
    state = resumed.state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert resumed.losses() == whole.losses()


DDP = """
import json, sys
import torch
torch.set_num_threads(1)
from tests.models.test_game import Random
import pytorch_lightning as pl
from hydra.utils import instantiate
from tests.conftest import composed

model_name, devices, batch_size, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
precision = sys.argv[5]
config = composed(f"model={model_name}", "model.trunk.widths=[8]", "model.decoder.widths=[8]", "model.decoder.norm=none",
                  "shape=[1,2,2]", "latent_dim=3")
pl.seed_everything(0, verbose=False)
model = instantiate(config.model, _convert_="all")
data = Random(batch_size=batch_size, block_size=2)
data.plan(0, 6)
trainer = pl.Trainer(accelerator="cpu", devices=devices, max_epochs=1, logger=False, enable_progress_bar=False,
                     enable_model_summary=False, enable_checkpointing=False, precision=precision,
                     strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto")
trainer.fit(model, datamodule=data)
own = {name: value.tolist() for name, value in model.state_dict().items()}
grads = {name: value.grad.tolist() for name, value in model.named_parameters() if value.grad is not None}
with open(f"{out}.{trainer.global_rank}", "w") as f:
    json.dump({"state": own, "grads": grads, "images": model.images, "steps": dict(model.steps)}, f)
"""


def two_processes(
    model: str, devices: int, batch_size: int, out: Path, precision: str = "32-true"
) -> list[dict[str, Any]]:
    script = out.parent / "ddp.py"
    script.write_text(textwrap.dedent(DDP))
    words = [sys.executable, str(script), model, str(devices), str(batch_size), str(out), precision]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(words, env=environment, cwd=out.parent, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr[-2000:]
    return [json.loads(Path(f"{out}.{rank}").read_text()) for rank in range(devices)]


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    """An autoencoder draws no noise, so gradients and weights in float64 are equal but for the order of sums."""
    (one,) = two_processes("ae", 1, 8, tmp_path / "one", "64-true")
    first, second = two_processes("ae", 2, 4, tmp_path / "two", "64-true")
    assert first == second
    assert first["images"] == one["images"] == 48
    assert len(one["grads"]) > 4
    for part in ("grads", "state"):
        for name, value in one[part].items():
            expected = torch.tensor(value, dtype=torch.float64)
            ours = torch.tensor(first[part][name], dtype=torch.float64)
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_two_processes_play_a_two_player_game_together(tmp_path: Path) -> None:
    """With several critic steps and a penalty: no unused-parameter error, and both end with the same weights."""
    first, second = two_processes("wgan_gp", 2, 4, tmp_path / "two")
    assert first == second
    assert first["steps"] == {"critic": 6, "generator": 1}
