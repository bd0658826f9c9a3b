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


class Draws(NamedTuple):
    """The resamples of some runs.

    Args:
        places: (resamples, runs), which run was drawn.
        shares: (resamples, runs), the share of each run.
    """

    places: NDArray[np.int64]
    shares: Array


def draw_runs(counts: Sequence[Sequence[int]], rng_seed: int = 0) -> list[list[Draws]]:
    """Resamples for each data set and family, from the numbers of runs. All statistics of a report use the same ones."""
    rng = np.random.default_rng(rng_seed)
    return [[_draws(n, rng) for n in of_families] for of_families in counts]


def mean_ranks(data_sets: Sequence[Sequence[Array]], draws: Sequence[Sequence[Draws]]) -> list[Estimate]:
    """The rank of each family by its mean, 1 for the best, averaged over data sets.

    Equal means share the mean of their ranks. Two means that are infinite are equal.

    Args:
        data_sets: for each data set, the costs (runs,) of each family.
        draws: of the same data sets and families.
    """
    by_data = []
    for families, of_families in zip(data_sets, draws, strict=True):
        means = [
            np.append(costs[own.places].mean(1), costs.mean()) for costs, own in zip(families, of_families, strict=True)
        ]
        by_data.append(rankdata(np.stack(means), axis=0))
    ranks = np.mean(by_data, axis=0)
    return [_estimate(float(row[-1]), row[:-1]) for row in ranks]


def probability_of_improvement(
    a: Sequence[Array], b: Sequence[Array], draws_of_a: Sequence[Draws], draws_of_b: Sequence[Draws]
) -> Estimate:
    """P(a run of a is better than a run of b), averaged over data sets; equal runs count by half.

    On each data set this is the Mann-Whitney statistic over nm (Agarwal et al. 2021, sec. 4.3).

    Args:
        a, b: for each data set, the costs (n,) and (m,) of the two families.
        draws_of_a, draws_of_b: of their runs.
    """
    own, resampled = [], []
    for of_a, of_b, in_a, in_b in zip(a, b, draws_of_a, draws_of_b, strict=True):
        wins = (of_a[:, None] < of_b) + 0.5 * (of_a[:, None] == of_b)
        own.append(wins.mean())
        resampled.append(((in_a.shares @ wins) * in_b.shares).sum(1))
    return _estimate(float(np.mean(own)), np.mean(resampled, axis=0))


def profile(data_sets: Sequence[Array], thresholds: Array, draws: Sequence[Draws]) -> list[Estimate]:
    """The share of a family's runs with a cost below each threshold, averaged over data sets (Agarwal et al. 2021, eq. 2).

    Args:
        data_sets: for each data set, the costs (runs,).
        thresholds: (T,).
        draws: of the runs of each data set.
    """
    own, resampled = [], []
    for costs, of_data in zip(data_sets, draws, strict=True):
        below = (costs[:, None] < thresholds).astype(float)
        own.append(below.mean(0))
        resampled.append(of_data.shares @ below)
    low, high = np.quantile(np.mean(resampled, axis=0), ENDS, axis=0)
    return [Estimate(*map(float, each)) for each in zip(np.mean(own, axis=0), low, high, strict=True)]


def pareto_front(costs: Array) -> NDArray[np.bool_]:
    """Which points no other point dominates, (n, 2) -> (n,).

    A point dominates another if it is nowhere worse and somewhere better. A point with an infinite cost is never on the front.
    """
    no_worse = (costs[:, None] <= costs[None]).all(2)
    better = (costs[:, None] < costs[None]).any(2)
    return np.asarray(~(no_worse & better).any(axis=0) & np.isfinite(costs).all(axis=1))


def _draws(n: int, rng: np.random.Generator) -> Draws:
    places = rng.integers(0, n, (RESAMPLES, n))
    counts = np.bincount((places + n * np.arange(RESAMPLES)[:, None]).ravel(), minlength=RESAMPLES * n)
    return Draws(places, counts.reshape(RESAMPLES, n) / n)


def _estimate(value: float, draws: Array) -> Estimate:
    low, high = np.quantile(draws, ENDS)
    return Estimate(value, float(low), float(high))
