"""What a loss may not do if its operations are repeated, found in one call of the loss: nothing that it does is left behind."""

import pickle
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# `models.game.GenerativeModel`, which imports this file
Model = Any
Weights = dict[str, Tensor]

# relative differences of a loss that rounding makes, with room; a loss that reads something else differs by more
_ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-3}
_ROUNDING_BELOW = 5e-2
# what a model knows of the training, and what knows more
_CHANGES = ("minibatches", "images", "steps", "spent", "_loss_sums", "_loss_counts", "_trainer")
# how deep attributes are looked into
_DEPTH = 3


class CannotRecord(Exception):
    """A turn cannot be recorded; the message says why."""


def are_close(losses: Tensor, others: Tensor) -> bool:
    """Whether losses differ by rounding alone."""
    precision = _rounding(others)
    return torch.allclose(losses, others, rtol=precision, atol=precision, equal_nan=True)


def are_alike(
    gradients: Sequence[Tensor | None], others: Sequence[Tensor | None], loss: Tensor, room: float = 1
) -> bool:
    """Whether gradients of a loss differ by rounding alone: a tenth of that of `are_close`, because operations are the same,
    times `room`.

    Rounding is all there is of the gradient of some weights, such as a bias before batch norm.
    """
    if [g is None for g in gradients] != [g is None for g in others]:
        return False
    pairs = [
        (a.double(), b.double()) for a, b in zip(gradients, others, strict=True) if a is not None and b is not None
    ]
    whole = torch.stack([b.norm() for _, b in pairs]).norm()
    if not whole.isfinite():
        return not all(bool(a.isfinite().all()) for a, _ in pairs)
    precision = room * _rounding(loss) / 10
    return all(bool((a - b).norm() <= precision * (b.norm() + 0.01 * whole)) for a, b in pairs)


def _rounding(loss: Tensor) -> float:
    rounds_more = torch.is_autocast_enabled(loss.device.type)
    return _ROUNDING_BELOW if rounds_more else _ROUNDING.get(loss.dtype, _ROUNDING_BELOW)


def reason(error: BaseException) -> str:
    """An error as a part of a line."""
    return " ".join(str(error).split())[:160]


def random_numbers_of(device: torch.device) -> Tensor:
    """The states of torch's generators that a loss on a device draws from."""
    states = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
    return torch.cat(states)


@contextmanager
def random_kept(device: torch.device) -> Iterator[None]:
    """Leaves torch's random numbers as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


@contextmanager
def kept(tensors: Weights) -> Iterator[Callable[[], None]]:
    """Puts the values of tensors back at the end of the block, and each time that the function is called."""
    values = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def restore() -> None:
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(values[name])

    try:
        yield restore
    finally:
        restore()


@contextmanager
def leaving_nothing(model: Model, what: str = "its loss") -> Iterator[None]:
    """Refuses what leaves something on the model for later, another buffer among it, or draws random numbers outside of torch: a
    repeated turn would not do so, or not read it. Puts attributes and random numbers back.

    Args:
        model: the model.
        what: what the block calls, for the message.

    Raises:
        CannotRecord: at the end of the block.
    """
    parts = dict(model.named_modules())
    attributes = {name: dict(vars(part)) for name, part in parts.items()}
    registered = {name: (dict(part._parameters), dict(part._buffers)) for name, part in parts.items()}
    before, drawn = _attributes(parts), (random.getstate(), np.random.get_state())
    try:
        yield
    finally:
        after, has_drawn = _attributes(parts), (random.getstate(), np.random.get_state())
        for name, part in parts.items():
            for own, values in zip((part._parameters, part._buffers), registered[name], strict=True):
                own.clear()
                own.update(values)
            part.__dict__.clear()
            part.__dict__.update(attributes[name])
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])
    if changed := {key for name, key in after if not _are_same(before.get((name, key)), after[name, key])}:
        raise CannotRecord(f"{what} leaves {', '.join(sorted(changed))} on the model")
    if pickle.dumps(drawn) != pickle.dumps(has_drawn):
        raise CannotRecord(f"{what} draws random numbers outside of torch")


def _attributes(parts: Mapping[str, nn.Module]) -> dict[tuple[str, str], list[object]]:
    """The attributes of modules, each with what is in it. The objects, because the address of one that is gone is used again."""
    return {
        (name, key): list(_contents(value, _DEPTH))
        for name, part in parts.items()
        for key, value in vars(part).items()
        if key != "_trainer"
    }


def _contents(value: Any, depth: int) -> Iterator[object]:
    yield value
    if not depth or isinstance(value, nn.Module | Tensor | type | ModuleType | str | bytes):
        return
    if isinstance(value, dict):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | deque):
        inside = list(value)
    else:
        inside = list(getattr(value, "__dict__", {}).values())
    for part in inside:
        yield from _contents(part, depth - 1)


def _are_same(before: list[object] | None, after: list[object]) -> bool:
    return before is not None and len(before) == len(after) and all(a is b for a, b in zip(before, after, strict=True))


@contextmanager
def reading_no_counts(model: Model) -> Iterator[None]:
    """Refuses a loss that reads how far the training is: what is recorded would keep what it read."""

    def refused(name: str) -> property:
        def read(_: Any) -> Any:
            raise CannotRecord(f"its loss reads {name.lstrip('_')}, which changes as the training goes on")

        return property(read)

    kind = type(model)
    model.__class__ = type(kind.__name__, (kind,), {name: refused(name) for name in _CHANGES})
    try:
        yield
    finally:
        model.__class__ = kind


@contextmanager
def quiet(model: Model) -> Iterator[Weights]:
    """Keeps what a loss notes apart from the sums of a model.

    Raises:
        CannotRecord: in the block, for a loss that notes two values under one name.
    """
    noted: Weights = {}

    def note(name: str, value: Tensor) -> None:
        if name in noted:
            raise CannotRecord(f"its loss notes {name} twice")
        noted[name] = value

    model.note = note
    try:
        yield noted
    finally:
        del model.note
