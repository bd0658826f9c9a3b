"""Models whose decoder is an ordinary differential equation: X = g(Z) is the solution at time 1 that starts at Z."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from models.densities import DensityModel, dequantised
from models.game import OptimizerFactory, Player
from models.priors import Normal

# points of at most so many dimensions have an exact divergence; others Hutchinson's estimate of one draw
EXACT_DIMENSIONS = 4


class Pieces(TypedDict):
    """The arguments of `ContinuousModel`, which a paper's model passes on."""

    field: nn.Module
    shape: Sequence[int]
    optimizer: OptimizerFactory
    steps: int
    ema_decay: NotRequired[float | None]
    trunk: NotRequired[None]
    decoder: NotRequired[None]


class ODEDecoder(nn.Module, ABC):
    """dx/ds = v(x, s) from s = 0 (latents) to s = 1 (examples), by the midpoint method with equal steps.

    Args:
        field: the network of an example and a time.
        shape: of an example.
        steps: of the solver; each evaluates the field twice.

    Raises:
        ValueError: for fewer steps than 1.
    """

    def __init__(self, field: nn.Module, shape: Sequence[int], steps: int) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"model.steps is {steps}; expected 1 or more")
        self.field, self.shape, self.steps, self.dim = field, tuple(shape), steps, math.prod(shape)

    @abstractmethod
    def velocity(self, x: Tensor, s: Tensor) -> Tensor:
        """v, (B, *shape) and (B,) -> (B, *shape)."""

    def forward(self, z: Tensor) -> Tensor:
        """Latents (B, D) -> examples (B, *shape)."""
        x = z.unflatten(1, self.shape)
        h = 1 / self.steps
        for i in range(self.steps):
            half = x + h / 2 * self.velocity(x, self._times(x, i * h))
            x = x + h * self.velocity(half, self._times(x, (i + 0.5) * h))
        return x

    def encode(self, x: Tensor) -> Tensor:
        """Examples (B, *shape) -> latents (B, D): the same equation from s = 1 to s = 0."""
        h = 1 / self.steps
        for i in reversed(range(self.steps)):
            half = x - h / 2 * self.velocity(x, self._times(x, (i + 1) * h))
            x = x - h * self.velocity(half, self._times(x, (i + 0.5) * h))
        return x.flatten(1)

    def encode_with_volume(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, D), and log |det ∂z/∂x| = -∫ div v ds, (B,). Chen et al. 2018, eq. 8.

        The divergence is exact for points of few dimensions; for images it is Hutchinson's unbiased estimate with one draw of
        signs for each example (Grathwohl et al. 2019, eq. 7).
        """
        h = 1 / self.steps
        signs = torch.randint_like(x, 2) * 2 - 1
        total = x.new_zeros(len(x))
        for i in reversed(range(self.steps)):
            half = x - h / 2 * self.velocity(x, self._times(x, (i + 1) * h))
            velocity, divergence = self._with_divergence(half, self._times(x, (i + 0.5) * h), signs)
            x, total = x - h * velocity, total - h * divergence
        return x.flatten(1), total

    def _with_divergence(self, x: Tensor, s: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
        def of(x: Tensor) -> Tensor:
            return self.velocity(x, s)

        if self.dim > EXACT_DIMENSIONS:
            velocity, along = _jvp(of, x, signs)
            return velocity, (along * signs).flatten(1).sum(1)
        directions = torch.eye(self.dim, dtype=x.dtype, device=x.device).unflatten(1, self.shape)
        parts = [_jvp(of, x, direction.expand_as(x).contiguous()) for direction in directions]
        divergence = torch.stack(
            [(along * direction).flatten(1).sum(1) for (_, along), direction in zip(parts, directions, strict=True)]
        )
        return parts[0][0], divergence.sum(0)

    def _times(self, x: Tensor, s: float) -> Tensor:
        return torch.full((len(x),), s, dtype=x.dtype, device=x.device)


class ContinuousModel(DensityModel, ABC):
    """A field, trained by the loss of a paper, and the ODE along it from N(0, I) to examples.

    Pixels are dequantised and scaled to [-1, 1].

    Args:
        field: the network of an example and a time.
        shape: of an example.
        optimizer: the function that makes the optimiser of the field.
        steps: of the ODE's solver; each evaluates the field twice.
        ema_decay: as `GenerativeModel`.
        trunk, decoder: null; the networks of `network` have no part in these families.
    """

    decoder_class: ClassVar[type[ODEDecoder]]

    def __init__(
        self,
        field: nn.Module,
        shape: Sequence[int],
        optimizer: OptimizerFactory,
        steps: int,
        ema_decay: float | None = None,
        trunk: None = None,
        decoder: None = None,
    ) -> None:
        self.is_images = len(shape) == 3
        ode = self.decoder_class(field, shape, steps)
        super().__init__(ode, Normal(ode.dim), self.unscaled, ema_decay)
        self.optimizer = optimizer

    def players(self) -> Sequence[Player]:
        return [Player("field", self.decoder, self.loss, self.optimizer, samples=True)]

    @abstractmethod
    def loss(self, x: Tensor) -> Tensor:
        """The field's loss on a real minibatch, (B, ...) -> scalar."""

    def training_example(self, x: Tensor) -> Tensor:
        """(B, ...) in the data's range -> (B, ...) in the network's."""
        return self.scaled(dequantised(x) if self.is_images else x)

    def scaled(self, x: Tensor) -> Tensor:
        return 2 * x - 1 if self.is_images else x

    def unscaled(self, y: Tensor) -> Tensor:
        return ((y + 1) / 2).clamp(0, 1) if self.is_images else y

    @property
    def ode(self) -> ODEDecoder:
        assert isinstance(self.decoder, ODEDecoder)
        return self.decoder

    @property
    def decoder_evaluations(self) -> int:
        return 2 * self.ode.steps

    def encode(self, x: Tensor) -> Tensor:
        return self.ode.encode(self.scaled(x))

    def log_prob(self, x: Tensor) -> Tensor:
        z, log_det = self.ode.encode_with_volume(self.scaled(x))
        return self.prior.log_prob(z) + log_det + (self.ode.dim * math.log(2) if self.is_images else 0.0)


def _jvp(f: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """f(x), and the derivative of f along a direction, of the shape of x each."""
    value, along = torch.func.jvp(f, (x,), (direction,))[:2]
    return value, along
