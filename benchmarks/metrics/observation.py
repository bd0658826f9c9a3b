"""The noise σ of the observation model p(x|z) = N(x; g(z), σ²I), by maximum likelihood.

Annealing from the prior to p(z|x) passes through every larger σ on its way: N(x; g, σ²)^β is, up to a constant, the density
with the noise σ/√β. So one run gives log p(x) for a whole range of σ, and σ needs no separate runs and no expectation
maximisation.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.metrics.annealing import Plan, Run, Settings, adapted, first_steps, forward, tune
from benchmarks.metrics.base import progress
from benchmarks.metrics.chains import Chains, Target
from models.contracts import Prior

# a hundredth of a grey level; a smaller σ would only measure the rounding of float32
LEAST_SIGMA = 4e-5
# neighbouring values of the search, as a factor
FACTOR = 2**0.125
# transitions of the rough search, as a share of the temperatures of a round
ROUGH_SHARE = 0.25
# where a round ends, as a share of the last σ; the first is lower, because the rough search mostly ends too high
END, FIRST_END = math.sqrt(0.5), 0.6
# a round whose end is further from the end of the tuned temperatures, as a factor, tunes them again
REUSE = 2


@dataclass(frozen=True)
class SigmaSearch:
    """The result of a search.

    Args:
        sigma: the value with the highest log-likelihood, the last of the rounds.
        rounds: the value after the rough search, and after each round.
        curve: pairs of σ and the mean log-likelihood of the examples in nats, by half-octaves.
        has_settled: whether the last round moved σ by less than the tolerance.
    """

    sigma: float
    rounds: tuple[float, ...]
    curve: tuple[tuple[float, float], ...]
    has_settled: bool


def tune_sigma(
    decode: Callable[[Tensor], Tensor],
    prior: Prior,
    x: Tensor,
    settings: Settings,
    tolerance: float,
    most_rounds: int,
    generator: torch.Generator,
    label: str,
) -> SigmaSearch:
    """Searches σ on examples x (N, ...), from a rough value that a short run finds.

    Every round anneals as long as the measurement does, to just below the last σ, and gives the peak of the likelihood. The
    peak depends on the end: a run to a smaller σ lacks more there, and its peak is at a larger σ. Steps to the peak would
    overshoot. So σ goes all the way to the peak in the first round, and half of the way in later rounds. If the peak rises by
    no more than the end falls, on the scale of log σ, then at most one more such step is missing.

    Args:
        decode: g, (B, Z) -> (B, ...).
        prior: p(z).
        x: the examples.
        settings: of the chains.
        tolerance: the search ends when the logarithm of σ moves by less.
        most_rounds: the search ends at the latest after this number of rounds.
        generator: of the random numbers.
        label: of the progress bar.
    """
    target = Target(decode, prior, x, 1.0, settings.chains)
    largest, sigma = rough_sigma(target, settings, generator, label)
    rounds, has_settled = [sigma], False
    curve: tuple[tuple[float, float], ...] = ()
    tuned_at, tuned = math.inf, None
    for number in range(most_rounds):
        target.sigma = end = max(sigma * (END if number else FIRST_END), LEAST_SIGMA)
        if tuned is None or abs(math.log(end / tuned_at)) > math.log(REUSE):
            tuned_at, tuned = end, tune(target, settings, generator, label)
        # the width of the posterior is about in proportion to σ
        plan = Plan(tuned.betas, tuned.steps * (end / tuned_at))
        run = forward(target, plan, settings.leapfrog, generator, label)
        count = max(2, math.ceil(math.log(max(largest / end, FACTOR), FACTOR)) + 1)
        sigmas = end * FACTOR ** np.arange(count)
        values = log_likelihoods(target, plan.betas, run, sigmas)
        peak = _peak(sigmas, values, int(np.argmax(values)))
        sigma = peak if number == 0 else math.sqrt(sigma * peak)
        curve = tuple((float(s), float(v)) for s, v in zip(sigmas[::4], values[::4], strict=True) if s < 16 * sigma)
        rounds.append(sigma)
        has_settled = abs(math.log(rounds[-1] / rounds[-2])) < tolerance
        if has_settled:
            break
    return SigmaSearch(sigma, tuple(rounds), curve, has_settled)


def rough_sigma(target: Target, settings: Settings, generator: torch.Generator, label: str) -> tuple[float, float]:
    """The σ of draws from the prior, and a rough maximum-likelihood σ. The target keeps the latter.

    The maximum is where σ² is the mean of ‖x - g(z)‖² / D over the posterior. Chains and σ take turns: a transition under the
    present σ, then σ from the errors (stochastic EM, Celeux & Diebolt 1985). The error of an example is the least of its
    chains', because many chains are still on their way.
    """
    state = target.at(target.prior_draws(generator))
    errors = target.squared_errors(state)
    largest = max(math.sqrt(float(errors.mean()) / target.dimensions), LEAST_SIGMA)
    chains = Chains(target, settings.leapfrog, generator)
    beta, step = torch.ones(target.examples, dtype=torch.float64), first_steps(target)
    state = target.rescaled(state, largest)
    for _ in progress(range(max(4, round(ROUGH_SHARE * settings.temperatures))), label):
        state, accepted = chains.move(state, beta, step)
        step = adapted(step, accepted)
        error = chains.by_chain(target.squared_errors(state)).amin(0).mean()
        state = target.rescaled(state, max(math.sqrt(float(error) / target.dimensions), LEAST_SIGMA))
    return largest, target.sigma


def log_likelihoods(target: Target, betas: Tensor, run: Run, sigmas: Sequence[float] | np.ndarray) -> np.ndarray:
    """The mean log-likelihood of the examples for each σ at or above the target's, (S,), from one forward run.

    Args:
        target: with the smallest σ.
        betas: the temperatures of the run, (T + 1, N).
        run: the forward run.
        sigmas: the values of σ.
    """
    # without the normalising constant of the likelihood: log E exp(-β ‖x - g(z)‖² / 2σ²)
    unnormalised = (run.path + betas * target.constant).numpy()
    values = []
    for sigma in sigmas:
        at = (target.sigma / sigma) ** 2
        terms = [np.interp(at, betas[:, i].numpy(), unnormalised[:, i]) for i in range(target.examples)]
        values.append(np.mean(terms) - target.dimensions * (math.log(sigma) + 0.5 * math.log(2 * math.pi)))
    return np.array(values)


def _peak(sigmas: np.ndarray, values: np.ndarray, best: int) -> float:
    """The peak of the parabola through the best value and its neighbours, on the scale of log σ."""
    if not 0 < best < len(values) - 1:
        return float(sigmas[best])
    left, middle, right = values[best - 1 : best + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(sigmas[best] * FACTOR ** np.clip(shift, -1, 1))
