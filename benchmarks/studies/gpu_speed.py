"""The steps that compare the speed of training loops on a GPU."""

import statistics
from collections.abc import Sequence
from functools import partial

import torch

from benchmarks.scoring.restore import load_model
from benchmarks.studies.ledger import Step, Tables
from benchmarks.studies.loops import LIGHTNING, PYTHAE, alternate, times
from benchmarks.studies.place import FAMILIES, Place
from benchmarks.studies.pythae_loop import can_run
from benchmarks.studies.stacked import gains
from benchmarks.training.configure import configure_words

# what every loop is compared with
BASE = "bare captured"
ROUNDS = 3


def speed(place: Place) -> list[Step]:
    """Each family under each network and batch size; a compiled loop is a step of its own, because compiling takes long."""
    families, networks, sizes = (
        (FAMILIES, ("mlp", "dcgan"), (64, 128)) if not place.is_tiny else (("wgan_gp",), ("mlp",), (8,))
    )
    loops = (
        ("eager", "graphs", BASE, "bare eager", LIGHTNING),
        ("compiled", "compiled_graphs", BASE),
    )
    stacks = [
        Step(f"seeds-{network}-{f}", "seeds", 30.0, partial(_seeds, place, f, network))
        for network in networks
        for f in families
    ]
    steps = [
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
    return [*steps, *stacks]


def _seeds(place: Place, family: str, network: str) -> Tables:
    """Several seeds at once, as stacked parameters, beside one after another: one operation at a time, and as graphs."""
    config = configure_words(place.words(*place.images(), f"model={family}", f"network={network}", place.trainer))
    rows = [
        {"model": family, "network": network, "batch": 64, "loop": kind, **found}
        for kind in ("eager", "graphs")
        if (found := gains(config, *((0.05, 1) if place.is_tiny else (0.5, ROUNDS)), kind))
    ]
    return {"Several seeds at once": rows}


def _compare(place: Place, family: str, network: str, batch_size: int, loops: Sequence[str]) -> Tables:
    """Images a second of each loop: the median of rounds; beside a loop without Lightning: the median of ratios."""
    words = [*place.images(), f"model={family}", f"network={network}", place.trainer]
    config = configure_words([*place.words(*words), f"datamodule.batch_size={batch_size}"])
    if any(loop.startswith("compiled") for loop in loops):
        # torch keeps eight compilations of a function, which models share, and then runs the function as it is written
        torch._dynamo.reset()
    chosen = [loop for loop in loops if loop != BASE or place.device == "cuda"]
    if LIGHTNING in loops and can_run(load_model(config.parts.model)):
        chosen.append(PYTHAE)
    speeds, ran = alternate(chosen, config, *((0.05, 1) if place.is_tiny else (0.5, ROUNDS)))
    base = BASE if BASE in chosen else "bare eager"
    labels = {"model": family, "network": network, "batch": batch_size, "data": config.names.datamodule}
    rows = [
        {
            **labels,
            "loop": loop,
            "ran as": ran[loop],
            "images/s": statistics.median(values),
            f"times {base}": times(speeds, loop, base),
        }
        for loop, values in speeds.items()
        if base in speeds
    ]
    return {"Speed of training": rows}
