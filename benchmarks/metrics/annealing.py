"""Annealed importance sampling of log p(x) under a decoder, with its bidirectional check.

Neal 2001; for decoders Wu et al. 2017; the check is BDMC (Grosse et al. 2015). Many chains run at once: C chains for each
of N examples are one batch of C·N latents. Temperatures and step sizes are tuned for each example, in pilot runs with other
random numbers, so that the weights of the measuring run stay unbiased.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.metrics.base import at_least_one, progress
from benchmarks.metrics.chains import Chains, State, Target

# share of accepted proposals. Wu et al. 2017, sec. 4, take 0.65; a momentum that is kept loses its direction at each rejection
TARGET_ACCEPTANCE = 0.8
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


class Plan(NamedTuple):
    """Inverse temperatures from 0 to 1, (T + 1, N), and the step size at each but the first, (T, N)."""

    betas: Tensor
    steps: Tensor

    def first(self, n: int) -> "Plan":
        """The plan of the first n examples."""
        return Plan(self.betas[:, :n], self.steps[:, :n])


class Run(NamedTuple):
    """The result of chains.

    Args:
        log_weights: (C, N), in float64.
        state: the last states.
        acceptance: the share of accepted proposals.
        path: the log of the mean weight at each temperature, (T + 1, N).
    """

    log_weights: Tensor
    state: State
    acceptance: float
    path: Tensor

    def first(self, n: int) -> "Run":
        """The chains of the first n examples."""
        chains, examples = self.log_weights.shape
        parts = (part.view(chains, examples, *part.shape[1:])[:, :n].flatten(0, 1) for part in self.state)
        return Run(self.log_weights[:, :n], State(*parts), self.acceptance, self.path[:, :n])


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
    chains = Chains(target, leapfrog, generator)
    state = target.at(target.prior_draws(generator))
    log_weights = torch.zeros(target.chains, target.examples, dtype=torch.float64)
    path = [log_mean_weight(log_weights)]
    for t in progress(range(1, len(plan.betas)), label):
        log_weights += (plan.betas[t] - plan.betas[t - 1]) * chains.by_chain(state.log_likelihood)
        path.append(log_mean_weight(log_weights))
        state, _ = chains.move(state, plan.betas[t], plan.steps[t - 1])
    return Run(log_weights, state, chains.acceptance, torch.stack(path))


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
    chains = Chains(target, leapfrog, generator)
    state = target.at(z.repeat(target.chains, 1))
    log_weights = torch.zeros(target.chains, target.examples, dtype=torch.float64)
    for t in progress(range(len(plan.betas) - 1, 0, -1), label):
        state, _ = chains.move(state, plan.betas[t], plan.steps[t - 1])
        log_weights += (plan.betas[t - 1] - plan.betas[t]) * chains.by_chain(state.log_likelihood)
    return Run(log_weights, state, chains.acceptance, log_mean_weight(log_weights)[None])


def settle(target: Target, run: Run, plan: Plan, moves: int, leapfrog: int, generator: torch.Generator) -> Tensor:
    """One latent for each example, nearly a draw of its posterior, (N, Z): the start of backward chains on real examples.

    The ends of forward chains, drawn by their weights, go on at β = 1 for a number of transitions (Grosse et al. 2016,
    "Measuring the reliability of MCMC inference with bidirectional Monte Carlo", sec. 3.2).
    """
    chosen = torch.multinomial(run.log_weights.softmax(0).T, target.chains, replacement=True, generator=generator).T
    at = (chosen * target.examples + torch.arange(target.examples)).flatten().to(target.device)
    state = State(*(part[at] for part in run.state))
    chains = Chains(target, leapfrog, generator)
    for _ in range(moves):
        state, _ = chains.move(state, plan.betas[-1], plan.steps[-1])
    return state.z.view(target.chains, target.examples, -1)[0]


def tune(target: Target, settings: Settings, generator: torch.Generator, label: str) -> Plan:
    """Temperatures and step sizes for each example. Arguments as `tune_plans`."""
    return tune_plans(target, settings, (settings.temperatures,), generator, label)[0]


def tune_plans(
    target: Target, settings: Settings, numbers: tuple[int, ...], generator: torch.Generator, label: str
) -> list[Plan]:
    """A plan for each number of temperatures, from two pilot runs. The second run uses the first's temperatures.

    Temperatures have equal distances along ∫ Sd[log p(x|z)] dβ, so that each adds equally to the variance of the weights
    (Gelman & Meng 1998, sec. 4). Step sizes are those of the second pilot, which adapts them to `TARGET_ACCEPTANCE`.
    """
    pilot_temperatures = max(4, round(settings.pilot * settings.temperatures))
    betas = sigmoid_schedule(pilot_temperatures, target.examples)
    for _ in range(2):
        trace = pilot(target, betas, settings.leapfrog, generator, label)
        piloted, betas = betas, evenly(betas, trace.spread, pilot_temperatures)
    plans = []
    for number in numbers:
        even = evenly(piloted, trace.spread, number)
        plans.append(Plan(even, interpolate(even[1:], piloted[1:], trace.steps.log()).exp()))
    return plans


def pilot(target: Target, betas: Tensor, leapfrog: int, generator: torch.Generator, label: str) -> Trace:
    """A forward run that adapts its step sizes to the acceptance."""
    chains = Chains(target, leapfrog, generator)
    state = target.at(target.prior_draws(generator))
    step = first_steps(target)
    spreads, steps = [], []
    for t in progress(range(1, len(betas)), label):
        log_likelihood = chains.by_chain(state.log_likelihood)
        spreads.append(log_likelihood.std(0) if target.chains > 1 else log_likelihood[0].abs())
        state, accepted = chains.move(state, betas[t], step)
        step = adapted(step, accepted)
        steps.append(step)
    return Trace(torch.stack(spreads), torch.stack(steps))


def first_steps(target: Target) -> Tensor:
    """The step sizes that adaptation starts from, (N,)."""
    return torch.full((target.examples,), FIRST_STEP, dtype=torch.float64)


def adapted(step: Tensor, accepted: Tensor) -> Tensor:
    """Step sizes (N,) after a transition with these shares of accepted proposals, (N,)."""
    return step * (ADAPTATION * (accepted - TARGET_ACCEPTANCE)).exp()


def evenly(betas: Tensor, spread: Tensor, temperatures: int) -> Tensor:
    """Inverse temperatures at equal distances along ∫ spread dβ, (T' + 1, N) from (T + 1, N) and (T, N)."""
    window = 2 * min(5, (len(spread) - 1) // 2) + 1  # the spread of a few chains is noisy
    padded = torch.nn.functional.pad(spread.T[:, None], (window // 2, window // 2), mode="replicate")
    smooth = torch.nn.functional.avg_pool1d(padded, window, 1)[:, 0].T
    # above zero, so that no range of temperatures is skipped
    smooth = smooth.clamp(min=1e-3 * smooth.amax(0)).clamp(min=1e-6)
    length = torch.cat([torch.zeros_like(betas[:1]), (betas.diff(dim=0) * smooth).cumsum(0)])
    even = torch.linspace(0, 1, temperatures + 1, dtype=torch.float64)[:, None].expand(-1, betas.shape[1])
    return interpolate(even, length / length[-1], betas)


def interpolate(x: Tensor, x_known: Tensor, y_known: Tensor) -> Tensor:
    """Linear, column by column, constant outside. x: (M, N); x_known (rising), y_known: (K, N) -> (M, N)."""
    right = torch.searchsorted(x_known.T.contiguous(), x.T.contiguous()).T.clamp(1, len(x_known) - 1)
    x0, x1 = x_known.gather(0, right - 1), x_known.gather(0, right)
    y0, y1 = y_known.gather(0, right - 1), y_known.gather(0, right)
    share = ((x - x0) / (x1 - x0).clamp(min=1e-300)).clamp(0, 1)
    return y0 + share * (y1 - y0)
