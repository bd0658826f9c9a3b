"""A player's loss, mapped over stacked weights."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor
from torch.func import vmap

from models.draws import Feed
from models.game import GenerativeModel
from models.recordable import Weights
from models.recorded import LossModule, LossOfWeights


def mapped_loss(model: GenerativeModel, place: int) -> LossOfWeights:
    """The losses, (S,), of stacked weights and buffers, minibatches and random numbers, and what they note.

    Args:
        model: whose weights are not read.
        place: of the player.
    """
    module = LossModule(model, place)

    def loss(weights: Weights, buffers: Weights, x: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, Weights]:
        with Feed(drawn):
            return module.at(weights, buffers, x)

    return cast(LossOfWeights, vmap(loss, randomness="error"))
