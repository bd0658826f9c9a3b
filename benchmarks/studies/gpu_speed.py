"""The steps that compare the speed of training loops: every loop has the same model, data and minibatches, in alternation."""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.scoring.restore import load_data, load_model
from benchmarks.studies.gpu_ledger import Step, Tables
from benchmarks.studies.gpu_place import FAMILIES, Place
from benchmarks.training.configure import RunConfig, configure_words
from datamodules.base import DataModule
from models.game import GenerativeModel, Player
from models.turns import Turns, make_capturable

# what every loop is compared with
BASE = "bare captured"
ROUNDS = 3
# minibatches before a measurement: warm-ups, captures, compilations
WARM = 60


def speed(place: Place) -> list[Step]:
    """Each family under each network and batch size; a compiled loop is a step of its own, because compiling takes long."""
    families, networks, sizes = (
        (FAMILIES, ("mlp", "dcgan"), (64, 128)) if not place.is_tiny else (("wgan_gp",), ("mlp",), (8,))
    )
    loops = (
        ("eager", "graphs", BASE, "bare eager", "Lightning and a DataLoader"),
        ("compiled", "compiled_graphs", BASE),
    )
    return [
        Step(
            f"speed-{network}-{b}-{f}{suffix}",
            f"speed{suffix}",
            seconds,
            partial(_compare, place, f, network, b, chosen),
        )
        for suffix, seconds, chosen in (("", 12.0, loops[0]), ("-compiled", 60.0, loops[1]))[
            : 1 if place.is_tiny else 2
        ]
        for b in sizes
        for network in networks
        for f in families
    ]


def _compare(place: Place, family: str, network: str, batch_size: int, loops: Sequence[str]) -> Tables:
    """Images a second of each loop: the median of rounds, each of which runs every loop once."""
    words = [*place.images(), f"model={family}", f"network={network}", place.trainer]
    config = configure_words([*place.words(*words), f"datamodule.batch_size={batch_size}"])
    data, seconds = load_data(config.parts.datamodule), 0.05 if place.is_tiny else 0.5
    speeds: dict[str, list[float]] = {loop: [] for loop in loops if loop != BASE or place.device == "cuda"}
    ran: dict[str, str] = {}
    for _ in range(1 if place.is_tiny else ROUNDS):
        for loop, values in speeds.items():
            speed, ran[loop] = _measured(loop, config, data, place.device, seconds)
            values.append(speed)
    medians = {loop: statistics.median(values) for loop, values in speeds.items()}
    base = medians.get(BASE) or medians.get("bare eager")
    labels = {"model": family, "network": network, "batch": batch_size, "data": data.name}
    rows = [
        {
            **labels,
            "loop": loop,
            "ran as": ran[loop],
            "images/s": value,
            f"times {BASE if BASE in medians else 'bare eager'}": value / base,
        }
        for loop, value in medians.items()
        if base
    ]
    return {"Speed of training": rows}


def _measured(loop: str, config: RunConfig, data: DataModule, device: str, seconds: float) -> tuple[float, str]:
    """Images a second of one loop, and the path that it took."""
    pl.seed_everything(0, verbose=False)
    model = load_model(config.parts.model)
    if loop in ("bare eager", BASE):
        return _bare(model, data, torch.device(device), seconds, loop == BASE), "as named"
    watch = Stopwatch(data.batch_size, seconds)
    trainer = pl.Trainer(
        accelerator=device, devices=1, max_epochs=-1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=[watch],
    )  # fmt: skip
    if loop.startswith("Lightning"):
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


class Stopwatch(pl.Callback):
    """Stops training after some seconds, and measures them from the warm-up on."""

    def __init__(self, batch_size: int, seconds: float) -> None:
        self.batch_size, self.seconds = batch_size, seconds
        self.warm = WARM if seconds >= 0.5 else 4
        self.minibatches, self.speed = 0, 0.0
        self._start: tuple[float, int] | None = None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.minibatches += len(batch) if isinstance(batch, Tensor) else 1
        if self._start is None:
            if self.minibatches >= self.warm:
                self._start = now(), self.minibatches
        elif time.perf_counter() - self._start[0] >= self.seconds:
            self.speed = (self.minibatches - self._start[1]) * self.batch_size / (now() - self._start[0])
            trainer.should_stop = True


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


def _bare(model: GenerativeModel, data: DataModule, device: torch.device, seconds: float, is_captured: bool) -> float:
    """A loop without Lightning on resident data: each round gathers a random minibatch. Captured: one graph for each cycle of
    turns, as long as no player's turn repeats otherwise."""
    model.to(device)
    players = model.players()
    optimizers = [player.optimizer(player.modules.parameters()) for player in players]
    for optimizer in optimizers:
        make_capturable(optimizer, is_captured)
    images, cycle = torch.from_numpy(data.splits["train"]).to(device), max(player.every for player in players)
    play: Callable[[], None] = partial(_cycle, players, optimizers, images, data.batch_size, cycle)
    if is_captured:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                play()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            play()
        play = graph.replay
    for _ in range(max(1, (WARM if seconds >= 0.5 else 4) // cycle)):
        play()
    start = now()
    for i in count(1):
        play()
        if i % 8 == 0 and time.perf_counter() - start >= seconds:
            return i * cycle * data.batch_size / (now() - start)
    raise AssertionError


def _cycle(
    players: Sequence[Player], optimizers: Sequence[Optimizer], images: Tensor, batch_size: int, rounds: int
) -> None:
    for i in range(1, rounds + 1):
        x = images[torch.randint(len(images), (batch_size,), device=images.device)].float() / 255
        for player, optimizer in zip(players, optimizers, strict=True):
            if i % player.every:
                continue
            others = [w for p in players if p is not player for w in p.modules.parameters()]
            for weight in others:
                weight.requires_grad_(False)
            optimizer.zero_grad()
            player.loss(x).backward()
            optimizer.step()
            for weight in others:
                weight.requires_grad_(True)
            if player.project is not None:
                player.project()


def now() -> float:
    """Seconds, once the device has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
