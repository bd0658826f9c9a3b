"""The training loops that studies of speed compare: each has the same model, data and minibatches, and they take turns."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.scoring.restore import load_data, load_model
from benchmarks.studies.pythae_loop import pythae_speed
from benchmarks.training.configure import RunConfig
from benchmarks.training.speed import WARM, Stopwatch, clock, now, round_of
from datamodules.base import DataModule
from models.game import GenerativeModel, Player
from models.recorded import Recorded
from models.turns import WARM_UPS, CudaRecorder, Turns, make_capturable

LIGHTNING, PYTHAE = "Lightning and a DataLoader", "pythae's trainer"
# minibatches before a measurement at the smallest size
TINY_WARM = 4

How = Literal["bare eager", "bare compiled", "bare captured", "bare bf16"]


def alternate(
    loops: Sequence[str], config: RunConfig, seconds: float, rounds: int
) -> tuple[Mapping[str, Sequence[float]], Mapping[str, str]]:
    """Images a second of each loop in each of some rounds, and the path that the loop took. Each round runs every loop once.

    Args:
        loops: kinds of `Turns` are genbench's loop; the kinds of `How` are loops without Lightning; `LIGHTNING`; `PYTHAE`.
        config: the model, the data and the device.
        seconds: of a measurement, after the warm-up.
        rounds: the number of measurements of each loop.
    """
    data = load_data(config.parts.datamodule)
    speeds: dict[str, list[float]] = {loop: [] for loop in loops}
    ran: dict[str, str] = {}
    for _ in range(rounds):
        for loop, values in speeds.items():
            speed, ran[loop] = measured(loop, config, data, seconds)
            values.append(speed)
    return speeds, ran


def ratios(speeds: Mapping[str, Sequence[float]], loop: str, other: str) -> list[float]:
    """How many times as fast one loop is as another within each round, from the lowest to the highest."""
    return sorted(a / b for a, b in zip(speeds[loop], speeds[other], strict=True))


def times(speeds: Mapping[str, Sequence[float]], loop: str, other: str) -> float:
    """How many times as fast one loop is as another: the median over rounds of the ratio within a round."""
    return statistics.median(ratios(speeds, loop, other))


def measured(loop: str, config: RunConfig, data: DataModule, seconds: float) -> tuple[float, str]:
    """Images a second of one loop, and the path that it took."""
    pl.seed_everything(0, verbose=False)
    model, device = load_model(config.parts.model), config.device
    warm = WARM[device] if seconds >= 0.2 else TINY_WARM
    if loop.startswith("bare"):
        play, cycle = bare(model, data, torch.device(device), cast(How, loop))
        for _ in range(0, warm, cycle // data.batch_size):
            play()
        return timed(play, cycle, seconds), "as named"
    if loop == PYTHAE:
        return pythae_speed(model, data, warm, seconds, clock), "as named"
    # a window of whole rounds has each player's turns in their proportion
    watch = Stopwatch(data.batch_size, warm, seconds, round_of(model.players()))
    trainer = silent_trainer(device, [watch])
    if loop == LIGHTNING:
        images = torch.from_numpy(data.splits["train"]).float() / 255
        workers: dict[str, Any] = {"num_workers": 4, "persistent_workers": True} if device == "cuda" else {}
        loader = DataLoader(
            TensorDataset(images), data.batch_size, shuffle=True, drop_last=True, pin_memory=device == "cuda", **workers
        )
        trainer.fit(Plain(model), loader)
        return watch.speed, "automatic" if len(model.players()) == 1 else "manual"
    model.turns = Turns(loop)
    data.plan(0, None)
    data.load_state_dict({"position": 0})
    trainer.fit(model, datamodule=data)
    return watch.speed, model.turns.ran


def silent_trainer(device: str, callbacks: list[pl.Callback], epochs: int = -1) -> pl.Trainer:
    """Lightning's trainer, which prints and writes nothing.

    Args:
        device: "cuda" or "cpu".
        callbacks: of the trainer.
        epochs: after which it stops; -1 for a callback that stops it.
    """
    return pl.Trainer(
        accelerator=device,
        devices=1,
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=callbacks,
    )


class Plain(pl.LightningModule):
    """The same losses as a user of Lightning writes them: one minibatch a step; automatic optimisation for one player."""

    def __init__(self, model: GenerativeModel) -> None:
        super().__init__()
        self.model = model
        self.automatic_optimization = len(model.players()) == 1

    def configure_optimizers(self) -> list[Optimizer]:
        return self.model.configure_optimizers()

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor | None:
        (x,) = batch
        players = self.model.players()
        if self.automatic_optimization:
            return players[0].loss(x)
        for player, optimizer in zip(players, cast(list[Any], self.optimizers()), strict=True):
            if (batch_idx + 1) % player.every == 0:
                self.toggle_optimizer(optimizer)
                optimizer.zero_grad()
                self.manual_backward(player.loss(x))
                optimizer.step()
                self.untoggle_optimizer(optimizer)
                if player.project is not None:
                    player.project()
        return None


def bare(model: GenerativeModel, data: DataModule, device: torch.device, how: How) -> tuple[Callable[[], None], int]:
    """A loop without Lightning on resident data: a function that plays one cycle of turns, and the images of a cycle.

    Each minibatch is gathered at random. Compiled: losses and gradients. Captured: one graph for the cycle, as long as no
    player's turn repeats otherwise. bf16: forward passes under autocast, as under `trainer.precision=bf16-mixed`.
    """
    model.to(device)
    players = list(model.players())
    if how == "bare bf16":
        players = [replace(player, loss=_autocast(player.loss)) for player in players]
    recorded = None
    if how == "bare compiled":
        recorded = [Recorded(model, place, Turns("compiled").compiled) for place in range(len(players))]
    optimizers = [player.optimizer(player.modules.parameters()) for player in players]
    for optimizer in optimizers:
        make_capturable(optimizer, how == "bare captured")
    images, rounds = torch.from_numpy(data.splits["train"]).to(device), max(player.every for player in players)
    play: Callable[[], None] = partial(_cycle, players, optimizers, images, data.batch_size, rounds, recorded)
    if how == "bare captured":
        recorder = CudaRecorder()
        for _ in range(WARM_UPS):
            recorder.warm_up(play)
        play = recorder.record(play)
    return play, rounds * data.batch_size


def _autocast(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def rounded(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return loss(x)

    return rounded


def timed(play: Callable[[], None], images: int, seconds: float) -> float:
    """Images a second of a function that plays some images."""
    start = now()
    for i in count(1):
        play()
        if clock() - start >= seconds:
            return i * images / (now() - start)
    raise AssertionError


def _cycle(
    players: Sequence[Player],
    optimizers: Sequence[Optimizer],
    images: Tensor,
    batch_size: int,
    rounds: int,
    recorded: Sequence[Recorded] | None,
) -> None:
    for i in range(1, rounds + 1):
        x = images[torch.randint(len(images), (batch_size,), device=images.device)].float() / 255
        for place, (player, optimizer) in enumerate(zip(players, optimizers, strict=True)):
            if i % player.every:
                continue
            if recorded is not None:
                recorded[place].play(x)
            else:
                _differentiate(player, players, optimizer, x)
            optimizer.step()
            if player.project is not None:
                player.project()


def _differentiate(player: Player, players: Sequence[Player], optimizer: Optimizer, x: Tensor) -> None:
    others = [w for p in players if p is not player for w in p.modules.parameters()]
    for weight in others:
        weight.requires_grad_(False)
    optimizer.zero_grad()
    player.loss(x).backward()
    for weight in others:
        weight.requires_grad_(True)
