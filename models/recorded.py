"""A player's loss and its gradients as a list of operations, recorded once and then repeated: autograd works once.

What is repeated reads the minibatch, weights, buffers and random numbers. Whatever else a loss reads stays as it was when the
loss was recorded, so a loss that changes as the training goes on is not recorded.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

# `models.game.GenerativeModel`, which imports this file
Model = Any
Weights = dict[str, Tensor]
# of weights, buffers, a minibatch and random numbers: the loss, and what it notes
LossOfWeights = Callable[[Weights, Weights, Tensor, Sequence[Tensor]], tuple[Tensor, Weights]]
# of the player's weights, the other weights, buffers, a minibatch and random numbers: the loss, what it notes, and gradients
Gradients = Callable[
    [Weights, Weights, Weights, Tensor, Sequence[Tensor]], tuple[Tensor, Weights, Sequence[Tensor | None]]
]

# relative differences of a loss that rounding makes, with room; a loss that reads something else differs by more
_ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-3}
_ROUNDING_BELOW = 5e-2
# the average of the weights, which no loss reads
AVERAGE = "ema."


class CannotRecord(Exception):
    """A turn cannot be recorded; the message says why."""


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
        self._gradients: Gradients | None = None

    def play(self, x: Tensor) -> tuple[Tensor, Weights]:
        """Sets the gradients of the player's weights; returns the loss, and what it notes.

        Raises:
            CannotRecord: at the first minibatch, before anything has changed.
        """
        if self._gradients is None:
            self._gradients = self._record(x)
        loss, noted, gradients = self._repeat(self._gradients, x)
        for weight, gradient in zip(self._own.values(), gradients, strict=True):
            weight.grad = gradient
        return loss, noted

    def _repeat(self, recorded: Gradients, x: Tensor) -> tuple[Tensor, Weights, Sequence[Tensor | None]]:
        own, others = ({name: w.detach() for name, w in part.items()} for part in (self._own, self._others))
        return repeat(recorded, own, others, self._buffers(), x)

    def _record(self, x: Tensor) -> Gradients:
        module = LossModule(self.model, self.place)
        player = self.model.players()[self.place]
        with random_kept(x.device), buffers_kept(self._buffers()) as restore:
            try:
                with random_kept(x.device):
                    others = {name: weight.detach() for name, weight in self._others.items()}
                    made = record(lambda w, b, x, drawn: module.at(w, b, x), self._own, others, self._buffers(), x)
                restore()
                with random_kept(x.device):
                    loss = self._repeat(made, x)[0]
                restore()
                with quiet(self.model), later(self.model), random_kept(x.device), leaving_nothing(self.model):
                    alone = player.loss(x).detach()
            except CannotRecord as error:
                raise CannotRecord(f"the {player.name}'s turn cannot be recorded: {error}") from error
            except Exception as error:
                raise CannotRecord(f"the {player.name}'s turn cannot be recorded ({reason(error)})") from error
            if not are_close(loss, alone):
                raise CannotRecord(f"the {player.name}'s loss reads more than a minibatch, weights and random numbers")
        return cast(Gradients, self.compile(made))

    def _buffers(self) -> Weights:
        return {name: buffer for name, buffer in self.model.named_buffers() if not name.startswith(AVERAGE)}


def are_close(losses: Tensor, others: Tensor) -> bool:
    """Whether losses differ by rounding alone."""
    precision = _ROUNDING.get(others.dtype, _ROUNDING_BELOW)
    if torch.is_autocast_enabled(others.device.type):
        precision = _ROUNDING_BELOW
    return torch.allclose(losses, others, rtol=precision, atol=precision, equal_nan=True)


def reason(error: BaseException) -> str:
    """An error as a part of a line."""
    return " ".join(str(error).split())[:160]


@contextmanager
def random_kept(device: torch.device) -> Iterator[None]:
    """Leaves torch's random numbers as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


@contextmanager
def buffers_kept(buffers: Weights) -> Iterator[Callable[[], None]]:
    """Puts buffers back at the end of the block, and each time that the function is called."""
    kept = {name: buffer.clone() for name, buffer in buffers.items()}

    def restore() -> None:
        with torch.no_grad():
            for name, buffer in buffers.items():
                buffer.copy_(kept[name])

    try:
        yield restore
    finally:
        restore()


@contextmanager
def leaving_nothing(model: Model) -> Iterator[None]:
    """Refuses a loss that leaves something on the model for later, which a repeated turn would not do.

    Raises:
        CannotRecord: at the end of the block.
    """

    def attributes() -> dict[tuple[str, str], int]:
        return {(name, key): id(value) for name, part in model.named_modules() for key, value in vars(part).items()}

    before = attributes()
    yield
    after = attributes()
    if changed := {key for name, key in after if before.get((name, key)) != after[name, key]}:
        raise CannotRecord(f"its loss leaves {', '.join(sorted(changed))} on the model")


@contextmanager
def later(model: Model) -> Iterator[None]:
    """Counts as they may be later in the training. What is recorded would keep what they are now."""
    before = model.minibatches, model.images, model.steps, model.spent
    model.minibatches, model.images = model.minibatches + 10**9, model.images + 10**9
    model.steps, model.spent = Counter({player.name: 10**9 for player in model.players()}), lambda: 0.75
    try:
        yield
    finally:
        model.minibatches, model.images, model.steps, model.spent = before


@contextmanager
def quiet(model: Model) -> Iterator[Weights]:
    """Keeps what a loss notes apart from the sums of a model."""
    noted: Weights = {}

    def note(name: str, value: Tensor) -> None:
        noted[name] = value

    model.note = note
    try:
        yield noted
    finally:
        del model.note
