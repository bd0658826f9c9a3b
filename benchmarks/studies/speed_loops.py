"""The steps that measure genbench's training loop beside other loops, and what compiled losses and bfloat16 would give."""

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.scoring.restore import load_data, load_model
from benchmarks.studies.ledger import Step, Tables
from benchmarks.studies.loops import LIGHTNING, PYTHAE, How, alternate, bare, ratios, times
from benchmarks.studies.place import Place, Target
from benchmarks.studies.pythae_loop import can_run
from benchmarks.studies.stacked import gains
from benchmarks.training.configure import RunConfig, configure_words
from benchmarks.training.neighbours import Others

# the images of a long run, over which compiling may earn back its time
LONG = 2_000_000
# the operations whose speed is the library's; compiling leaves them as they are
PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}


def loops(place: Place, targets: Sequence[Target]) -> list[Step]:
    """genbench's loop beside a loop without Lightning, Lightning with a `DataLoader`, and pythae's trainer if it is installed."""
    return _steps("loops", place, targets, _loops, 25.0, 80.0)


def compiled(place: Place, targets: Sequence[Target]) -> list[Step]:
    """A loop without Lightning whose losses are compiled, beside the same loop without, and the time that compiling takes."""
    return _steps("compiled", place, targets, _compiled, 70.0, 120.0)


def bf16(place: Place, targets: Sequence[Target]) -> list[Step]:
    """A loop without Lightning in bfloat16, beside the same loop in float32."""
    return _steps("bf16", place, targets, _bf16, 10.0, 40.0)


def seeds(place: Place, targets: Sequence[Target]) -> list[Step]:
    """Several seeds of one model at once, as stacked parameters, beside one seed after another."""
    return _steps("seeds", place, targets, _seeds, 20.0, 60.0)


def _steps(kind: str, place: Place, targets: Sequence[Target], work: Any, small: float, large: float) -> list[Step]:
    return [
        Step(
            f"{kind}-{t.network}-{t.model}-{torch.get_num_threads()}",
            f"{kind} {t.network}",
            small if t.network.startswith("mlp") else large,
            partial(work, place, t),
        )
        for t in targets
    ]


def configured(place: Place, target: Target, *words: str) -> RunConfig:
    """The run of a target on the CPU. Convolutions have blocks of one cycle of WGAN-GP, because a block of 20 takes seconds."""
    short = () if target.network.startswith("mlp") else ("datamodule.block_size=5",)
    return configure_words(place.words(*place.images(), *target.words, place.trainer, *short, *words))


def compare(place: Place, config: RunConfig, chosen: Sequence[str]) -> Mapping[str, Sequence[float]]:
    """Images a second of loops in eleven rounds."""
    return alternate(chosen, config, *((0.05, 1) if place.is_tiny else (0.5, 11)))[0]


def _loops(place: Place, target: Target) -> Tables:
    config, others = configured(place, target), Others()
    others.start()
    start = time.perf_counter()
    theirs = [LIGHTNING, *([PYTHAE] if can_run(load_model(config.parts.model)) else [])]
    speeds = compare(place, config, ["eager", "bare eager", *theirs])
    others.stop()
    busy = None if others.seconds is None else others.seconds / (time.perf_counter() - start)
    compared: dict[str, Any] = {}
    for other in ("bare eager", *theirs):
        found = ratios(speeds, "eager", other)
        compared[f"times {other}"] = statistics.median(found)
        compared[f"times {other}, over rounds"] = f"{found[0]:.2f} to {found[-1]:.2f}"
    row = {**target.row, "images/s": statistics.median(speeds["eager"]), **compared, "processors of others": busy}
    return {"The loop beside other loops": [row]}


def _compiled(place: Place, target: Target) -> Tables:
    from torch._inductor import config as inductor
    from torch._inductor.utils import fresh_cache

    config = configured(place, target)
    share = _share_of_products(config)
    with fresh_cache(), inductor.patch(compile_threads=1):  # in this process, where its time is counted
        cold = _seconds_to_compile(config)
        torch._dynamo.reset()
        cached = _seconds_to_compile(config)
        speeds = compare(place, config, ["bare eager", "bare compiled"])
    eager, fast = (LONG / statistics.median(speeds[loop]) for loop in ("bare eager", "bare compiled"))
    row = {
        "products, share": share,
        "bound": 1 / share,
        "times bare eager": times(speeds, "bare compiled", "bare eager"),
        "compiling, s": cold,
        "compiling from the cache, s": cached,
        "times bare eager, 2 million images": eager / (fast + cold),
    }
    return {"Compiled losses": [{**target.row, **row}]}


def _bf16(place: Place, target: Target) -> Tables:
    speeds = compare(place, configured(place, target), ["bare eager", "bare bf16"])
    speed = statistics.median(speeds["bare eager"])
    row = {"float32, images/s": speed, "bf16, times float32": times(speeds, "bare bf16", "bare eager")}
    return {"bfloat16": [{**target.row, **row}]}


def _seeds(place: Place, target: Target) -> Tables:
    """A narrow network of layers on the digits too, for which it is made."""
    rows: list[dict[str, Any]] = []
    for words in ((), ("datamodule=digits",)) if target.network == "mlp_narrow" else ((),):
        config = configured(place, target, *words)
        found = gains(config, *((0.05, 1) if place.is_tiny else (0.5, 5)))
        rows.append({**target.row, "data": config.names.datamodule, **found})
    return {"Several seeds at once": rows}


def _play(config: RunConfig, how: How) -> Any:
    model, data = load_model(config.parts.model), load_data(config.parts.datamodule)
    return bare(model, data, torch.device("cpu"), how)[0]


def _seconds_to_compile(config: RunConfig) -> float:
    """Seconds of the processor, the C++ compiler included, of a first cycle of turns beyond those of a second."""
    play, seconds = _play(config, "bare compiled"), []
    for _ in range(2):
        start = sum(os.times()[:4])
        play()
        seconds.append(sum(os.times()[:4]) - start)
    return seconds[0] - seconds[1]


def _share_of_products(config: RunConfig) -> float:
    """The share of matrix products and convolutions in the time of an eager loop. The time includes the profiler's own, so
    that the share is rather too small, and 1 / share too large a bound on what faster code around them can give."""
    play = _play(config, "bare eager")
    play()
    start = time.perf_counter()
    with torch.autograd.profiler.profile(use_kineto=False) as profile:
        for _ in range(3):
            play()
    total = time.perf_counter() - start
    events = [e for e in profile.key_averages() if e.key in PRODUCTS or "conv" in e.key]
    return sum(float(e.self_cpu_time_total) for e in events) / 1e6 / total
