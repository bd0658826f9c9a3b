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

from benchmarks.metrics.annealing import Run, Settings, forward, tune
from benchmarks.metrics.chains import Target
from models.contracts import Prior

# a hundredth of a grey level; a smaller σ would only measure the rounding of float32
LEAST_SIGMA = 4e-5
# neighbouring values of the search, as a factor
FACTOR = 2**0.125
# the first range of σ goes from the error of the prior's samples down to this share of it
FIRST_SHARE = 1 / 16


@dataclass(frozen=True)
class SigmaSearch:
    """The result of a search.

    Args:
        sigma: the value with the highest log-likelihood.
        rounds: the value after each round.
        curve: pairs of σ and the mean log-likelihood of the examples in nats, by half-octaves.
        has_settled: whether the last two rounds agree within the tolerance.
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
    """Searches σ on examples x (N, ...). Every round anneals as long as the measurement does, to a σ just below the last best.

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
    with torch.no_grad():
        first = target.squared_error(target.prior_draws(generator)).double().mean()
    start = max(math.sqrt(float(first) / target.dimensions), LEAST_SIGMA)
    end, rounds = max(FIRST_SHARE * start, LEAST_SIGMA), list[float]()
    has_settled = False
    sigmas, values = np.array([start]), np.array([-math.inf])
    for _ in range(most_rounds):
        target.sigma = end
        plan = tune(target, settings, generator, label)
        run = forward(target, plan, settings.leapfrog, generator, label)
        sigmas = end * FACTOR ** np.arange(max(2, math.ceil(math.log(max(start / end, FACTOR), FACTOR)) + 1))
        values = log_likelihoods(target, plan.betas, run, sigmas)
        best = int(np.argmax(values))
        if best == 0 and end > LEAST_SIGMA:  # the best value may be smaller still
            end = max(end / 2, LEAST_SIGMA)
            continue
        rounds.append(_peak(sigmas, values, best))
        has_settled = len(rounds) > 1 and abs(math.log(rounds[-1] / rounds[-2])) < tolerance
        if has_settled:
            break
        end = max(rounds[-1] / math.sqrt(2), LEAST_SIGMA)
    sigma = rounds[-1] if rounds else float(sigmas[int(np.argmax(values))])
    curve = tuple((float(s), float(v)) for s, v in zip(sigmas[::4], values[::4], strict=True) if s < 16 * sigma)
    return SigmaSearch(sigma, tuple(rounds), curve, has_settled)


def log_likelihoods(target: Target, betas: Tensor, run: Run, sigmas: Sequence[float] | np.ndarray) -> np.ndarray:
    """The mean log-likelihood of the examples for each σ at or above the target's, (S,), from one forward run.

    Args:
        target: with the smallest σ.
        betas: the temperatures of the run, (T + 1, N).
        run: the forward run.
        sigmas: the values of σ.
    """
    constant = target.dimensions * (math.log(target.sigma) + 0.5 * math.log(2 * math.pi))
    # without the normalising constant of the likelihood: log E exp(-β ‖x - g(z)‖² / 2σ²)
    unnormalised = (run.path + betas * constant).numpy()
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
