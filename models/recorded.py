"""A player's loss and its gradients as a list of operations, recorded once and then repeated: autograd works once.

What is repeated reads the minibatch, weights, buffers and random numbers. Whatever else a loss reads stays as it was when the
loss was recorded, so a loss that changes as the training goes on is not recorded.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from models.recordable import (
    CannotRecord,
    Model,
    Weights,
    are_alike,
    are_close,
    kept,
    leaving_nothing,
    quiet,
    random_kept,
    random_numbers_of,
    reading_no_counts,
    reason,
)

# of weights, buffers, a minibatch and random numbers: the loss, and what it notes
LossOfWeights = Callable[[Weights, Weights, Tensor, Sequence[Tensor]], tuple[Tensor, Weights]]
# of the player's weights, the other weights, buffers, a minibatch and random numbers: the loss, what it notes, and gradients
Gradients = Callable[
    [Weights, Weights, Weights, Tensor, Sequence[Tensor]], tuple[Tensor, Weights, Sequence[Tensor | None]]
]

# the average of the weights, which no player trains
AVERAGE = "ema."
# the share of a minibatch and of weights at which recorded operations are compared with the loss
_ELSEWHERE = 0.9


class LossModule(nn.Module):
    """A player's loss as a module, so that `functional_call` finds the weights of the model.

    Args:
        model: the model.
        place: of the player.
    """

    def __init__(self, model: Model, place: int) -> None:
        super().__init__()
        self.model, self.loss = model, model.players()[place].loss

    def forward(self, x: Tensor) -> tuple[Tensor, Weights]:
        with quiet(self.model) as noted:
            return self.loss(x), noted

    def at(self, weights: Weights, buffers: Weights, x: Tensor) -> tuple[Tensor, Weights]:
        """The loss at other weights and buffers, and what it notes."""
        named = {f"model.{name}": value for name, value in (*weights.items(), *buffers.items())}
        return cast(tuple[Tensor, Weights], functional_call(self, named, (x,)))


def record(
    loss: LossOfWeights, own: Weights, others: Weights, buffers: Weights, x: Tensor, drawn: Sequence[Tensor] = ()
) -> Gradients:
    """Records a loss, or losses, (S,), and the gradients of their sum. Buffers change as in a turn.

    Args:
        loss: the function.
        own: the weights that the player trains.
        others: all other weights.
        buffers: those of the model.
        x: a minibatch.
        drawn: random numbers.
    """

    def gradients(
        own: Weights, others: Weights, buffers: Weights, x: Tensor, drawn: Sequence[Tensor]
    ) -> tuple[Tensor, Weights, Sequence[Tensor | None]]:
        losses, noted = loss(own | others, buffers, x, drawn)
        # the backward pass has the types of the forward pass; autocast would round the penalty's second derivative
        with torch.autocast(x.device.type, enabled=False):
            found = torch.autograd.grad(losses.sum(), list(own.values()), allow_unused=True)
        # fused steps of optimisers take for granted that gradients are laid out as weights
        laid_out = [gradient if gradient is None else gradient.contiguous() for gradient in found]
        return losses.detach(), {name: value.detach() for name, value in noted.items()}, laid_out

    own = {name: weight.detach().requires_grad_() for name, weight in own.items()}
    return cast(Gradients, make_fx(gradients)(own, others, buffers, x, list(drawn)))


def repeat(
    recorded: Gradients, own: Weights, others: Weights, buffers: Weights, x: Tensor, drawn: Sequence[Tensor] = ()
) -> tuple[Tensor, Weights, Sequence[Tensor | None]]:
    """The loss, what it notes, and the gradients. What is recorded has the casts of autocast in it."""
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return recorded(own, others, buffers, x, list(drawn))


class Recorded:
    """The turns of a player of one model up to the step of the optimiser.

    Args:
        model: the model.
        place: of the player.
        compile: what is done with the operations once they are recorded.
    """

    def __init__(self, model: Model, place: int, compile: Callable[[Any], Any]) -> None:
        self.model, self.place, self.compile = model, place, compile
        named: Weights = {name: weight for name, weight in model.named_parameters() if not name.startswith(AVERAGE)}
        names = {id(weight): name for name, weight in named.items()}
        trained = [names[id(w)] for w in model.players()[place].modules.parameters() if w.requires_grad]
        self._own = {name: named[name] for name in trained}
        self._others = {name: weight for name, weight in named.items() if name not in self._own}
        self._modules = list(model.modules())
        self._gradients: Gradients | None = None
        self._state: object = None

    def play(self, x: Tensor) -> tuple[Tensor, Weights]:
        """Sets the gradients of the player's weights; returns the loss, and what it notes.

        Raises:
            CannotRecord: at the first minibatch, or at one of another shape or in another state of the modules; before anything
                has changed.
        """
        state = x.shape, [part.training for part in self._modules], [w.requires_grad for w in self._own.values()]
        if self._gradients is None:
            self._gradients, self._state = self._record(x), state
        elif state != self._state:
            raise CannotRecord(
                "minibatches have another shape, or modules another mode, than in the turn that was recorded"
            )
        loss, noted, gradients = self._repeat(self._gradients, x)
        for weight, gradient in zip(self._own.values(), gradients, strict=True):
            weight.grad = gradient
        return loss, noted

    def _repeat(self, recorded: Gradients, x: Tensor) -> tuple[Tensor, Weights, Sequence[Tensor | None]]:
        own, others = ({name: w.detach() for name, w in part.items()} for part in (self._own, self._others))
        return repeat(recorded, own, others, self._buffers(), x)

    def _alone(self, x: Tensor) -> tuple[Tensor, Weights, Sequence[Tensor | None]]:
        """As `_repeat`, of the loss itself. Refuses what a repeated turn would not do."""
        with quiet(self.model) as noted, reading_no_counts(self.model), leaving_nothing(self.model):
            loss = self.model.players()[self.place].loss(x)
            with torch.autocast(x.device.type, enabled=False):
                found = torch.autograd.grad(loss, list(self._own.values()), allow_unused=True)
        return loss.detach(), noted, found

    def _record(self, x: Tensor) -> Gradients:
        module = LossModule(self.model, self.place)
        player = self.model.players()[self.place]
        name = player.name
        others = {name: weight.detach() for name, weight in self._others.items()}
        with random_kept(x.device), kept(self._own | self._others | self._buffers()) as restore:
            try:
                with random_kept(x.device), leaving_nothing(self.model):
                    made = record(lambda w, b, x, drawn: module.at(w, b, x), self._own, others, self._buffers(), x)
                self._compare(made, x, restore)
                compiled = cast(Gradients, self.compile(made))
                # torch 2.11 compiles some draws into another order
                self._compare(compiled, x, restore, "compiled", room=10)
                if player.project is not None:
                    with leaving_nothing(self.model, "its projection"):
                        player.project()
            except CannotRecord as error:
                raise CannotRecord(f"the {name}'s turn cannot be recorded: {error}") from error
            except Exception as error:
                raise CannotRecord(f"the {name}'s turn cannot be recorded ({reason(error)})") from error
        return compiled

    def _compare(
        self, made: Gradients, x: Tensor, restore: Callable[[], None], how: str = "recorded", room: float = 1
    ) -> None:
        """Compares what is recorded with the loss at another minibatch and other weights: what was read outside of torch, as a
        weight by numpy, stays as it was.

        Raises:
            CannotRecord: for a loss, gradients or random numbers afterwards that differ.
        """
        x = _ELSEWHERE * x.flip(0)
        results, random_numbers = [], []
        for play in (lambda: self._repeat(made, x), lambda: self._alone(x)):
            restore()
            with torch.no_grad(), random_kept(x.device):
                for weight in (*self._own.values(), *self._others.values()):
                    weight.mul_(_ELSEWHERE)
                with torch.enable_grad():
                    results.append(play())
                random_numbers.append(random_numbers_of(x.device))
        (loss, _, gradients), (alone, _, expected) = results
        if not are_close(loss, alone):
            raise CannotRecord(
                "its loss reads more than a minibatch, weights and random numbers"
                if how == "recorded"
                else "its loss is another one when it is compiled"
            )
        if not are_alike(gradients, expected, alone, room):
            raise CannotRecord(f"its gradients are others when they are {how}")
        if not torch.equal(*random_numbers):
            raise CannotRecord(f"it draws other random numbers when it is {how}")

    def _buffers(self) -> Weights:
        return {name: buffer for name, buffer in self.model.named_buffers() if not name.startswith(AVERAGE)}
