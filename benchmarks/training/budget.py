"""The budget of a run: how much training the run gets, in a declared unit."""

import math
from dataclasses import dataclass
from typing import Literal

from benchmarks.errors import UserError
from models.game import GenerativeModel

UNITS = ("images", "seconds", "updates")


@dataclass(frozen=True)
class Budget:
    """An amount of images (real examples shown to the player that sees data), seconds of training, or updates (turns of the
    player that samples).

    Raises:
        UserError: for another unit, or an amount that is not above 0.
    """

    unit: Literal["images", "seconds", "updates"]
    amount: float

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise UserError(f"budget.unit is {self.unit!r}; expected one of {', '.join(UNITS)}")
        if not isinstance(self.amount, int | float) or not 0 < self.amount < math.inf:
            raise UserError(f"budget.amount is {self.amount}; expected a number of {self.unit} above 0")

    def minibatches(self, model: GenerativeModel, batch_size: int, world_size: int) -> int | None:
        """The number of minibatches (of all processes together) in the budget; None for a budget of seconds."""
        match self.unit:
            case "images":
                return -int(-self.amount // (batch_size * world_size))
            case "updates":
                return -int(-self.amount // 1) * model.sampling_player.every
            case "seconds":
                return None

    def fraction(self, model: GenerativeModel, seconds: float) -> float:
        """The share of the budget that is spent, from 0 to about 1."""
        match self.unit:
            case "images":
                return model.images / self.amount
            case "updates":
                return model.updates / self.amount
            case "seconds":
                return seconds / self.amount
