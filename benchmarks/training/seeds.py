"""Trains the seeds of one configuration together, before each is scored by its own job."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import pytorch_lightning as pl

from benchmarks.errors import is_users, one_line, warn
from benchmarks.records.locks import alone
from benchmarks.records.runs import has_ended, write_record
from benchmarks.scoring.restore import load_data, load_model, set_threads, use_float32
from benchmarks.signals import interruptible
from benchmarks.training.callbacks import Diverged
from benchmarks.training.clock import Clock
from benchmarks.training.configure import RunConfig
from benchmarks.training.record import describe_run
from benchmarks.training.run import begin, finish, silence_lightning
from benchmarks.training.task import Training
from benchmarks.training.together import Lane, fit_together
from models.stack import CannotStack


def train_together(configs: Sequence[RunConfig]) -> None:
    """Trains those of some runs that have not ended, as one stack, and writes their records. Scores nothing.

    Runs that cannot be trained so are left, after a line that says why: each is then trained by its own job.

    Args:
        configs: of one configuration, with different seeds.

    Raises:
        UserError, Interrupted: as `train_and_score`.
    """
    if all(has_ended(config.path) for config in configs):
        return
    with interruptible(), ExitStack() as locks:
        silence_lightning()
        set_threads(configs[0].threads)
        use_float32()
        lanes = _open(configs, locks)
        for lane in lanes:
            lane.training = replace(lane.training, seeds_together=len(lanes))
        if len(lanes) > 1:
            _train(lanes)


def _open(configs: Sequence[RunConfig], locks: ExitStack) -> list[Lane]:
    """The runs that have not ended, locked."""
    clock, lanes = Clock(), list[Lane]()
    # every process takes the locks in one order, so that none waits for a process that waits for it
    for config in sorted(configs, key=lambda config: config.seed):
        if has_ended(config.path):
            continue
        check_lock = locks.enter_context(alone(config.path))
        if has_ended(config.path):  # another process trained the run meanwhile
            continue
        pl.seed_everything(config.seed, verbose=False)
        model = load_model(config.parts.model)
        data = lanes[0].training.data.twin() if lanes else load_data(config.parts.datamodule)
        lanes.append(Lane(Training(config, model, data, clock=clock, check_lock=check_lock)))
    return lanes


def _train(lanes: Sequence[Lane]) -> None:
    for lane in lanes:
        begin(lane.training)
    try:
        fitted = fit_together(lanes, _write_diverged)
    except CannotStack as error:
        warn(f"seeds are trained one after another: {one_line(error)}")
        return
    except Exception as error:  # what is wrong with a run shows again where it is trained alone, and its record says so
        if is_users(error):
            raise
        reason = f"{type(error).__name__}: {one_line(error)}"
        warn(f"seeds are trained one after another, because their training together failed: {reason}")
        return
    for lane, end in zip(lanes, fitted, strict=True):
        if end is not None:
            finish(lane.training, end)


def _write_diverged(lane: Lane, error: Diverged) -> None:
    lane.training.check_lock()
    write_record(lane.training.config.path, describe_run(lane.training, "diverged", one_line(error)))
