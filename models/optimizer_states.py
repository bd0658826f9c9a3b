"""The state of an optimiser of stacked weights, and the states of the optimisers of each model."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# optimisers that treat each number of a weight by itself, and share nothing but a count of steps
ELEMENTWISE = frozenset(("Adam", "AdamW", "RAdam", "Adamax", "RMSprop", "SGD", "Adagrad", "Adadelta", "Rprop"))


def part_of(state: Mapping[str, Any], lane: int) -> dict[str, Any]:
    """The state of an optimiser for one model."""
    parts = {
        index: {k: v[lane].clone() if _is_of_weights(k, v) else v for k, v in own.items()}
        for index, own in state["state"].items()
    }
    return {**state, "state": parts}


def stacked(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The state of the stack's optimiser from those of the models: the inverse of what a checkpoint does.

    Args:
        states: of one player's optimiser, one for each model, after equally many steps.
    """
    together = {
        index: {
            k: torch.stack([state["state"][index][k] for state in states]) if _is_of_weights(k, v) else v
            for k, v in own.items()
        }
        for index, own in states[0]["state"].items()
    }
    return {**states[0], "state": together}


def _is_of_weights(key: str, value: Any) -> bool:
    """Whether an entry of an optimiser's state is of each weight, and not the count of steps, which is that of every model."""
    return isinstance(value, Tensor) and key != "step"
