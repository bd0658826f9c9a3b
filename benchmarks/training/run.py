"""Trains and scores one run, and writes its record, however the run ends."""

import json
import logging
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from benchmarks.errors import UserError, is_users, one_line
from benchmarks.records.checks import OTHER_DATA
from benchmarks.records.configurations import IMAGES
from benchmarks.records.files import remove_dead_leftovers, remove_leftovers, write_text
from benchmarks.records.locks import alone
from benchmarks.records.outcomes import Outcome
from benchmarks.records.paths import CONFIG, CURVE, PICTURES, RECORD, baselines_path, checkpoint_path
from benchmarks.records.runs import has_ended, read_curve, read_record, sha256_of, write_record
from benchmarks.scoring.restore import load_data, load_model, load_trained, set_threads, use_float32
from benchmarks.scoring.scorer import make_scorer, score_baselines, score_run
from benchmarks.signals import Interrupted, interruptible
from benchmarks.training.callbacks import Diverged
from benchmarks.training.configure import RunConfig
from benchmarks.training.fit import fit
from benchmarks.training.loggers import Tracker
from benchmarks.training.pictures import save_pictures
from benchmarks.training.record import describe_run
from benchmarks.training.speed import sampling_speed
from benchmarks.training.task import Fitted, Training


def train_and_score(config: RunConfig) -> Outcome:
    """Trains a run unless it is finished, and scores it unless it is scored.

    A run that was interrupted resumes from its last checkpoint. A run that fails or diverges is recorded as such.

    Raises:
        UserError, DataError, hydra's InstantiationException: for mistakes of the user, before any training.
        Interrupted: for a signal that asks the process to end.
    """
    with interruptible():  # workers of a launcher do not come through a program's entry point
        return _train_and_score(config)


def _train_and_score(config: RunConfig) -> Outcome:
    silence_lightning()
    set_threads(config.threads)
    use_float32()
    run = config.path
    device = torch.device(config.device)
    scorer = make_scorer(config.parts.protocol, config.feature_encoder, device)
    was_trained = has_ended(run)
    if was_trained:
        if (
            IMAGES in config.parts.datamodule
        ):  # known by their content alone; other data are pinned, or made by their settings
            _check_data(run, _data_id(json.dumps(dict(config.parts.datamodule), default=str)))
        if _diverged(run):
            reason = (read_record(run) or {}).get("error")
            return Outcome(run, "diverged", f"{run} had diverged before ({reason}): nothing to do", was_done=True)
        if scorer.is_done(run):
            return Outcome(run, "finished", f"{run} is already finished and scored: nothing to do", was_done=True)
    with Tracker(config) as tracker:
        if not was_trained:
            outcome = _train(config, tracker)
            if outcome is not None:
                tracker.close(failed=True)
                return outcome
        else:  # the run is only scored here, but its logger gets the curve too
            for row in read_curve(run):
                tracker.log(row)
        record = read_record(run) or {}
        images = record["spent"]["images"]
        tracker.log_pictures(step=images)
        data = load_data(config.parts.datamodule)
        _check_data(run, data.info.id)
        baselines = baselines_path(config.runs_dir, config.names.datamodule, data.info.id)
        remove_dead_leftovers(run, run / "scores", *baselines.glob("*/scores"))
        score_baselines(config.runs_dir, data, scorer)
        sheet = score_run(run, load_trained(run, config.parts.model, device, sha256_of(record)), data, scorer)
        tracker.log_scores(sheet, step=images)
    return Outcome(run, "finished", f"{run} is trained and scored")


@lru_cache(maxsize=8)  # a sweep that is done asks for each of its jobs
def _data_id(datamodule: str) -> str:
    """The id of the data of a `datamodule` group, as JSON."""
    return load_data(json.loads(datamodule)).info.id


def _check_data(run: Path, data_id: str) -> None:
    """Raises UserError for a run that was trained on other data."""
    recorded = (read_record(run) or {})["data"].get("id")
    if recorded not in (None, data_id):  # older records do not say
        raise UserError(f"{run} was trained on other data ({recorded}, not {data_id}); {OTHER_DATA}")


def silence_lightning() -> None:
    """Keeps Lightning's notices, and its advice on unknown loaders, out of genbench's output."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="lightning_fabric")
    # the first turns of a player run before its turn is captured
    warnings.filterwarnings("ignore", ".*capturable=True")
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*", category=FutureWarning)
    # torch's own use of it, when a first derivative is taken forwards
    warnings.filterwarnings("ignore", ".*torch.jit.script. is deprecated", category=FutureWarning)


def _train(config: RunConfig, tracker: Tracker) -> Outcome | None:
    """Trains a run and writes its record. Returns None if the run finished, otherwise its outcome."""
    check_trainer(config)
    run = config.path
    pl.seed_everything(config.seed, verbose=False)
    training = Training(config, load_model(config.parts.model), load_data(config.parts.datamodule), tracker.log)
    if not _writes(config):  # a further process of a distributed run
        return _train_alone(training)
    with alone(run, waits=config.has_one_process) as check_lock:
        if has_ended(run):  # another process trained the run meanwhile
            return Outcome(run, "diverged", f"{run} diverged in another process") if _diverged(run) else None
        return _train_alone(replace(training, check_lock=check_lock))


def _train_alone(training: Training) -> Outcome | None:
    config, run = training.config, training.config.path
    begin(training)
    try:
        fitted = fit(training)
        if not fitted.is_global_zero:  # the other processes of a distributed run are done
            raise SystemExit(0)
        finish(training, fitted)
    except Interrupted as interrupted:
        if not _writes(config):  # one line is enough
            raise SystemExit(interrupted.exit_status) from None
        raise
    except Diverged as error:
        _leave_to_first_process(config)
        training.check_lock()
        write_record(run, describe_run(training, "diverged", one_line(error)))
        return Outcome(run, "diverged", f"{run} diverged: {one_line(error)}")
    except Exception as error:
        if is_users(error):
            raise
        _leave_to_first_process(config)
        training.check_lock()
        write_record(run, describe_run(training, "failed", f"{type(error).__name__}: {one_line(error)}"))
        raise
    return None


def check_trainer(config: RunConfig) -> None:
    """Raises UserError for a setting of the trainer that would do nothing."""
    if config.parts.trainer.get("gradient_clip_val") is not None:
        raise UserError(
            "trainer.gradient_clip_val has no effect on players that step their own optimisers: leave it out"
        )


def begin(training: Training) -> None:
    """Writes the configuration of a run, into a folder without the leftovers of processes that died."""
    config, run = training.config, training.config.path
    if _writes(config):
        remove_leftovers(run, (RECORD, CONFIG, CURVE, *PICTURES.values()))
        remove_leftovers(checkpoint_path(run).parent, (checkpoint_path(run).name, "checksums.json"))
    write_text(run / CONFIG, OmegaConf.to_yaml(OmegaConf.create(dict(config.document))))


def finish(training: Training, fitted: Fitted) -> None:
    """Writes the pictures and the record of a run whose training has ended."""
    run = training.config.path
    training.model.to(training.device)
    training.check_lock()
    save_pictures(run, training.model, training.data)
    speed = sampling_speed(training.model)
    record = describe_run(training, "finished", None, {"sampling_images_per_second": speed})
    training.check_lock()
    record |= {"checkpoint": {"sha256": fitted.sha256}}
    write_record(run, record | ({"extended_from": fitted.extended_from} if fitted.extended_from else {}))


def _writes(config: RunConfig) -> bool:
    """Whether this process writes the files of the run: the only process of a run, whatever rank a launcher gave it, or the
    first of several."""
    return config.has_one_process or not getattr(rank_zero_only, "rank", 0)


def _leave_to_first_process(config: RunConfig) -> None:
    """Ends every process of a distributed run but the first, which writes the record."""
    if not _writes(config):
        raise SystemExit(1)


def _diverged(run: Path) -> bool:
    record = read_record(run)
    return record is not None and record["status"] == "diverged"
