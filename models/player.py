"""One side of the game that trains a model."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Player:
    """One side of the game.

    Args:
        name: the field's term, e.g. "critic"; names losses and step counts.
        modules: the modules that the player trains. Every other player's parameters are frozen during its turn.
        loss: the function from a real minibatch x, (B, ...), to a scalar. It reads x, weights and random numbers; a captured
            or compiled turn repeats the operations of one call, whatever else the function would read later.
        optimizer: the function that makes an optimiser of parameters.
        every: n, if the player plays on every n-th minibatch.
        project: the function to call after the player's step, e.g. the weight clipping of a WGAN's critic. It changes weights
            in place.
        samples: whether the player owns the decoder. Exactly one player does.
        phase: the shares of the budget from which on and until which the player plays, e.g. (0.5, 1.0) for the second half.

    Raises:
        ValueError: for a phase that is not two shares in rising order.
    """

    name: str
    modules: nn.Module
    loss: Callable[[Tensor], Tensor]
    optimizer: OptimizerFactory
    every: int = 1
    project: Callable[[], None] | None = None
    samples: bool = False
    phase: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        start, end = self.phase
        if not 0 <= start < end <= 1:
            raise ValueError(
                f"the phase of {self.name} is {self.phase}; expected two shares from 0 to 1 in rising order"
            )

    def plays(self, minibatch: int, spent: Callable[[], float]) -> bool:
        """Whether the player plays on a minibatch, counted from 1, before which `spent()` of the budget is spent."""
        if minibatch % self.every:
            return False
        start, end = self.phase
        # the last block of a budget of seconds may begin after its end
        return self.phase == (0, 1) or start <= min(spent(), math.nextafter(1, 0)) < end
