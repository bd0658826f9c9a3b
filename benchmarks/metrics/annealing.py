"""Annealed importance sampling of log p(x) under a decoder, with its bidirectional check.

Neal 2001; for decoders Wu et al. 2017; the check is BDMC (Grosse et al. 2015). Many chains run at once: C chains for each
of N examples are one batch of C·N latents. Temperatures and step sizes are tuned for each example, in pilot runs with other
random numbers, so that the weights of the measuring run stay unbiased.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.metrics.base import at_least_one, progress
from models.contracts import Prior

# share of accepted proposals; Wu et al. 2017, sec. 4
TARGET_ACCEPTANCE = 0.65
# how fast a step size follows the acceptance in a pilot run
ADAPTATION = 0.6
FIRST_STEP = 0.1


@dataclass(frozen=True)
class Settings:
    """The settings of chains.

    Args:
        chains: C, for each example.
        temperatures: T, distributions from the prior to the posterior.
        leapfrog: steps of a Hamiltonian transition.
        pilot: temperatures of each of the two tuning runs, as a share of T.

    Raises:
        ValueError: for numbers out of range.
    """

    chains: int
    temperatures: int
    leapfrog: int
    pilot: float = 0.125

    def __post_init__(self) -> None:
        at_least_one("ais", chains=self.chains, temperatures=self.temperatures, leapfrog=self.leapfrog)
        if not 0 < self.pilot <= 1:
            raise ValueError(f"metric ais: pilot is {self.pilot}; expected a share of the temperatures, above 0")


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
        self.decode, self.prior, self.sigma, self.chains = decode, prior, sigma, chains
        self.examples = len(x)
        self.dimensions = x[0].numel()
        self.device = x.device
        self._x = x.flatten(1).repeat(chains, 1)

    def squared_error(self, z: Tensor) -> Tensor:
        """‖x - g(z)‖², (C·N, Z) -> (C·N,)."""
        return (self.decode(z).flatten(1) - self._x).square().sum(1)

    def at(self, z: Tensor) -> "State":
        """log p(x|z) with its constant, and its gradient."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            error = self.squared_error(z)
            (gradient,) = torch.autograd.grad(error.sum(), z)
        precision = self.sigma**-2
        constant = self.dimensions * (math.log(self.sigma) + 0.5 * math.log(2 * math.pi))
        return State(z.detach(), -0.5 * precision * error.detach() - constant, -0.5 * precision * gradient)

    def prior_draws(self, generator: torch.Generator) -> Tensor:
        return self.prior.sample(self.chains * self.examples, generator, self.device)


class State(NamedTuple):
    """Latents (C·N, Z), log p(x|z) (C·N,) and its gradient (C·N, Z)."""

    z: Tensor
    log_likelihood: Tensor
    gradient: Tensor


class Plan(NamedTuple):
    """Inverse temperatures from 0 to 1, (T + 1, N), and the step size at each but the first, (T, N)."""

    betas: Tensor
    steps: Tensor


class Run(NamedTuple):
    """The result of chains: log weights (C, N) in float64, the last states, and the share of accepted proposals."""

    log_weights: Tensor
    state: State
    acceptance: float


class Trace(NamedTuple):
    """A pilot run at each temperature, (T, N) each: the spread of log p(x|z) over chains, and the step size."""

    spread: Tensor
    steps: Tensor


def sigmoid_schedule(temperatures: int, examples: int, delta: float = 4.0) -> Tensor:
    """Inverse temperatures from 0 to 1 along a sigmoid, close together at both ends, (T + 1, N). Grosse et al. 2015."""
    line = torch.sigmoid(torch.linspace(-delta, delta, temperatures + 1, dtype=torch.float64))
    return ((line - line[0]) / (line[-1] - line[0]))[:, None].expand(-1, examples)


def log_mean_weight(log_weights: Tensor) -> Tensor:
    """The log of the mean weight over chains, (C, N) -> (N,). In expectation it is a lower bound of log p(x)."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def forward(target: Target, plan: Plan, leapfrog: int, generator: torch.Generator, label: str) -> Run:
    """Chains from draws of the prior to the posterior. The mean weight estimates p(x) without bias. Neal 2001, eq. 8."""
    chains = _Chains(target, leapfrog, generator)
    state = target.at(target.prior_draws(generator))
    log_weights = torch.zeros(target.chains, target.examples, dtype=torch.float64)
    for t in progress(range(1, len(plan.betas)), label):
        log_weights += (plan.betas[t] - plan.betas[t - 1]) * chains.apart(state.log_likelihood)
        state, _ = chains.move(state, plan.betas[t], plan.steps[t - 1])
    return Run(log_weights, state, chains.acceptance)


def backward(target: Target, plan: Plan, z: Tensor, leapfrog: int, generator: torch.Generator, label: str) -> Run:
    """Chains from exact draws of the posterior to the prior. Grosse et al. 2015, sec. 3.

    The mean weight estimates 1/p(x) without bias, so that minus its log is in expectation an upper bound of log p(x).

    Args:
        target: the densities.
        plan: tuned temperatures and step sizes.
        z: (N, Z), one draw of the posterior for each example.
        leapfrog: steps of a transition.
        generator: of the random numbers.
        label: of the progress bar.
    """
    chains = _Chains(target, leapfrog, generator)
    state = target.at(z.repeat(target.chains, 1))
    log_weights = torch.zeros(target.chains, target.examples, dtype=torch.float64)
    for t in progress(range(len(plan.betas) - 1, 0, -1), label):
        state, _ = chains.move(state, plan.betas[t], plan.steps[t - 1])
        log_weights += (plan.betas[t - 1] - plan.betas[t]) * chains.apart(state.log_likelihood)
    return Run(log_weights, state, chains.acceptance)


def tune(target: Target, settings: Settings, generator: torch.Generator, label: str) -> Plan:
    """Temperatures and step sizes for each example, from two pilot runs. The second run uses the first's temperatures.

    Temperatures have equal distances along ∫ Sd[log p(x|z)] dβ, so that each adds equally to the variance of the weights
    (Gelman & Meng 1998, sec. 4). Step sizes are those of the second pilot, which adapts them to `TARGET_ACCEPTANCE`.
    """
    few = max(4, round(settings.pilot * settings.temperatures))
    betas = sigmoid_schedule(few, target.examples)
    for _ in range(2):
        _, trace = pilot(target, betas, settings.leapfrog, generator, label)
        piloted, betas = betas, evenly(betas, trace.spread, few)
    betas = evenly(piloted, trace.spread, settings.temperatures)
    return Plan(betas, _interpolate(betas[1:], piloted[1:], trace.steps.log()).exp())


def pilot(target: Target, betas: Tensor, leapfrog: int, generator: torch.Generator, label: str) -> tuple[Run, Trace]:
    """A forward run that adapts its step sizes to the acceptance. Its weights serve tuning only."""
    chains = _Chains(target, leapfrog, generator)
    state = target.at(target.prior_draws(generator))
    log_weights = torch.zeros(target.chains, target.examples, dtype=torch.float64)
    step = torch.full((target.examples,), FIRST_STEP, dtype=torch.float64)
    spreads, steps = [], []
    for t in progress(range(1, len(betas)), label):
        log_likelihood = chains.apart(state.log_likelihood)
        spreads.append(log_likelihood.std(0) if target.chains > 1 else log_likelihood[0].abs())
        log_weights += (betas[t] - betas[t - 1]) * log_likelihood
        state, accepted = chains.move(state, betas[t], step)
        step = step * (ADAPTATION * (accepted - TARGET_ACCEPTANCE)).exp()
        steps.append(step)
    return Run(log_weights, state, chains.acceptance), Trace(torch.stack(spreads), torch.stack(steps))


def evenly(betas: Tensor, spread: Tensor, temperatures: int) -> Tensor:
    """Inverse temperatures at equal distances along ∫ spread dβ, (T' + 1, N) from (T + 1, N) and (T, N)."""
    window = 2 * min(5, (len(spread) - 1) // 2) + 1  # the spread of a few chains is noisy
    padded = torch.nn.functional.pad(spread.T[:, None], (window // 2, window // 2), mode="replicate")
    smooth = torch.nn.functional.avg_pool1d(padded, window, 1)[:, 0].T
    # above zero, so that no range of temperatures is skipped
    smooth = smooth.clamp(min=1e-3 * smooth.amax(0)).clamp(min=1e-6)
    length = torch.cat([torch.zeros_like(betas[:1]), (betas.diff(dim=0) * smooth).cumsum(0)])
    even = torch.linspace(0, 1, temperatures + 1, dtype=torch.float64)[:, None].expand(-1, betas.shape[1])
    return _interpolate(even, length / length[-1], betas)


def tune_sigma(
    decode: Callable[[Tensor], Tensor],
    prior: Prior,
    x: Tensor,
    settings: Settings,
    rounds: int,
    generator: torch.Generator,
    label: str,
) -> list[float]:
    """σ of the observation model, by expectation maximisation on examples x (N, ...). One value a round; the last is used.

    Each round, σ² becomes the posterior mean of ‖x - g(z)‖² over the dimensions (its maximum-likelihood value given
    p(z|x)). The weighted ends of annealed chains are the draws of p(z|x). The first value is the mean over the prior.
    """
    target = Target(decode, prior, x, 1.0, settings.chains)
    error = target.at(target.prior_draws(generator)).log_likelihood
    constant = 0.5 * math.log(2 * math.pi) * target.dimensions
    sigmas = [_sigma((-2 * (error + constant)).double().mean(), target.dimensions)]
    few = max(4, round(2 * settings.pilot * settings.temperatures))
    betas = sigmoid_schedule(few, len(x))
    for _ in range(rounds):
        target.sigma = sigmas[-1]
        run, trace = pilot(target, betas, settings.leapfrog, generator, label)
        weights = run.log_weights.softmax(0)
        with torch.no_grad():
            error = target.squared_error(run.state.z).double().cpu().view_as(weights)
        sigmas.append(_sigma((weights * error).sum(0).mean(), target.dimensions))
        betas = evenly(betas, trace.spread, few)
    return sigmas


class _Chains:
    """Hamiltonian transitions (Neal 2011, sec. 5.3.2.1) of all chains at once, with the count of accepted proposals."""

    def __init__(self, target: Target, leapfrog: int, generator: torch.Generator) -> None:
        self.target, self.leapfrog, self.generator = target, leapfrog, generator
        self._taken, self._moves = 0.0, 0

    @property
    def acceptance(self) -> float:
        return self._taken / max(self._moves, 1)

    def apart(self, x: Tensor) -> Tensor:
        """(C·N,) -> (C, N), in float64 on the CPU."""
        return x.double().cpu().view(self.target.chains, self.target.examples)

    def move(self, state: State, beta: Tensor, step: Tensor) -> tuple[State, Tensor]:
        """A transition that leaves p(z) p(x|z)^β invariant, and the mean acceptance (N,). beta, step: (N,)."""
        target, prior = self.target, self.target.prior
        b, e = (v.float().repeat(target.chains).to(state.z)[:, None] for v in (beta, step))

        def energy(at: State, momentum: Tensor) -> Tensor:
            log_density = prior.log_prob(at.z) + b[:, 0] * at.log_likelihood
            return 0.5 * momentum.square().sum(1) - log_density

        def force(at: State) -> Tensor:
            return prior.score(at.z) + b * at.gradient

        momentum = torch.randn(state.z.shape, generator=self.generator).to(state.z)
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
        means = self.apart(accepted).mean(0)
        self._taken, self._moves = self._taken + float(means.mean()), self._moves + 1
        return moved, means


def _where(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(chosen if new.dim() == 1 else chosen[:, None], new, old)


def _sigma(squared_error: Tensor, dimensions: int) -> float:
    # a hundredth of a grey level; a smaller σ would only measure the rounding of float32
    return max(math.sqrt(float(squared_error) / dimensions), 4e-5)


def _interpolate(x: Tensor, x_known: Tensor, y_known: Tensor) -> Tensor:
    """Linear, column by column, constant outside. x: (M, N); x_known (rising), y_known: (K, N) -> (M, N)."""
    right = torch.searchsorted(x_known.T.contiguous(), x.T.contiguous()).T.clamp(1, len(x_known) - 1)
    x0, x1 = x_known.gather(0, right - 1), x_known.gather(0, right)
    y0, y1 = y_known.gather(0, right - 1), y_known.gather(0, right)
    share = ((x - x0) / (x1 - x0).clamp(min=1e-300)).clamp(0, 1)
    return y0 + share * (y1 - y0)
