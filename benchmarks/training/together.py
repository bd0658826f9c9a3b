"""Trains several seeds of one configuration as one stack of models. Each seed has the files of a run that was trained alone."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import Callback, LightningModule, Trainer

from benchmarks.records.checkpoints import previous_path, why_damaged
from benchmarks.records.paths import checkpoint_path
from benchmarks.training.callbacks import Curve, Diverged, Phases, ProgressBar, Watch
from benchmarks.training.checkpoint import Checkpoint
from benchmarks.training.extension import extend
from benchmarks.training.fit import check_spent, last_checksum, make_curve, make_trainer, make_turns, settle
from benchmarks.training.interruption import Interruption
from benchmarks.training.random_states import RandomState, generators, random_state
from benchmarks.training.record import reset_peak_memory
from benchmarks.training.task import Fitted, Training
from datamodules.stacked import StackedData
from models.optimizer_states import stacked
from models.stack import CannotStack, Stack


class OtherMoments(CannotStack):
    """The checkpoints of runs are not of one moment."""


# what a checkpoint of the stack keeps of the checkpoint of each seed, besides weights, optimisers and Lightning's counts
OF_THE_STACK = {"state_dict", "optimizer_states", "lr_schedulers", "loops"}


@dataclass(eq=False)
class Lane:
    """A seed of a stack. It is made where a run alone would be fitted: with the random state of the process as it is then.

    Args:
        training: the run.
    """

    training: Training
    error: Diverged | None = None
    random_state: RandomState = field(init=False)
    watch: Watch = field(init=False)
    curve: Curve = field(init=False)
    checkpoint: Checkpoint = field(init=False)
    # the checkpoint that the training goes on from
    resumed: Path | None = None
    generators: dict[str, torch.Generator] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        training = self.training
        config, clock, data = training.config, training.clock, training.data
        self.watch = Watch(clock, config.budget)
        self.curve = make_curve(training)
        self.checkpoint = Checkpoint(
            checkpoint_path(config.path),
            clock,
            config.checkpoint_seconds,
            (config.id, config.seed),
            training.check_lock,
            lambda: data.info.id,
            self.present_random_state,
        )
        # the last thing: an encoder of the curve draws weights before it loads its own
        self.random_state = random_state()

    def present_random_state(self) -> RandomState:
        """The random state that the process would have if it trained this seed alone."""
        if not self.generators:  # the training had ended before this process began
            return self.random_state
        states = {kind: generator.get_state() for kind, generator in self.generators.items()}
        return {**self.random_state, "torch": states["cpu"], "cuda": states.get("cuda")}


def fit_together(lanes: Sequence[Lane], tell_diverged: Callable[[Lane, Diverged], None]) -> list[Fitted | None]:
    """Trains runs until their budget is spent, from their last checkpoints if all have one. As `fit`, for a stack.

    Args:
        lanes: of one configuration and one clock.
        tell_diverged: called with a run whose training diverged, at once; the others go on.

    Returns:
        How each training ended; None for a run that diverged.

    Raises:
        CannotStack: if the models cannot be trained as a stack. The runs can be trained alone, from their checkpoints.
        UserError, Interrupted: as `fit`.
    """
    first = lanes[0].training
    config, clock = first.config, first.clock
    if config.budget.unit == "seconds":
        raise CannotStack("a budget of seconds is shared by the seeds of a stack")
    stack = Stack([lane.training.model for lane in lanes])
    turns = make_turns(config)
    for model in stack.lanes:
        model.turns = turns
    callbacks = _Callbacks(lanes, stack, tell_diverged)
    trainer = make_trainer(config, [clock, callbacks])
    minibatches = config.budget.minibatches(first.model, first.data.batch_size, 1)
    for lane in lanes:
        data, path = lane.training.data, lane.checkpoint.path
        data.plan(lane.training.config.seed, minibatches)
        if not path.exists() and not previous_path(path).exists():
            extend(lane.training, path)
    reset_peak_memory(first.device)
    _resume(lanes)
    each = StackedData([lane.training.data for lane in lanes])
    try:
        trainer.strategy.checkpoint_io = _Combined([lane.resumed for lane in lanes if lane.resumed])
        trainer.fit(stack, datamodule=each, ckpt_path=lanes[0].resumed, weights_only=True)
    except Exception as error:
        callbacks.interruption.deliver(error)
        raise
    callbacks.interruption.deliver()
    return [None if lane.error else _end(lane, callbacks, trainer) for lane in lanes]


def _end(lane: Lane, callbacks: "_Callbacks", trainer: Trainer) -> Fitted:
    training = lane.training
    check_spent(training)
    if settle(training, trainer.strategy.root_device):
        callbacks.save(trainer, lane)
    return Fitted(True, last_checksum(lane.checkpoint, lane.resumed), lane.checkpoint.extended_from)


class _Callbacks(Callback):
    """Calls the callbacks of each run with the run's model, and those of the process with the first model."""

    def __init__(self, lanes: Sequence[Lane], stack: Stack, tell_diverged: Callable[[Lane, Diverged], None]) -> None:
        self.lanes, self.stack, self.tell_diverged = lanes, stack, tell_diverged
        config, clock = lanes[0].training.config, lanes[0].training.clock
        seeds = ", ".join(str(lane.training.config.seed) for lane in lanes)
        label = f"{' · '.join(config.names)} · seeds {seeds}"
        self.interruption = Interruption(self.save_all, config.resume_command)
        self.of_all = [self.interruption, ProgressBar(label, clock, config.budget)]
        self.phases = Phases(clock, config.budget)

    @property
    def alive(self) -> Iterator[tuple[Lane, LightningModule]]:
        """The runs that have not diverged, with their models."""
        pairs = zip(self.lanes, self.stack.lanes, strict=True)
        return ((lane, model) for lane, model in pairs if lane.error is None)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        device = trainer.strategy.root_device
        for lane in self.lanes:
            lane.generators = generators(lane.random_state, device, lane.training.config.seed)
        self.stack.generators = [lane.generators for lane in self.lanes]
        for callback in self.of_all:
            callback.on_train_start(trainer, self.stack.lanes[0])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.phases.on_train_batch_start(trainer, self.stack.lanes[0], batch, batch_idx)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for lane, model in self.alive:
            with self._noting(lane, trainer):
                lane.watch.on_train_batch_end(trainer, model, outputs, batch, batch_idx)
                lane.curve.on_train_batch_end(trainer, model, outputs, batch, batch_idx)
        # all of them at once: a stack is resumed from one position
        if any(lane.checkpoint.is_due for lane, _ in self.alive):
            self.save_all(trainer)
        for callback in self.of_all:
            callback.on_train_batch_end(trainer, self.stack.lanes[0], outputs, batch, batch_idx)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for lane, model in self.alive:
            with self._noting(lane, trainer):
                lane.watch.on_train_end(trainer, model)
        self.save_all(trainer)
        for callback in self.of_all:
            callback.on_train_end(trainer, self.stack.lanes[0])

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        for callback in self.of_all:
            callback.on_exception(trainer, self.stack.lanes[0], exception)

    def save_all(self, trainer: Trainer) -> None:
        for lane, _ in self.alive:
            self.save(trainer, lane)

    def save(self, trainer: Trainer, lane: Lane) -> None:
        self.stack.lane_saved = self.lanes.index(lane)
        lane.checkpoint.save(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Writes the parts of a run's checkpoint that the stack does not write."""
        lane = self.lanes[self.stack.lane_saved]
        clock, data = lane.training.clock, lane.training.data
        checkpoint["callbacks"] = {part.state_key: part.state_dict() for part in (clock, lane.curve)}
        checkpoint[type(data).__qualname__] = data.state_dict()
        lane.checkpoint.on_save_checkpoint(trainer, self.stack.lanes[self.stack.lane_saved], checkpoint)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for lane, own in zip(self.lanes, checkpoint["lanes"], strict=True):
            clock, data = lane.training.clock, lane.training.data
            lane.checkpoint.on_load_checkpoint(trainer, lane.training.model, own)
            lane.random_state = own["random_states"][0]
            for part in (clock, lane.curve):
                part.load_state_dict(own["callbacks"][part.state_key])
            data.load_state_dict(own[type(data).__qualname__])

    @contextmanager
    def _noting(self, lane: Lane, trainer: Trainer) -> Iterator[None]:
        try:
            yield
        except Diverged as error:
            lane.error = error
            self.tell_diverged(lane, error)
            trainer.should_stop = all(lane.error is not None for lane in self.lanes)


def _resume(lanes: Sequence[Lane]) -> None:
    """Finds the checkpoints of the last moment of which every run has one; none if no run has a checkpoint.

    Raises:
        OtherMoments: if there is no such moment.
    """
    paths = [lane.checkpoint.path for lane in lanes]
    if not any(path.exists() or previous_path(path).exists() for path in paths):
        return
    positions = [_positions(path) for path in paths]
    common = set(positions[0]).intersection(*positions)
    if not common:
        raise OtherMoments(f"their checkpoints are of different moments ({_moments(lanes, positions)})")
    for lane, path, of_lane in zip(lanes, paths, positions, strict=True):
        lane.resumed = of_lane[max(common)]
        if lane.resumed != path and path in of_lane.values():
            # other seeds have no such moment, and as the previous checkpoint it would take the place of the common one
            os.replace(lane.resumed, path)
            lane.resumed = path


def _moments(lanes: Sequence[Lane], positions: Sequence[Mapping[int, Path]]) -> str:
    seeds: dict[str, list[int]] = {}
    for lane, of_lane in zip(lanes, positions, strict=True):
        moment = f"at minibatch {max(of_lane):,}" if of_lane else "with none that can be read"
        seeds.setdefault(moment, []).append(lane.training.config.seed)
    return "; ".join(f"seed{'s' * (len(own) > 1)} {', '.join(map(str, own))} {moment}" for moment, own in seeds.items())


def _positions(path: Path) -> dict[int, Path]:
    """The undamaged checkpoints of a run by the number of minibatches at which they were written."""
    positions: dict[int, Path] = {}
    for candidate in (previous_path(path), path):
        with suppress(Exception):  # torch raises several kinds of errors for a damaged file
            if candidate.is_file() and why_damaged(candidate) is None:
                content: Any = torch.load(candidate, map_location="cpu", weights_only=True, mmap=True)
                positions[int(content["game"]["minibatches"])] = candidate
    return positions


class _Combined(TorchCheckpointIO):
    """Reads the checkpoints of runs, which are of one moment, as the checkpoint of their stack."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        own: list[Any] = [torch.load(path, map_location="cpu", weights_only=True) for path in self.paths]
        weights = {f"models.{i}.{key}": v for i, part in enumerate(own) for key, v in part["state_dict"].items()}
        states = zip(*(part["optimizer_states"] for part in own), strict=True)
        return {
            **own[0],
            "state_dict": weights,
            "optimizer_states": [stacked(of_player) for of_player in states],
            "callbacks": {},
            "lanes": [{key: value for key, value in part.items() if key not in OF_THE_STACK} for part in own],
        }
