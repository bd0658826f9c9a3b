"""How much training a run gets, in a unit that is declared and recorded."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.errors import UserError
from models.game import GenerativeModel

UNITS = ("images", "seconds", "updates")


@dataclass(frozen=True)
class Budget:
    """Real examples shown to the player that sees data, seconds of training, or steps of the player that samples.

    Raises:
        UserError: for another unit, or an amount that is not above 0.
    """

    unit: Literal["images", "seconds", "updates"]
    amount: float

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise UserError(f"budget.unit is {self.unit!r}; expected one of {', '.join(UNITS)}")
        if not isinstance(self.amount, int | float) or not self.amount > 0:
            raise UserError(f"budget.amount is {self.amount}; expected a number of {self.unit} above 0")

    def minibatches(self, model: GenerativeModel, batch_size: int, world_size: int) -> int | None:
        """How many minibatches (of every process together) the budget pays for; None where a clock decides."""
        match self.unit:
            case "images":
                return -int(-self.amount // (batch_size * world_size))
            case "updates":
                return -int(-self.amount // 1) * model.sampling_player.every
            case "seconds":
                return None

    def fraction(self, model: GenerativeModel, seconds: float) -> float:
        """How much of it is spent, from 0 to about 1."""
        match self.unit:
            case "images":
                return model.images / self.amount
            case "updates":
                return model.updates / self.amount
            case "seconds":
                return seconds / self.amount
