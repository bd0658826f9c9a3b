"""Trains one run and leaves its record, whatever becomes of it."""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from benchmarks.budget import Budget
from benchmarks.callbacks import Checkpoint, Clock, Curve, Diverged, ProgressBar, Watch
from benchmarks.errors import UserError, fail, is_users, one_line
from benchmarks.pictures import save_pictures
from benchmarks.provenance import describe_run, reset_peak_memory
from benchmarks.runs import Status, config_id, is_finished, read_curve, read_record, run_path, write_record, write_text
from benchmarks.scoring import (
    choose_device,
    load_data,
    load_model,
    load_trained,
    make_scorer,
    sampling_speed,
    score_calibration,
    score_run,
    set_threads,
)
from benchmarks.tracking import Tracker
from datamodules.base import DataModule
from models.contracts import Calibrates
from models.game import GenerativeModel


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its run, and a line on it."""

    path: Path
    status: Status
    message: str


def train_and_score(config: Mapping[str, Any], label: str) -> Outcome:
    """Trains the run that a resolved configuration describes, unless it is finished, and scores it, unless it is scored.

    A run that was cut off goes on from its last checkpoint. One that fails or diverges is recorded as such.

    Args:
        config: resolved, with `names` (of model, network and datamodule) in it.
        label: for the progress bar.

    Raises:
        UserError, DataError, hydra's InstantiationException: for what the user can put right, before any training.
    """
    quiet()
    set_threads(config)
    run = path_of(config)
    device = torch.device(choose_device(config["trainer"]["accelerator"]))
    scorer = make_scorer(config["protocol"], config, device)
    if is_finished(run):
        if _diverged(run):
            return Outcome(run, "diverged", f"{run} had diverged before: nothing to do")
        if scorer.is_done(run):
            return Outcome(run, "finished", f"{run} is already finished and scored: nothing to do")
    with Tracker(config, run) as tracker:
        if not is_finished(run):
            outcome = _train(run, config, label, device, tracker)
            if outcome is not None:
                tracker.close(failed=True)
                return outcome
        else:  # only to be scored: its logger's run is to have what it has
            for row in read_curve(run):
                tracker.log(row)
        images = (read_record(run) or {})["spent"]["images"]
        tracker.log_pictures(step=images)
        data = load_data(config)
        score_calibration(Path(config["runs_dir"]), data, scorer)
        sheet = score_run(run, load_trained(run, device), data, scorer)
        tracker.log_scores(sheet, step=images)
    return Outcome(run, "finished", f"{run} is trained and scored")


def path_of(config: Mapping[str, Any]) -> Path:
    names = config["names"]
    return run_path(
        Path(config["runs_dir"]), names["datamodule"], names["model"], config_id(config), int(config["seed"])
    )


def quiet() -> None:
    """Leaves standard output to genbench: Lightning's notices and its advice on loaders it does not know are not ours."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="lightning_fabric")
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*", category=FutureWarning)


def _train(run: Path, config: Mapping[str, Any], label: str, device: torch.device, tracker: Tracker) -> Outcome | None:
    """None where the run finished; otherwise what became of it."""
    clock = Clock()
    budget = Budget(**config["budget"])
    if config["trainer"].get("gradient_clip_val") is not None:
        raise UserError(
            "trainer.gradient_clip_val has no effect on players that step their own optimisers: leave it out"
        )
    pl.seed_everything(int(config["seed"]), verbose=False)
    model, data = load_model(config), load_data(config)
    write_text(run / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(dict(config))))
    describe = partial(describe_run, config=config, budget=budget, clock=clock, data=data, model=model, device=device)
    try:
        trainer = _fit(run, config, label, clock, budget, data, model, device, tracker)
        if not trainer.is_global_zero:  # the other processes of a distributed run have nothing left to do
            raise SystemExit(0)
        model.to(device)
        save_pictures(run, model, data)
        speed = sampling_speed(model)
        write_record(run, describe("finished", None, more_cost={"sampling_images_per_second": speed}))
    except Diverged as error:
        _leave_to_rank_zero()
        write_record(run, describe("diverged", one_line(error)))
        return Outcome(run, "diverged", f"{run} diverged: {one_line(error)}")
    except Exception as error:
        if is_users(error):
            raise
        _leave_to_rank_zero()
        write_record(run, describe("failed", f"{type(error).__name__}: {one_line(error)}"))
        raise
    return None


def _leave_to_rank_zero() -> None:
    """Ends the other processes of a distributed run: one of them writes the record."""
    if getattr(rank_zero_only, "rank", 0):
        raise SystemExit(1)


def _fit(
    run: Path,
    config: Mapping[str, Any],
    label: str,
    clock: Clock,
    budget: Budget,
    data: DataModule,
    model: GenerativeModel,
    device: torch.device,
    tracker: Tracker,
) -> pl.Trainer:
    checkpoint_path = run / "checkpoints" / "last.ckpt"
    curve_scorer = make_scorer(config["curve"] | {"encoder": "auto"}, config, device)

    def score(model: GenerativeModel) -> dict[str, float | None]:
        return {
            f"val_{score.name}": score.value
            for score in curve_scorer.score(model, data).scores
            if score.value is not None
        }

    checkpoint = Checkpoint(checkpoint_path, clock, config["checkpoint_seconds"])
    callbacks = [
        clock,
        Watch(clock, budget),
        Curve(run / "curve.csv", clock, budget, config["curve_points"], score, tracker.log),
        checkpoint,
        ProgressBar(label, clock, budget),
    ]
    settings = config["trainer"] | {"accelerator": device.type}
    if settings["devices"] != 1:  # the player whose turn it is not leaves its parameters unused
        settings.setdefault("strategy", "ddp_find_unused_parameters_true")
    try:
        trainer: pl.Trainer = instantiate(
            OmegaConf.create(settings),
            logger=False,  # the tracker's: what goes wrong in one must not end a run
            callbacks=callbacks,
            default_root_dir=str(run),
        )
    except Exception as error:
        if isinstance(error.__cause__, MisconfigurationException):
            raise UserError(f"trainer: {one_line(error)}") from error
        raise
    data.plan(int(config["seed"]), budget.minibatches(model, data.batch_size, trainer.world_size))
    resume = checkpoint_path if checkpoint_path.is_file() else None
    if resume is not None:
        _check_checkpoint(resume)
    reset_peak_memory()
    try:
        trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
    except SystemExit:  # Lightning's word for Ctrl-C
        fail("interrupted; the same command goes on from the last checkpoint")
        raise
    if budget.fraction(model, clock.seconds) < 1:
        raise UserError(
            f"the trainer stopped after {model.images:,} images, before the budget was spent: leave its limits out"
        )
    if isinstance(model, Calibrates):
        pl.seed_everything(int(config["seed"]), verbose=False)
        model.to(trainer.strategy.root_device)
        model.calibrate(x.to(model.device) for x in data.batches("val", 256))
        checkpoint.save(trainer)
    return trainer


def _check_checkpoint(path: Path) -> None:
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises several kinds for a damaged file
        raise UserError(
            f"{path} cannot be loaded ({one_line(error)[:160]}); move it away to train the run from its start"
        ) from error


def _diverged(run: Path) -> bool:
    record = read_record(run)
    return record is not None and record["status"] == "diverged"
