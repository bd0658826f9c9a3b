"""Differences of two rows that share their examples: the error over seeds and the error over examples.

Seeds and examples are crossed: every seed of both rows is scored on the same examples. The variance of the difference is
the sum of three parts: over the seeds of each row, and over the examples of the paired difference. Each part is estimated
from the means over the other factor, as in the analysis of variance of a model with crossed random effects (Searle, Casella &
McCulloch 1992, ch. 4). Their interaction is counted in each part, so the sum is a little too large, never too
small. The degrees of freedom are Satterthwaite's (1946), which gives Welch's test if examples do not vary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.reporting.seed_statistics import CONFIDENCE, Array

# differences by example that are in memory at once: so few that the system need not give and take their memory each time
_FEW = 32


class Crossed(NamedTuple):
    """Differences, their standard errors, and their degrees of freedom: numbers, or arrays of one shape."""

    value: Any
    error: Any
    freedom: Any

    def interval(self, confidence: float = CONFIDENCE) -> tuple[Any, Any]:
        reach = self.error * special.stdtrit(self.freedom, 0.5 + confidence / 2)
        return self.value - reach, self.value + reach

    def one_sided(self, margin: float) -> tuple[Any, Any]:
        """The p-values of "the difference is above the margin" and "the difference is below the margin"."""
        distance = self.value - margin
        with np.errstate(all="ignore"):
            certain = np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
            t = np.where(self.error > 0, distance / self.error, certain)
        return special.stdtr(self.freedom, -t), special.stdtr(self.freedom, t)


@dataclass(frozen=True)
class Measured:
    """A row's part in a difference: the mean over seeds, its variance, and the mean over seeds of each example.

    Args:
        mean: over seeds, of values or of their logarithms.
        variance: of the mean over seeds.
        freedom: of the variance.
        per_example: (I,), the mean over seeds of each example; relative to its mean for ratios (delta method).
    """

    mean: float
    variance: float
    freedom: int
    per_example: Array

    @classmethod
    def of(cls, values: Array, per_example: Array, is_ratio: bool) -> "Measured":
        """From the score of each seed, (n,), and the mean over seeds of each example, (I,)."""
        scaled = np.log(values) if is_ratio else values
        relative = per_example / per_example.mean() if is_ratio else per_example
        return cls(float(scaled.mean()), float(scaled.var(ddof=1) / len(values)), len(values) - 1, relative)


@dataclass(frozen=True)
class MeasuredRows:
    """The parts of several rows, as arrays: a row may be in thousands of differences.

    Args:
        mean, variance, freedom: (rows,), as those of `Measured`.
        per_example: (rows, I).
    """

    mean: Array
    variance: Array
    freedom: Array
    per_example: Array

    @classmethod
    def of(cls, rows: Sequence[Measured]) -> "MeasuredRows":
        """Of rows with equal numbers of examples."""
        return cls(
            np.array([row.mean for row in rows]),
            np.array([row.variance for row in rows]),
            np.array([row.freedom for row in rows]),
            np.stack([row.per_example for row in rows]),
        )


def crossed_differences(a: Measured, b: MeasuredRows, places: NDArray[np.int64], of: int) -> Crossed:
    """The differences of a row from others that share its examples, and their errors, (len(places),) each.

    Args:
        a: the row.
        b: the others are among these rows.
        places: of the others.
        of: the number of examples that a score is the mean of, I or more.
    """
    parts = [
        (np.full(len(places), a.variance), a.freedom),
        (b.variance[places], b.freedom[places]),
        (_variances(a.per_example, b.per_example, places) / of, len(a.per_example) - 1),
    ]
    return _total(a.mean - b.mean[places], parts)


def crossed_difference(a: Array, b: Array, examples_a: Array, examples_b: Array, of: int, is_ratio: bool) -> Crossed:
    """The difference of two rows' means (or of the logarithms of their geometric means) and its error.

    Args:
        a, b: the score of each seed, (n,) and (m,).
        examples_a, examples_b: by seed and example, (n, I) and (m, I), of the same examples.
        of: the number of examples that a score is the mean of, I or more.
        is_ratio: whether logarithms are compared. An example's part is then relative to the mean (delta method).
    """
    left, right = (Measured.of(x, per.mean(0), is_ratio) for x, per in ((a, examples_a), (b, examples_b)))
    return Crossed(*(array[0] for array in crossed_differences(left, MeasuredRows.of([right]), np.zeros(1, int), of)))


def crossed_mean(a: Measured, of: int, constant: float) -> Crossed:
    """The difference of a row's mean from a number, (1,), and its error. For ratios the number is a logarithm."""
    parts = [(np.array([a.variance]), a.freedom), (a.per_example.var(ddof=1) / of, len(a.per_example) - 1)]
    return _total(np.array([a.mean - constant]), parts)


def _variances(a: Array, rows: Array, places: NDArray[np.int64]) -> Array:
    """The variance over examples of the differences of a row, (I,), from some of the rows, (rows, I)."""
    variances = np.empty(len(places))
    memory = np.empty((_FEW, len(a)))
    for i in range(0, len(places), _FEW):
        few = places[i : i + _FEW]
        paired = np.take(rows, few, axis=0, out=memory[: len(few)], mode="clip")  # the mode for which no copy is made
        np.subtract(a, paired, out=paired)
        paired -= paired.mean(1, keepdims=True)
        paired *= paired
        variances[i : i + _FEW] = paired.sum(1) / (len(a) - 1)
    return variances


def _total(value: Array, parts: Sequence[tuple[Any, Any]]) -> Crossed:
    variance = sum(part for part, _ in parts)
    below = sum(part**2 / freedom for part, freedom in parts)
    with np.errstate(all="ignore"):
        freedom = np.where(below > 0, variance**2 / below, parts[0][1])
    return Crossed(value, np.sqrt(variance), freedom)
