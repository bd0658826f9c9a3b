"""What families with an encoder share: the encoder gives a code, or the parameters of a Gaussian posterior."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from models.contracts import Prior
from models.game import GenerativeModel, OptimizerFactory
from models.networks import with_head


class Pieces(TypedDict):
    """The arguments of `EncoderModel`, which a paper's model passes on."""

    trunk: nn.Module
    decoder: nn.Module
    prior: Prior
    squash: Callable[[Tensor], Tensor]
    optimizer: OptimizerFactory
    ema_decay: NotRequired[float | None]


class EncoderModel(GenerativeModel, ABC):
    """An encoder and a decoder g.

    Args:
        trunk: the map from examples to features; the encoder is a linear layer on the features.
        decoder: the map from latents to raw outputs.
        prior: the distribution of the latents of samples.
        squash: the map from raw outputs to the data's range.
        optimizer: the function that makes the optimiser of each player.
        ema_decay: as `GenerativeModel`.
    """

    # what the encoder gives for each latent
    outputs: ClassVar[int]

    def __init__(
        self,
        trunk: nn.Module,
        decoder: nn.Module,
        prior: Prior,
        squash: Callable[[Tensor], Tensor],
        optimizer: OptimizerFactory,
        ema_decay: float | None = None,
    ) -> None:
        super().__init__(decoder, prior, squash, ema_decay)
        self.encoder = with_head(trunk, self.outputs * prior.dim)
        self.optimizer = optimizer

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """The code, (B, ...) -> (B, Z)."""

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class CodeModel(EncoderModel, ABC):
    """An encoder e with one code for each example."""

    outputs = 1

    def encode(self, x: Tensor) -> Tensor:
        """The code, (B, ...) -> (B, Z)."""
        code: Tensor = self.encoder(x)
        return code

    def draw_code(self, x: Tensor) -> Tensor:
        return self.encode(x)


class PosteriorModel(EncoderModel, ABC):
    """An encoder of q(z|x) = N(mu(x), diag σ(x)²)."""

    outputs = 2

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var) of q(z|x), (B, Z) each."""
        mu, log_var = self.encoder(x).chunk(2, dim=-1)
        return mu, log_var

    def encode(self, x: Tensor) -> Tensor:
        """The posterior's mean, (B, ...) -> (B, Z)."""
        return self.posterior(x)[0]

    def draw_code(self, x: Tensor) -> Tensor:
        return draw_gaussian(*self.posterior(x))


def draw_gaussian(mu: Tensor, log_var: Tensor) -> Tensor:
    """z ~ N(mu, σ²) by reparametrisation, of the same shape. Kingma & Welling 2014, sec. 2.4."""
    return mu + (0.5 * log_var).exp() * torch.randn_like(mu)
