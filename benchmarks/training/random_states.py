"""The random states of a process, and generators that go on from one."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

RandomState = Mapping[str, Any]


def random_state() -> dict[str, Any]:
    """The random states of Python, numpy and torch, in types that a checkpoint holds without pickled classes."""
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [torch.from_numpy(np.asarray(keys, np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        # the state of the current device only: another machine may have another number of devices
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def generators(state: RandomState, device: torch.device, seed: int) -> dict[str, torch.Generator]:
    """Generators that draw what torch's own would draw after `set_random_state`, by kind of device.

    Args:
        state: as `random_state` gives it.
        device: of training.
        seed: torch's seed, for a device that has drawn nothing yet.
    """
    made = {"cpu": torch.Generator()}
    made["cpu"].set_state(state["torch"].cpu())
    if device.type == "cuda":
        made["cuda"] = torch.Generator(device)
        if state["cuda"] is None:
            made["cuda"].manual_seed(seed)
        else:
            made["cuda"].set_state(state["cuda"].cpu())
    return made
