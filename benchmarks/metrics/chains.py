"""Markov chains on the latents of a decoder: the density p(z) p(x|z)^β, and Hamiltonian transitions that leave it invariant."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.metrics.pullback import with_pullback
from models.contracts import Prior

# of the momentum, per unit of time
DAMPING = 1.0


class Target:
    """p(z) and p(x|z) = N(x; g(z), σ²I) of C chains for each of N examples.

    Args:
        decode: g, (B, Z) -> (B, ...).
        prior: p(z).
        x: (N, ...).
        sigma: σ.
        chains: C.
    """

    def __init__(self, decode: Callable[[Tensor], Tensor], prior: Prior, x: Tensor, sigma: float, chains: int) -> None:
        self.prior, self.sigma, self.chains = prior, sigma, chains
        self.examples = len(x)
        self.dimensions = x[0].numel()
        self.device = x.device
        self._x = x.flatten(1).repeat(chains, 1)
        self._decode = with_pullback(decode)

    def at(self, z: Tensor) -> "State":
        """log p(x|z) with its constant, and its gradient."""
        decoded, pullback = self._decode(z)
        residual = decoded.flatten(1) - self._x
        # the gradient of half the squared error with respect to g(z) is g(z) - x: one pass through g serves value and gradient
        gradient = pullback(residual.view_as(decoded))
        precision = self.sigma**-2
        return State(z, -0.5 * precision * residual.square().sum(1) - self.constant, -precision * gradient)

    @property
    def constant(self) -> float:
        """D (log σ + ½ log 2π), the constant part of -log p(x|z)."""
        return self.dimensions * (math.log(self.sigma) + 0.5 * math.log(2 * math.pi))

    def squared_errors(self, state: "State") -> Tensor:
        """‖x - g(z)‖² of a state that is known, (C·N,)."""
        return -2 * self.sigma**2 * (state.log_likelihood + self.constant)

    def rescaled(self, state: "State", sigma: float) -> "State":
        """The state under another σ, which becomes the target's. No decoder runs."""
        ratio = (self.sigma / sigma) ** 2
        exponent = ratio * (state.log_likelihood + self.constant)
        self.sigma = sigma
        return State(state.z, exponent - self.constant, ratio * state.gradient)

    def prior_draws(self, generator: torch.Generator) -> Tensor:
        return self.prior.sample(self.chains * self.examples, generator, self.device)


class State(NamedTuple):
    """Latents (C·N, Z), log p(x|z) (C·N,) and its gradient (C·N, Z)."""

    z: Tensor
    log_likelihood: Tensor
    gradient: Tensor


class Chains:
    """Hamiltonian transitions of all chains at once, with the count of accepted proposals.

    The momentum is refreshed in part (Horowitz 1991; Neal 2011, sec. 5.5.3), so that a chain keeps its direction over several
    transitions: p becomes ρ p + √(1 - ρ²) n with n ~ N(0, I) and ρ = exp(-`DAMPING` · length of the transition), and it changes
    its sign where a proposal is rejected. On the latents of a digits autoencoder this reaches with 500 temperatures what a
    full refreshment reaches with 1,500 (docs/scores.md).
    """

    def __init__(self, target: Target, leapfrog: int, generator: torch.Generator) -> None:
        self.target, self.leapfrog, self.generator = target, leapfrog, generator
        self._momentum: Tensor | None = None
        self._taken, self._moves = 0.0, 0

    @property
    def acceptance(self) -> float:
        return self._taken / max(self._moves, 1)

    def by_chain(self, x: Tensor) -> Tensor:
        """(C·N,) -> (C, N), in float64 on the CPU."""
        return x.double().cpu().view(self.target.chains, self.target.examples)

    def move(self, state: State, beta: Tensor, step: Tensor) -> tuple[State, Tensor]:
        """A transition that leaves p(z) p(x|z)^β N(p; 0, I) invariant, and the mean acceptance (N,). beta, step: (N,)."""
        target, prior = self.target, self.target.prior
        b, e = (v.float().repeat(target.chains).to(state.z)[:, None] for v in (beta, step))

        def energy(at: State, momentum: Tensor) -> Tensor:
            log_density = prior.log_prob(at.z) + b[:, 0] * at.log_likelihood
            return 0.5 * momentum.square().sum(1) - log_density

        def force(at: State) -> Tensor:
            return prior.score(at.z) + b * at.gradient

        momentum = self._refreshed(state.z, e)
        proposed, p = state, momentum + 0.5 * e * force(state)
        for i in range(self.leapfrog):
            # reflection keeps volume and is reversible, so the transition stays exact (Neal 2011, sec. 5.5.1)
            z, p = prior.reflect(proposed.z + e * p, p)
            proposed = target.at(z)
            p = p + (e if i + 1 < self.leapfrog else 0.5 * e) * force(proposed)
        # NaN (a step far outside) is never accepted
        accepted = (energy(state, momentum) - energy(proposed, p)).exp().clamp(max=1).nan_to_num(0.0)
        taken = torch.rand(len(p), generator=self.generator).to(accepted) < accepted
        moved = State(*(_where(taken, new, old) for new, old in zip(proposed, state, strict=True)))
        self._momentum = torch.where(taken[:, None], p, -momentum)
        means = self.by_chain(accepted).mean(0)
        self._taken, self._moves = self._taken + float(means.mean()), self._moves + 1
        return moved, means

    def _refreshed(self, z: Tensor, step: Tensor) -> Tensor:
        noise = torch.randn(z.shape, generator=self.generator).to(z)
        if self._momentum is None:
            return noise
        kept = (-DAMPING * self.leapfrog * step).exp()
        return kept * self._momentum + (1 - kept.square()).sqrt() * noise


def _where(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(chosen if new.dim() == 1 else chosen[:, None], new, old)
