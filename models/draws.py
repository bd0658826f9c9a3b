"""The random numbers of a loss, drawn ahead of it: for each of several models, what the model would draw alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# by kind of device
Generators = Mapping[str, torch.Generator]

# how each random function of torch fills an empty tensor
_FILLS: Mapping[Any, str] = {
    torch.randn: "normal_",
    torch.randn_like: "normal_",
    torch.rand: "uniform_",
    torch.rand_like: "uniform_",
    torch.randint: "random_",
    torch.randint_like: "random_",
}


class CannotStack(Exception):
    """Models cannot be trained as a stack; the message says why."""


@dataclass(frozen=True)
class Draw:
    """A call of a random function: how an empty tensor is filled, and its layout."""

    fill: str
    bounds: tuple[int, ...]
    size: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def for_each(self, generators: Sequence[Generators]) -> Tensor:
        """(S, ...): what each model would draw alone."""
        span = (
            1 + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True)) if self.size.numel() else 0
        )
        size, stride = (len(generators), *self.size), (span, *self.stride)
        drawn = torch.empty_strided(size, stride, dtype=self.dtype, device=self.device)
        for own, generator in zip(drawn, generators, strict=True):
            getattr(own, self.fill)(*self.bounds, generator=generator[self.device.type])
        return drawn


class Listen(TorchFunctionMode):
    """Notes the draws of a loss, and their values."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Draw] = []
        self.values: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        value = func(*args, **kwargs)
        if func in _FILLS:
            _refuse_generator(kwargs)
            bounds = _bounds(func, args, kwargs)
            self.draws.append(Draw(_FILLS[func], bounds, value.shape, value.stride(), value.dtype, value.device))
            self.values.append(value.detach())
        return value


class Feed(TorchFunctionMode):
    """Answers the draws of a loss with tensors, in their order."""

    def __init__(self, drawn: Sequence[Tensor]) -> None:
        super().__init__()
        self._left = iter(drawn)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _FILLS:
            try:
                return next(self._left)
            except StopIteration:
                raise CannotStack("a loss draws other random numbers in other turns") from None
        return func(*args, **(kwargs or {}))


def _refuse_generator(kwargs: Mapping[str, Any]) -> None:
    if kwargs.get("generator") is not None:
        raise CannotStack("a loss draws from a generator of its own")


def _bounds(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    """The arguments of `random_`: from and to, of the forms randint(high, size) and randint(low, high, size)."""
    if _FILLS[func] != "random_":
        return ()
    numbers = [a for a in (args[1:] if func is torch.randint_like else args) if isinstance(a, int)]
    if "high" in kwargs:
        numbers.append(kwargs["high"])
    if "low" in kwargs:
        numbers.insert(0, kwargs["low"])
    return (0, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
