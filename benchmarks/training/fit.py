"""Fits a model: the trainer, its callbacks, resuming from a checkpoint, and what is set after training."""

import os
import shutil
import sys
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf

from benchmarks.errors import UserError, one_line, warn
from benchmarks.metrics.base import seeded
from benchmarks.records.checkpoints import checksum, previous_path
from benchmarks.records.paths import CURVE, checkpoint_path
from benchmarks.scoring.scorer import make_scorer
from benchmarks.training.callbacks import Curve, Phases, ProgressBar, Watch
from benchmarks.training.checkpoint import Checkpoint, resumable
from benchmarks.training.configure import RunConfig
from benchmarks.training.extension import extend
from benchmarks.training.interruption import Interruption
from benchmarks.training.record import reset_peak_memory
from benchmarks.training.task import Fitted, Training
from datamodules.base import DataModule
from models.contracts import Calibrates, FitsPrior
from models.game import GenerativeModel, Turns

# the compiler that torch.compile calls on a CPU; torch reads the variable once, when it is imported
CXX = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def fit(training: Training) -> Fitted:
    """Trains until the budget is spent, from the last undamaged checkpoint if there is one.

    Raises:
        UserError: for settings of the trainer that do not work, a damaged checkpoint, or a trainer that stops early.
        Diverged: for a loss or a weight that is no longer finite.
        Interrupted: for a signal that asks the process to end; a checkpoint is saved before.
    """
    config, model, data, clock = training.config, training.model, training.data, training.clock
    path = checkpoint_path(config.path)
    identity = (config.id, config.seed)
    checkpoint = Checkpoint(path, clock, config.checkpoint_seconds, identity, training.check_lock, lambda: data.info.id)
    interruption = Interruption(checkpoint.save, config.resume_command)
    callbacks = [
        clock,
        Phases(clock, config.budget),
        Watch(clock, config.budget),
        make_curve(training),
        checkpoint,
        interruption,
        ProgressBar(config.label, clock, config.budget),
    ]
    model.turns = make_turns(config)
    trainer = make_trainer(config, callbacks)
    data.plan(config.seed, config.budget.minibatches(model, data.batch_size, trainer.world_size))
    if not path.exists() and not previous_path(path).exists():
        extend(training, path)
    resume = resumable(path)
    reset_peak_memory(training.device)
    try:
        trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
    except Exception as error:
        interruption.deliver(error)
        raise
    interruption.deliver()
    check_spent(training)
    if settle(training, trainer.strategy.root_device):
        checkpoint.save(trainer)
    sha256 = last_checksum(checkpoint, resume) if trainer.is_global_zero else None
    return Fitted(trainer.is_global_zero, sha256, checkpoint.extended_from)


def last_checksum(checkpoint: Checkpoint, resumed: Path | None) -> str:
    """The checksum of the checkpoint of the end of training.

    Args:
        checkpoint: the callback that wrote it.
        resumed: the checkpoint that the training went on from: it is the last one of a run that was killed after it.
    """
    if checkpoint.sha256 is None and resumed is None:
        raise RuntimeError(f"{checkpoint.path} was not written at the end of training")
    return checkpoint.sha256 or checksum(cast(Path, resumed))


def check_spent(training: Training) -> None:
    """Raises UserError for a run whose budget is not spent."""
    if training.config.budget.fraction(training.model, training.clock.seconds) < 1:
        images = f"{training.model.images:,} images"
        raise UserError(f"the trainer stopped after {images}, before the budget was spent: remove the trainer's limits")


def settle(training: Training, device: torch.device) -> bool:
    """Sets what a model sets after training. Returns whether that is anything."""
    config, model, data = training.config, training.model, training.data
    if isinstance(model, Calibrates):
        pl.seed_everything(config.seed, verbose=False)
        model.to(device)
        model.calibrate(x.to(model.device) for x in data.batches("val", 256))
    if isinstance(model, FitsPrior):
        model.to(device)
        with model.scoring():
            _fit_prior(model, data, config.seed)
    return isinstance(model, Calibrates | FitsPrior)


def _fit_prior(model: GenerativeModel, data: DataModule, seed: int) -> None:
    """Fits the prior of a model that has one to fit, and leaves the random numbers of training alone."""
    if isinstance(model, FitsPrior):
        with seeded(seed, "fitted prior"):
            model.fit_prior(x.to(model.device) for x in data.batches("train", 256))


def make_curve(training: Training) -> Curve:
    """The validation curve of a run."""
    config, data = training.config, training.data
    scorer = make_scorer({**config.parts.curve, "encoder": "auto"}, config.feature_encoder, training.device)

    def score(model: GenerativeModel) -> dict[str, float | None]:
        _fit_prior(model, data, config.seed)  # a curve shows what the model would be if training ended here
        scores = scorer.score(model, data).scores
        return {f"val_{score.name}": score.value for score in scores if score.value is not None}

    path = config.path / CURVE
    return Curve(path, training.clock, config.budget, config.curve_points, score, training.log_row)


def make_turns(config: RunConfig) -> Turns:
    """How turns run under the trainer of a run.

    Raises:
        UserError: for another kind of loop, or losses to compile without a compiler.
    """
    try:
        turns = Turns(str(config.parts.trainer.get("loop", "eager")), warn)
    except ValueError as error:
        raise UserError(str(error)) from None
    if turns.is_compiled and config.device == "cpu" and shutil.which(CXX) is None:
        raise UserError(
            f"trainer.loop compiles losses with {CXX}, which is not installed: install it, name another C++ compiler in the "
            "environment variable CXX, or leave trainer.loop out"
        )
    return turns


def make_trainer(config: RunConfig, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Lightning's trainer of a run. It logs nothing and keeps no checkpoints: callbacks do.

    Raises:
        UserError: for settings that Lightning refuses.
    """
    settings = {k: v for k, v in config.parts.trainer.items() if k != "loop"} | {"accelerator": config.device}
    # Lightning leaves torch's setting alone without a word on it, also the setting of the run before in the same process
    settings.setdefault("deterministic", False)
    if settings["devices"] != 1:  # while one player plays, the other player's parameters are unused
        settings.setdefault("strategy", "ddp_find_unused_parameters_true")
    try:
        trainer: pl.Trainer = instantiate(
            OmegaConf.create(settings),
            logger=False,  # the tracker logs instead: an error in a logger must not end a run
            callbacks=callbacks,
            default_root_dir=str(config.path),
        )
    except Exception as error:
        if isinstance(error.__cause__, MisconfigurationException):
            raise UserError(f"trainer: {one_line(error)}") from error
        raise
    return trainer
