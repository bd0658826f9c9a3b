"""Statistics over several data sets: ranks, the probability of improvement, and performance profiles, with bootstrap intervals.

Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice". The bootstrap draws the seeds of each
family on each data set again, with replacement (stratified, their sec. 4.1); data sets are never drawn again. All values are
*costs*: the lower, the better, and infinity for a lost run.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.reporting.seed_statistics import ALPHA, RESAMPLES, Array

ENDS = (ALPHA / 2, 1 - ALPHA / 2)


class Estimate(NamedTuple):
    """A value with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


def mean_ranks(data_sets: Sequence[Sequence[Array]], rng_seed: int = 0) -> list[Estimate]:
    """The rank of each family by its mean, 1 for the best, averaged over data sets.

    Equal means share the mean of their ranks. Two means that are infinite are equal.

    Args:
        data_sets: for each data set, the costs (seeds,) of each family.
        rng_seed: of the resamples.
    """
    rng = np.random.default_rng(rng_seed)
    by_data = []
    for families in data_sets:
        means = [np.append(costs[_draws(len(costs), rng)].mean(1), costs.mean()) for costs in families]
        by_data.append(rankdata(np.stack(means), axis=0))
    ranks = np.mean(by_data, axis=0)
    return [_estimate(float(row[-1]), row[:-1]) for row in ranks]


def probability_of_improvement(a: Sequence[Array], b: Sequence[Array], rng_seed: int = 0) -> Estimate:
    """P(a run of a is better than a run of b), averaged over data sets; equal runs count by half.

    On each data set this is the Mann-Whitney statistic over nm (Agarwal et al. 2021, sec. 4.3).

    Args:
        a, b: for each data set, the costs (n,) and (m,) of the two families.
        rng_seed: of the resamples.
    """
    rng = np.random.default_rng(rng_seed)
    own, resampled = [], []
    for of_a, of_b in zip(a, b, strict=True):
        wins = (of_a[:, None] < of_b) + 0.5 * (of_a[:, None] == of_b)
        shares = [_shares(len(costs), rng) for costs in (of_a, of_b)]
        own.append(wins.mean())
        resampled.append(np.einsum("rn,nm,rm->r", shares[0], wins, shares[1]))
    return _estimate(float(np.mean(own)), np.mean(resampled, axis=0))


def profile(data_sets: Sequence[Array], thresholds: Array, rng_seed: int = 0) -> list[Estimate]:
    """The share of a family's runs with a cost below each threshold, averaged over data sets (Agarwal et al. 2021, eq. 2).

    Args:
        data_sets: for each data set, the costs (seeds,).
        thresholds: (T,).
        rng_seed: of the resamples.
    """
    rng = np.random.default_rng(rng_seed)
    own, resampled = [], []
    for costs in data_sets:
        below = (costs[:, None] < thresholds).astype(float)
        own.append(below.mean(0))
        resampled.append(_shares(len(costs), rng) @ below)
    low, high = np.quantile(np.mean(resampled, axis=0), ENDS, axis=0)
    return [Estimate(*map(float, each)) for each in zip(np.mean(own, axis=0), low, high, strict=True)]


def pareto_front(costs: Array) -> NDArray[np.bool_]:
    """Which points no other point dominates, (n, 2) -> (n,).

    A point dominates another if it is nowhere worse and somewhere better. A point with an infinite cost is never on the front.
    """
    no_worse = (costs[:, None] <= costs[None]).all(2)
    better = (costs[:, None] < costs[None]).any(2)
    return np.asarray(~(no_worse & better).any(axis=0) & np.isfinite(costs).all(axis=1))


def _draws(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.integers(0, n, (RESAMPLES, n))


def _shares(n: int, rng: np.random.Generator) -> Array:
    """The share of each run in each resample, (resamples, n)."""
    shares: Array = (_draws(n, rng)[:, :, None] == np.arange(n)).mean(1)
    return shares


def _estimate(value: float, draws: Array) -> Estimate:
    low, high = np.quantile(draws, ENDS)
    return Estimate(value, float(low), float(high))
