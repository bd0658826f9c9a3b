"""Differences of two rows that share their examples: the error over seeds and the error over examples.

Seeds and examples are crossed: every seed of both rows is scored on the same examples. The variance of the difference is
the sum of three parts: over the seeds of each row, and over the examples of the paired difference. Each part is estimated
from the means over the other factor, as in the analysis of variance of a model with crossed random effects (Searle, Casella &
McCulloch 1992, ch. 4). Their interaction is counted in each part, so the sum is a little too large, never too
small. The degrees of freedom are Satterthwaite's (1946), which gives Welch's test if examples do not vary.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.reporting.seed_statistics import CONFIDENCE, Array


class Crossed(NamedTuple):
    """A difference, its standard error, and its degrees of freedom."""

    value: float
    error: float
    freedom: float

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        reach = self.error * float(stats.t.ppf(0.5 + confidence / 2, self.freedom))
        return self.value - reach, self.value + reach

    def one_sided(self, margin: float) -> tuple[float, float]:
        """The p-values of "the difference is above the margin" and "the difference is below the margin"."""
        t = self.value - margin
        t = t / self.error if self.error > 0 else math.copysign(math.inf, t) if t else 0.0
        return float(stats.t.sf(t, self.freedom)), float(stats.t.cdf(t, self.freedom))


def crossed_difference(a: Array, b: Array, examples_a: Array, examples_b: Array, of: int, is_ratio: bool) -> Crossed:
    """The difference of two rows' means (or of the logarithms of their geometric means) and its error.

    Args:
        a, b: the score of each seed, (n,) and (m,).
        examples_a, examples_b: by seed and example, (n, I) and (m, I), of the same examples.
        of: the number of examples that a score is the mean of, I or more.
        is_ratio: whether logarithms are compared. An example's part is then relative to the mean (delta method).
    """
    values_a, values_b = (np.log(a), np.log(b)) if is_ratio else (a, b)
    per_a, per_b = examples_a.mean(0), examples_b.mean(0)
    paired = per_a / per_a.mean() - per_b / per_b.mean() if is_ratio else per_a - per_b
    parts = [
        (values_a.var(ddof=1) / len(a), len(a) - 1),
        (values_b.var(ddof=1) / len(b), len(b) - 1),
        (paired.var(ddof=1) / of, len(paired) - 1),
    ]
    return _total(float(values_a.mean() - values_b.mean()), parts)


def crossed_mean(a: Array, examples: Array, of: int, constant: float, is_ratio: bool) -> Crossed:
    """The difference of a row's mean (or of its logarithm) from a number, and its error. Arguments as above."""
    values = np.log(a) if is_ratio else a
    per_example = examples.mean(0)
    relative = per_example / per_example.mean() if is_ratio else per_example
    parts = [(values.var(ddof=1) / len(a), len(a) - 1), (relative.var(ddof=1) / of, len(relative) - 1)]
    return _total(float(values.mean()) - (math.log(constant) if is_ratio else constant), parts)


def _total(value: float, parts: list[tuple[float, int]]) -> Crossed:
    variance = sum(part for part, _ in parts)
    below = sum(part**2 / freedom for part, freedom in parts)
    return Crossed(value, math.sqrt(variance), variance**2 / below if below > 0 else float(parts[0][1]))
