"""A player's loss as a function of weights, for `torch.func.vmap`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn
from torch.func import functional_call, vmap

from models.draws import Feed
from models.game import GenerativeModel

Weights = dict[str, Tensor]
Mapped = Callable[[Weights, Weights, Tensor, Sequence[Tensor]], tuple[Tensor, Weights]]


class _Loss(nn.Module):
    """A player's loss as a module, so that `functional_call` finds the weights of the model."""

    def __init__(self, model: GenerativeModel, place: int) -> None:
        super().__init__()
        self.model, self.loss = model, model.players()[place].loss

    def forward(self, x: Tensor) -> tuple[Tensor, Weights]:
        with quiet(self.model) as noted:
            return self.loss(x), noted


def mapped_loss(model: GenerativeModel, place: int) -> Mapped:
    """The loss of a player, mapped over stacked weights and buffers, minibatches and random numbers.

    It gives the losses, (S,), and what they note.

    Args:
        model: whose weights are not read.
        place: of the player.
    """
    module = _Loss(model, place)

    def loss(weights: Weights, buffers: Weights, x: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, Weights]:
        named = {f"model.{name}": value for name, value in (*weights.items(), *buffers.items())}
        with Feed(drawn):
            value: tuple[Tensor, Weights] = functional_call(module, named, (x,))
            return value

    return cast(Mapped, vmap(loss, randomness="error"))


@contextmanager
def quiet(model: GenerativeModel) -> Iterator[Weights]:
    """Keeps what a loss notes apart from the sums of a model."""
    noted: Weights = {}

    def note(name: str, value: Tensor) -> None:
        noted[name] = value

    model.note = note  # type: ignore[method-assign]
    try:
        yield noted
    finally:
        del model.note
