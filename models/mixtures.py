"""Priors with tensors of their own: a base for every prior that is a module, and mixtures of Gaussians."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from models.priors import great_circle_midpoint


class PriorModule(nn.Module, ABC):
    """p(z) > 0 on all of R^Z, with tensors of its own: they move with the model, and a player may train them.

    A subclass adds draws, the density and its moments; what samplers of latents ask for follows from them.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Tensor:
        """As `Prior.sample`."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, (..., Z) -> (...)."""

    @abstractmethod
    def moments(self) -> tuple[Tensor, Tensor]:
        """The mean, (Z,), and the covariance, (Z, Z)."""

    def score(self, z: Tensor) -> Tensor:
        gradient: Tensor = torch.func.grad(lambda z: self.log_prob(z).sum())(z)
        return gradient

    def project(self, z: Tensor) -> Tensor:
        return z

    def reflect(self, z: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        return z, momentum

    def midpoint(self, a: Tensor, b: Tensor) -> Tensor:
        """On the great circle of whitened latents, about the prior's mean: `Normal.midpoint` for N(0, I)."""
        mean, covariance = (moment.detach().to(a) for moment in self.moments())
        factor = torch.linalg.cholesky(covariance)
        a, b = (torch.linalg.solve_triangular(factor, (z - mean).T, upper=False).T for z in (a, b))
        return mean + great_circle_midpoint(a, b) @ factor.T


class Mixture(PriorModule, ABC):
    """Σₖ wₖ N(mₖ, Sₖ Sₖᵀ), a mixture of K Gaussians."""

    @abstractmethod
    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """log wₖ (K,), mₖ (K, Z), and lower triangular Sₖ (K, Z, Z)."""

    def sample(self, n: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Tensor:
        log_weights, means, factors = self.components()
        source = generator.device if generator else device or means.device
        chosen = torch.multinomial(log_weights.exp().to(source), n, replacement=True, generator=generator)
        noise = torch.randn(n, self.dim, generator=generator, device=source).to(means)
        chosen = chosen.to(means.device)
        return (means[chosen] + torch.einsum("nij,nj->ni", factors[chosen], noise)).to(device or source)

    def log_prob(self, z: Tensor) -> Tensor:
        log_weights, means, factors = self.components()
        centred = (z.reshape(-1, 1, self.dim) - means).permute(1, 2, 0)
        white = torch.linalg.solve_triangular(factors, centred, upper=False)
        log_volume = factors.diagonal(dim1=1, dim2=2).log().sum(1)
        constant = log_weights - log_volume - 0.5 * self.dim * math.log(2 * math.pi)
        return (constant[:, None] - 0.5 * white.square().sum(1)).logsumexp(0).view(z.shape[:-1])

    def moments(self) -> tuple[Tensor, Tensor]:
        log_weights, means, factors = self.components()
        weights = log_weights.exp()
        mean = weights @ means
        centred = means - mean
        within = torch.einsum("k,kij,klj->il", weights, factors, factors)
        return mean, within + torch.einsum("k,ki,kj->ij", weights, centred, centred)


class FittedMixture(Mixture):
    """A mixture of Gaussians of full covariance, fitted to codes by expectation maximisation; N(0, I) before the fit.

    Args:
        dim: Z.
        components: K.
    """

    log_weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, dim: int, components: int) -> None:
        super().__init__(dim)
        if components < 1:
            raise ValueError(f"model.prior.components is {components}; expected 1 or more")
        self.register_buffer("log_weights", torch.full((components,), -math.log(components)))
        self.register_buffer("means", torch.zeros(components, dim))
        self.register_buffer("factors", torch.eye(dim).repeat(components, 1, 1))

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.log_weights, self.means, self.factors

    def fit(self, codes: Tensor) -> None:
        """Fits the mixture to codes (N, Z). torch's global random numbers choose where the fit starts.

        Raises:
            ValueError: for fewer codes than components.
        """
        from sklearn.mixture import GaussianMixture  # here, because it takes half a second to load

        start = int(torch.randint(2**31, ()))
        fitted = GaussianMixture(len(self.means), random_state=start, max_iter=200).fit(codes.double().cpu().numpy())
        covariances = torch.from_numpy(fitted.covariances_)
        self.log_weights.copy_(torch.from_numpy(fitted.weights_).log())
        self.means.copy_(torch.from_numpy(fitted.means_))
        self.factors.copy_(torch.linalg.cholesky(covariances))
