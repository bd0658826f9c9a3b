"""A run with a larger budget goes on from the end of a shorter run, as if the shorter run had not ended there.

The result is equal to the bit to that of a run from the start. Where it would not be, the run starts from the start: after a
budget of seconds, on several devices, on another machine, with other packages or another commit of genbench, beside another
number of seeds (`seeds_per_job`), for players with a phase of the budget, on other images, and for data with noise if the
shorter run ended inside a block of minibatches.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.errors import printable
from benchmarks.records.checkpoints import find_checkpoint, previous_path, rotate, why_damaged
from benchmarks.records.checks import check_place
from benchmarks.records.configurations import config_id, read_config
from benchmarks.records.files import RecordError
from benchmarks.records.paths import RECORD, SEED, checkpoint_path
from benchmarks.records.runs import Run, read_run, sha256_of
from benchmarks.training.configure import RunConfig
from benchmarks.training.record import commit, environment, packages
from benchmarks.training.task import Training
from datamodules.base import DataModule
from models.contracts import Calibrates, FitsPrior
from models.game import GenerativeModel

# what a run goes on from, in a checkpoint
PARTS = {"state_dict", "optimizer_states", "loops", "callbacks", "game", "random_states"}


def extend(training: Training, path: Path) -> None:
    """Writes the first checkpoint of a run from the last one of a shorter run, if there is one that the run can go on from.

    Args:
        training: the run, whose folder has no checkpoint.
        path: of its checkpoint.
    """
    config, model, data = training.config, training.model, training.data
    if not config.document.get("extend", True) or not _can_be_extended(model, config):
        return
    run = _shorter_run(config, environment(training.device, training.clock.runs))
    if run is None or run.record["data"].get("id") != data.info.id:
        return
    state = _end_of_training(run, isinstance(model, Calibrates | FitsPrior))
    if state is None or state["game"]["images"] != (run.record.get("spent") or {}).get("images"):
        return
    minibatches = int(state["game"]["minibatches"])
    if minibatches % data.block_size and _has_noise(data):
        return
    _reopen(state, minibatches // data.block_size)
    spent = run.record["budget"]["amount"] / config.budget.amount
    state["callbacks"]["Curve"]["next"] = sum(2.0**-i <= spent for i in range(config.curve_points))
    state["run"] = [config.id, config.seed]
    state["extended_from"] = {
        "config_id": run.record["config_id"],
        "amount": run.record["budget"]["amount"],
        "sha256": sha256_of(run.record),
    }
    rotate(path, lambda temporary: torch.save(state, temporary))
    done = f"{run.record['budget']['amount']:,} of {config.budget.amount:,} {config.budget.unit}"
    print(printable(f"      goes on from {run.path}: {done}"), flush=True)


def _can_be_extended(model: GenerativeModel, config: RunConfig) -> bool:
    has_no_phase = all(player.phase == (0, 1) for player in model.players())
    return config.budget.unit != "seconds" and config.has_one_process and has_no_phase


def _has_noise(data: DataModule) -> bool:
    """Whether training examples have noise, which is drawn by blocks of minibatches."""
    return data.dequantize or data.binarize == "dynamic"


def _shorter_run(config: RunConfig, here: Mapping[str, Any]) -> Run | None:
    """The longest finished run that differs in nothing but a smaller budget, made here; None if there is none."""
    found: list[Run] = []
    for record in sorted(config.path.parents[1].glob(f"*/{SEED}{config.seed}/{RECORD}")):
        try:
            run = read_run(record.parent)
            if run is None or run.status != "finished" or run.is_external or not _is_shorter(run, config):
                continue
            check_place(run)
        except RecordError:  # the run is of no use here; a report names it
            continue
        if _is_of(run.record, here):
            found.append(run)
    return max(found, key=lambda run: run.record["budget"]["amount"], default=None)


def _is_shorter(run: Run, config: RunConfig) -> bool:
    budget = run.record.get("budget") or {}
    if budget.get("unit") != config.budget.unit or not 0 < budget.get("amount", 0) < config.budget.amount:
        return False
    own = read_config(run.path)
    return (
        own.get("budget") == budget
        and config_id(own) == run.record["config_id"]
        and config_id({**own, "budget": config.document["budget"]}) == config.id
    )


def _is_of(record: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Whether a run was made in an environment, with these packages and this commit of genbench."""
    is_same_environment = record.get("environment") == here and record.get("packages") == packages()
    return is_same_environment and record.get("git") == commit()


def _end_of_training(run: Run, is_changed_afterwards: bool) -> dict[str, Any] | None:
    """The state of a run at the end of its training; None if it is not there any more.

    Args:
        run: with its record.
        is_changed_afterwards: whether the last checkpoint has what was set after training; the one before it has not.
    """
    try:
        path = find_checkpoint(run.path, sha256_of(run.record))
        if is_changed_afterwards:
            path = previous_path(checkpoint_path(run.path))
            if not path.is_file() or why_damaged(path) is not None:
                return None
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises several kinds of errors for a damaged file
        return None
    is_whole = isinstance(state, dict) and state.keys() >= PARTS
    return state if is_whole and state.get("run") == [run.record["config_id"], run.record["seed"]] else None


def _reopen(state: dict[str, Any], blocks: int) -> None:
    """Takes the end of the epoch back in Lightning's counts, so that the epoch goes on after a number of whole blocks."""
    loop = state["loops"]["fit_loop"]
    for part in ("total", "current"):
        loop["epoch_progress"][part] |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        counts = {"ready": blocks, "started": blocks, "processed": blocks, "completed": blocks}
        loop["epoch_loop.batch_progress"][part] |= counts
    loop["epoch_loop.batch_progress"]["is_last_batch"] = False
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] = blocks
    state["epoch"] = 0
