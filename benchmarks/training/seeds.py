"""Trains the seeds of one configuration together, before each is scored by its own job."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytorch_lightning as pl

from benchmarks.errors import is_users, one_line, warn
from benchmarks.records.locks import alone
from benchmarks.records.runs import has_ended, write_record
from benchmarks.scoring.restore import load_data, load_model, set_threads, use_float32
from benchmarks.signals import interruptible
from benchmarks.training.callbacks import Diverged
from benchmarks.training.clock import Clock
from benchmarks.training.configure import RunConfig
from benchmarks.training.loggers import Tracker
from benchmarks.training.record import describe_run
from benchmarks.training.run import begin, check_trainer, finish, silence_lightning
from benchmarks.training.task import Training
from benchmarks.training.together import Lane, OtherMoments, fit_together
from models.stack import CannotStack

# folders of the configurations whose seeds this process could not train together, and of those of which it said so
_refused: set[Path] = set()
_told: set[Path] = set()


def train_together(configs: Sequence[RunConfig]) -> None:
    """Trains those of some runs that have not ended, as one stack, and writes their records. Scores nothing.

    Runs that cannot be trained so are left, after a line that says why: each is then trained by its own job. This process does
    not try again.

    Args:
        configs: of one configuration, with different seeds.

    Raises:
        UserError, Interrupted: as `train_and_score`.
    """
    left = [config for config in configs if not has_ended(config.path)]
    folders = {_folder(config) for config in left}
    if len(left) < 2 or folders & _refused:
        return
    if len(folders) > 1:
        _tell("a setting follows the seed, so that each has another configuration")
        _refused.update(folders)
        return
    check_trainer(left[0])
    with interruptible(), ExitStack() as locks:
        silence_lightning()
        set_threads(left[0].threads)
        use_float32()
        lanes = _open(left, locks)
        if len(lanes) > 1:
            _train(lanes)


def _open(configs: Sequence[RunConfig], locks: ExitStack) -> list[Lane]:
    """The runs that have not ended, locked."""
    clock, lanes = Clock(), list[Lane]()
    # every process takes the locks in one order, so that none waits for a process that waits for it
    for config in sorted(configs, key=lambda config: config.seed):
        check_lock = locks.enter_context(alone(config.path))
        if has_ended(config.path):  # another process trained the run meanwhile
            continue
        pl.seed_everything(config.seed, verbose=False)
        model = load_model(config.parts.model)
        data = lanes[0].training.data.twin() if lanes else load_data(config.parts.datamodule)
        lanes.append(Lane(Training(config, model, data, clock=clock, check_lock=check_lock)))
    clock.runs = len(lanes)
    return lanes


def _train(lanes: Sequence[Lane]) -> None:
    for lane in lanes:
        begin(lane.training)
    try:
        fitted = fit_together(lanes, _write_diverged)
    except OtherMoments as error:  # the seeds that have no checkpoint yet may still be trained together
        if (folder := _folder(lanes[0].training.config)) not in _told:
            _tell(one_line(error))
            _told.add(folder)
        return
    except Exception as error:  # what is wrong with a run shows again where it is trained alone, and its record says so
        if isinstance(error, OSError) and is_users(error):  # of the disk; where there is space again, a stack goes on
            raise
        told = isinstance(error, CannotStack) or is_users(error)
        _tell(
            one_line(error) if told else f"their training together failed ({type(error).__name__}: {one_line(error)})"
        )
        _refused.add(_folder(lanes[0].training.config))
        return
    for lane, end in zip(lanes, fitted, strict=True):
        if end is not None:
            finish(lane.training, end)


def _write_diverged(lane: Lane, error: Diverged) -> None:
    config = lane.training.config
    warn(f"{config.label} diverged, the other seeds go on: {one_line(error)}")
    lane.training.check_lock()
    write_record(config.path, describe_run(lane.training, "diverged", one_line(error)))
    # the job of this seed will find nothing to do; that of a seed that finishes sends the curve itself
    with Tracker(config) as tracker:
        for row in lane.curve.rows:
            tracker.log(row)
        tracker.close(failed=True)


def _folder(config: RunConfig) -> Path:
    return config.path.parent.absolute()


def _tell(reason: str) -> None:
    warn(f"seeds are trained one after another: {reason}")
