"""What a model can do. Evaluation asks for these capabilities and never for a model's name.

Images are float32 in [0, 1] of shape (B, C, H, W), points are (B, D), latents (B, Z). Log-likelihoods are in nats per
example, summed over every dimension, with every constant.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


class Elbo(NamedTuple):
    """The two parts of the evidence lower bound, each (B,), in nats: log p(x) >= reconstruction - kl.

    Kingma & Welling 2014, eq. 3. Where the KL has no closed form it is log q(z|x) - log p(z) of one draw, which may be below 0
    for an example; its mean over draws is not.
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def value(self) -> Tensor:
        """The bound itself, at KL weight 1 whatever weight the model was trained with. (B,)"""
        return self.reconstruction - self.kl


@runtime_checkable
class Prior(Protocol):
    """p(z), a distribution over latents that is simple to sample. A prior with tensors of its own is a module."""

    dim: int

    def sample(self, n: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Tensor:
        """(n, Z) draws, made on the generator's device and moved to `device`; without a generator, made on `device`."""
        ...

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, (B, Z) -> (B,)."""
        ...

    def score(self, z: Tensor) -> Tensor:
        """The gradient of log p(z) inside the support, (B, Z) -> (B, Z)."""
        ...

    def project(self, z: Tensor) -> Tensor:
        """The nearest latent in the support of the prior, (B, Z) -> (B, Z)."""
        ...

    def reflect(self, z: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """The position and momentum of particles after reflection at the walls of the prior's support, (B, Z) each."""
        ...

    def midpoint(self, a: Tensor, b: Tensor) -> Tensor:
        """The midpoint of a path from a to b through likely latents of the prior, (B, Z) -> (B, Z)."""
        ...


@runtime_checkable
class Samples(Protocol):
    """Draws from the model's distribution."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, ...) examples in the data's range. Latents are drawn from `generator`, on its device."""
        ...


@runtime_checkable
class Drawn(Protocol):
    """Has the samples that were drawn elsewhere, and no others."""

    def drawn(self, n: int) -> Tensor:
        """n samples, (n, ...) in the data's range, always the same ones.

        Raises:
            ValueError: if there are fewer.
        """
        ...


@runtime_checkable
class Decodes(Protocol):
    """Decodes a latent: X = g(Z)."""

    prior: Prior

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z), (B, Z) -> (B, ...)."""
        ...


class Composition(tuple[Callable[[Tensor], Tensor], ...]):
    """Functions and modules in their order; their composition is a function."""

    def __call__(self, x: Tensor) -> Tensor:
        for part in self:
            x = part(x)
        return x


@runtime_checkable
class Folds(Protocol):
    """Makes a cheaper decoder for metrics that decode many thousand times."""

    def folded_decode(self) -> Callable[[Tensor], Tensor]:
        """A function that equals `decode` in evaluation mode at the present weights, to rounding.

        Gradients exist with respect to the latents only.
        """
        ...


@runtime_checkable
class Composes(Protocol):
    """Has a decoder that is made of parts."""

    def composed_decode(self) -> Composition:
        """What `decode` is made of, at the present weights. It equals `decode` in evaluation mode to the bit, or to rounding if
        folding makes it much cheaper."""
        ...


@runtime_checkable
class Reconstructs(Protocol):
    """Encodes and decodes an example."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...), without noise: the decoded code, or the decoded mean of a posterior."""
        ...


@runtime_checkable
class Encodes(Protocol):
    """Encodes an example."""

    def encode(self, x: Tensor) -> Tensor:
        """The code, (B, ...) -> (B, Z): the mean of the posterior if there is one."""
        ...

    def draw_code(self, x: Tensor) -> Tensor:
        """One draw of q(z|x), (B, ...) -> (B, Z); the code if q(z|x) is a point."""
        ...


@runtime_checkable
class Bounds(Protocol):
    """Bounds log p(x) from below."""

    def elbo(self, x: Tensor) -> Elbo:
        """One draw of the posterior per example; both parts (B,), in nats."""
        ...

    def log_weights(self, x: Tensor, k: int) -> Tensor:
        """k sampled log importance weights log p(x, z) - log q(z|x), (k, B). Burda et al. 2016, eq. 8."""
        ...

    def why_no_density(self, binary: bool) -> str | None:
        """Why the model has no bound on binary (or grey) data; None if it has one."""
        ...


@runtime_checkable
class Densities(Protocol):
    """Has the exact density of an example."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (B, ...) -> (B,). Images are dequantised, in [0, 1]."""
        ...

    def why_no_density(self, binary: bool) -> str | None:
        """Why the model has no density of binary (or grey) data; None if it has one."""
        ...


@runtime_checkable
class Lacks(Protocol):
    """Says why it lacks some of the capabilities above."""

    lacking: Mapping[type, str]


@runtime_checkable
class Calibrates(Protocol):
    """Sets parameters that no gradient learns, once, from validation data."""

    def calibrate(self, batches: Iterable[Tensor]) -> None: ...


@runtime_checkable
class FitsPrior(Protocol):
    """Replaces its prior by a density that is fitted to the codes of training data, after training, before any scoring."""

    def fit_prior(self, batches: Iterable[Tensor]) -> None:
        """Called inside `scoring`, on batches (B, ...) of every training example."""
        ...
