"""Several seeds of one model at once, as `seeds_per_job` trains them, beside one seed after another."""

from collections.abc import Mapping

import pytorch_lightning as pl
import torch

from benchmarks.scoring.restore import load_data, load_model
from benchmarks.studies.loops import TINY_WARM, measured, silent_trainer, times
from benchmarks.training.configure import RunConfig
from benchmarks.training.random_states import generators, random_state
from benchmarks.training.speed import WARM, Stopwatch, round_of
from datamodules.base import DataModule
from datamodules.stacked import StackedData
from models.stack import CannotStack, Stack
from models.turns import Turns

# the numbers of seeds that are trained at once
SEEDS = (5, 10)


def gains(config: RunConfig, seconds: float, rounds: int, kind: str = "eager") -> Mapping[str, float]:
    """How many times as fast stacked seeds are as one seed after another, by their number in words: the median over rounds, in
    each of which every way is measured once. Empty for a model that cannot be stacked.

    Args:
        config: the model, the data and the device.
        seconds: of a measurement.
        rounds: the number of measurements of each way.
        kind: of `Turns`.
    """
    data = load_data(config.parts.datamodule)
    speeds: dict[str, list[float]] = {"alone": [], **{f"{n} seeds": [] for n in SEEDS}}
    try:
        for _ in range(rounds):
            speeds["alone"].append(measured(kind, config, data, seconds)[0])
            for n in SEEDS:
                speeds[f"{n} seeds"].append(_of_stack(n, config, data, seconds, kind))
    except CannotStack:
        return {}
    return {way: times(speeds, way, "alone") for way in speeds if way != "alone"}


def _of_stack(seeds: int, config: RunConfig, data: DataModule, seconds: float, kind: str) -> float:
    """Images a second of all seeds together."""
    pl.seed_everything(0, verbose=False)
    stack = Stack([load_model(config.parts.model) for _ in range(seeds)])
    stack.lanes[0].turns = Turns(kind)
    stack.generators = [generators(random_state(), torch.device(config.device), seed) for seed in range(seeds)]
    each = [data.twin() for _ in range(seeds)]
    for seed, own in enumerate(each):
        own.plan(seed, None)
    warm = WARM[config.device] if seconds >= 0.2 else TINY_WARM
    watch = Stopwatch(data.batch_size * seeds, warm, seconds, round_of(stack.lanes[0].players()))
    trainer = silent_trainer(config.device, [watch])
    trainer.fit(stack, datamodule=StackedData(each))
    return watch.speed
