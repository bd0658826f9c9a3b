"""Intervals and tests over training seeds, by scipy.

Every test is of a difference of means over *training seeds*, by Welch's t-test, which Colas et al. 2019 ("A Hitchhiker's
Guide to Statistical Comparisons of Reinforcement Learning Algorithms", sec. 5) find to be the robust choice for few seeds
of unequal spread. Means are shown with bootstrap intervals; `python -m benchmarks.studies.interval_coverage` measures how
often such an interval contains the true mean.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from benchmarks.reporting.cores import in_threads

Array = NDArray[np.float64]

# Fewer seeds allow no statement: a 95% bootstrap interval of three seeds contains the mean in 3 of 4 cases.
MIN_SEEDS = 5
CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE
RESAMPLES = 1000
# rows whose resampled means are in memory at once: as many as fit a processor's cache
_CHUNK = 256


@dataclass(frozen=True)
class Difference:
    """A difference of two means, a - b.

    Args:
        value: the mean of a less the mean of b.
        low, high: its 95% interval, Welch 1947.
        p: two-sided p-value of Welch's t-test, before any correction.
        g: Hedges' g (Hedges 1981): the difference in pooled standard deviations, without small-sample bias; None if
            nothing varies.
    """

    value: float
    low: float
    high: float
    p: float
    g: float | None


def mean_intervals(values: Array, rng_seed: int = 0) -> Array:
    """95% percentile bootstrap intervals of means: (rows, seeds) -> (rows, 2). The draws are the same on every call.

    Equal to scipy.stats.bootstrap of np.mean. Every row is resampled alike, so that one matrix product suffices.

    Raises:
        ValueError: for fewer than 2 seeds.
    """
    n = values.shape[1]
    if n < 2:
        raise ValueError(f"an interval needs 2 values or more, not {n}")
    drawn = np.random.default_rng(rng_seed).integers(0, n, (RESAMPLES, n))
    shares = (drawn[:, :, None] == np.arange(n)).mean(1)  # of each value in each resample
    ends = [ALPHA / 2, 1 - ALPHA / 2]
    intervals = np.empty((len(values), 2))

    def resample(starts: Sequence[int]) -> None:
        means = np.empty((_CHUNK, RESAMPLES))  # for all chunks: new memory for each would take a fifth of the time
        for i in starts:
            part = values[i : i + _CHUNK]
            resampled = np.matmul(part, shares.T, out=means[: len(part)])
            intervals[i : i + _CHUNK] = np.quantile(resampled, ends, axis=1, overwrite_input=True).T

    in_threads(resample, range(0, len(values), _CHUNK))
    return intervals


def differences(a: Array, b: Array) -> list[Difference]:
    """Row by row, a against b: (pairs, n) and (pairs, m), n and m at least 2.

    If neither side varies, there is no t statistic, and the p-value is that of the exact permutation test.
    """
    value = a.mean(1) - b.mean(1)
    freedom, error = _welch(Moments.of(a), Moments.of(b))
    constant = is_constant(a) & is_constant(b)
    low, high, p = _t_test(value, error, freedom)
    low, high = (np.where(constant, value, side) for side in (low, high))
    apart = np.where(value == 0, 1.0, _permutation_p(a.shape[1], b.shape[1]))
    return _as_differences(value, low, high, np.where(constant, apart, p), hedges_g(a, b))


def differences_from(a: Array, constant: float) -> list[Difference]:
    """Row by row, (rows, n), against a number. If a row does not vary, p is that of the exact sign-flip test."""
    n, of_a = a.shape[1], Moments.of(a)
    value = of_a.mean - constant
    error = np.sqrt(of_a.variance / n)
    low, high, p = _t_test(value, error, np.full(len(a), n - 1.0), of_a.mean)
    low, high = (np.where(of_a.constant, value, side - constant) for side in (low, high))
    p = np.where(of_a.constant, np.where(value == 0, 1.0, _sign_p(n)), p)
    with _quiet():
        effects = (1 - 3 / (4 * (n - 1) - 1)) * value / a.std(1, ddof=1)
    return _as_differences(value, low, high, p, effects)


@dataclass(frozen=True)
class Moments:
    """Rows of n values as their means and variances: enough for a t-test, and a row may be in thousands of tests.

    Args:
        n: the number of values of each row.
        mean, variance: (rows,), the variance with n - 1.
        constant: (rows,), whether the values of a row differ only by rounding.
        first: (rows,), the first value of each row.
    """

    n: int
    mean: Array
    variance: Array
    constant: NDArray[np.bool_]
    first: Array

    @classmethod
    def of(cls, values: Array) -> "Moments":
        """Of (rows, n) values."""
        n = values.shape[1]
        mean = values.mean(1)
        with np.errstate(all="ignore"):
            variance = ((values - mean[:, None]) ** 2).mean(1) * (np.float64(n) / (n - 1))
        return cls(n, mean, variance, is_constant(values), values[:, 0])

    def at(self, places: NDArray[np.int64]) -> "Moments":
        """The rows at these places."""
        return Moments(*(self.n, self.mean[places], self.variance[places], self.constant[places], self.first[places]))


def one_sided(a: Array, b: Array | float, margin: float = 0.0) -> tuple[Array, Array]:
    """Row by row, p-values for "mean a - mean b > margin" and for "< margin", each against its opposite.

    Args:
        a: (pairs, n) values.
        b: (pairs, m) values, or a constant.
        margin: of the difference.

    Returns:
        Two arrays (pairs,).
    """
    return one_sided_of(Moments.of(a - margin), Moments.of(b) if isinstance(b, np.ndarray) else b)


def one_sided_of(a: Moments, b: Moments | float) -> tuple[Array, Array]:
    """Row by row, p-values for "mean a - mean b > 0" and for "< 0": scipy.stats.ttest_ind and ttest_1samp, from moments.

    If neither side varies, there is no t statistic, and the p-value is half of that of the exact permutation test.
    """
    with np.errstate(all="ignore"):
        if isinstance(b, Moments):
            freedom, error = _welch(a, b)
            t = (a.mean - b.mean) / error
            constant, p = a.constant & b.constant, _permutation_p(a.n, b.n) / 2
            distance = a.first - b.first
        else:
            freedom = np.full(len(a.mean), a.n - 1.0)
            t = (a.mean - b) / np.sqrt(a.variance / a.n)
            constant, p = a.constant, _sign_p(a.n) / 2
            distance = a.first - b
        greater, less = special.stdtr(freedom, -t), special.stdtr(freedom, t)
    return np.where(constant, np.where(distance > 0, p, 1.0), greater), np.where(
        constant, np.where(distance < 0, p, 1.0), less
    )


def _welch(a: Moments, b: Moments) -> tuple[Array, Array]:
    """The degrees of freedom and the standard errors of differences of means, Welch 1947; NaN and 0 if nothing varies."""
    of_a, of_b = a.variance / a.n, b.variance / b.n
    with np.errstate(all="ignore"):
        freedom = (of_a + of_b) ** 2 / (of_a**2 / (a.n - 1) + of_b**2 / (b.n - 1))
    return freedom, np.sqrt(of_a + of_b)


def _t_test(value: Array, error: Array, freedom: Array, centre: Array | None = None) -> tuple[Array, Array, Array]:
    """The ends of 95% intervals, and two-sided p-values.

    Equal to those of scipy.stats.ttest_ind and ttest_1samp, which take a millisecond for a few rows; a report calls them often.

    Args:
        value, error, freedom: of the t statistics, (rows,).
        centre: of the intervals, (rows,); None for `value`.
    """
    tail = (1 - CONFIDENCE) / 2
    with np.errstate(all="ignore"):
        p = 2 * special.stdtr(freedom, -np.abs(value / error))
        low, high = (
            special.stdtrit(freedom, share) * error + (value if centre is None else centre)
            for share in (tail, 1 - tail)
        )
    return low, high, p


def hedges_g(a: Array, b: Array) -> Array:
    """Hedges' g row by row, (pairs, n) and (pairs, m) -> (pairs,); not finite if nothing varies."""
    n, m = a.shape[1], b.shape[1]
    pooled = ((n - 1) * a.var(1, ddof=1) + (m - 1) * b.var(1, ddof=1)) / (n + m - 2)
    correction = 1 - 3 / (4 * (n + m) - 9)  # Hedges 1981, eq. 6e
    with _quiet():
        effect: Array = correction * (a.mean(1) - b.mean(1)) / np.sqrt(pooled)
    return effect


def deviations(values: Array) -> Array:
    """Distances from the median along the last axis. A test of their means compares spreads (Brown & Forsythe 1974)."""
    distance: Array = np.abs(values - np.median(values, axis=-1, keepdims=True))
    return distance


def holm(p_values: Sequence[float], family: int = 0) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given.

    Args:
        p_values: of the tests.
        family: the number of tests to correct for, if more were planned; the others count as tests with p = 1.
    """
    count = max(len(p_values), family)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def rank_intervals(rows: Sequence[Array], higher_is_better: bool, rng_seed: int = 0) -> list[tuple[int, int, int]]:
    """Each row's rank by its mean, 1 for the best, with the 2.5% and 97.5% quantiles of its bootstrap ranks.

    The bootstrap draws the seeds of every row again, with replacement. Tied rows share the better rank.
    """
    sign = -1.0 if higher_is_better else 1.0
    rng = np.random.default_rng(rng_seed)
    means = np.stack(
        [sign * np.append(row[rng.integers(0, len(row), (RESAMPLES, len(row)))].mean(1), row.mean()) for row in rows]
    )
    ranks = stats.rankdata(means, method="min", axis=0)
    low, high = np.quantile(ranks[:, :-1], [ALPHA / 2, 1 - ALPHA / 2], axis=1, method="nearest")
    return [(int(own), int(lo), int(hi)) for own, lo, hi in zip(ranks[:, -1], low, high, strict=True)]


def _as_differences(value: Array, low: Array, high: Array, p: Array, g: Array) -> list[Difference]:
    rows = zip(value.tolist(), low.tolist(), high.tolist(), p.tolist(), g.tolist(), strict=True)
    return [Difference(v, lo, hi, q, effect if math.isfinite(effect) else None) for v, lo, hi, q, effect in rows]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences scipy's warnings about samples that hardly vary. Samples that do not vary at all are handled by the caller."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def is_constant(values: Array) -> NDArray[np.bool_]:
    """Row by row, whether the values differ only by rounding."""
    same: NDArray[np.bool_] = np.ptp(values, axis=1) <= 1e-12 * np.abs(values).max(axis=1)
    return same


def _permutation_p(n: int, m: int) -> float:
    """Two-sided p of two different constant samples: only the observed split and its mirror are as extreme."""
    return min(1.0, 2 / math.comb(n + m, n))


def _sign_p(n: int) -> float:
    """Two-sided p of n equal values on one side of a constant, by the exact sign-flip test."""
    return min(1.0, 2 / 2**n)
