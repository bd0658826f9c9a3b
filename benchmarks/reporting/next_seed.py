"""One more seed of a row, such as a replayed run: the values that it may have, and whether it is another distribution's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.reporting.seed_statistics import ALPHA, Array, is_constant


@dataclass(frozen=True)
class Outlier:
    """Whether one more seed of a row is another distribution's, judged over all scores together.

    Args:
        shift: the mean over scores of t², t the distance from the mean of the seeds in standard errors of a prediction.
        shift_limit: of `shift`.
        largest: the largest |t| of any score.
        largest_limit: of `largest`.
    """

    shift: float
    shift_limit: float
    largest: float
    largest_limit: float

    @property
    def is_one(self) -> bool:
        return self.shift > self.shift_limit or self.largest > self.largest_limit


def judge_next(seeds: Array, value: Array, alpha: float = ALPHA) -> Outlier:
    """Tests whether the scores of one more seed are from the normal distribution of a row's seeds.

    Two statistics share alpha in halves. The mean of t² over scores finds a shift of many scores; its limit is that of a single
    t², which is exact if all scores move together and conservative if they do not. The largest |t| finds a shift of one
    score (Bonferroni). `python -m benchmarks.studies.replay_power` measures false alarms and power.

    Args:
        seeds: (n, scores), n at least 2.
        value: (scores,).
        alpha: the rate of false alarms.
    """
    n, scores = seeds.shape
    with np.errstate(all="ignore"):
        t = (value - seeds.mean(0)) / (seeds.std(0, ddof=1) * math.sqrt(1 + 1 / n))
    # a score that no seed varies: equal or not
    t = np.where(is_constant(seeds.T), np.where(np.isclose(value, seeds[0], rtol=1e-12, atol=0), 0.0, np.inf), t)
    shift_limit = float(stats.f.ppf(1 - alpha / 2, 1, n - 1))
    largest_limit = float(stats.t.ppf(1 - alpha / (4 * scores), n - 1))
    return Outlier(float(np.mean(t**2)), shift_limit, float(np.abs(t).max()), largest_limit)


def next_value(values: Sequence[float]) -> tuple[float, float]:
    """The 95% prediction interval of one more draw from the normal distribution of the values: mean ± t·s·√(1 + 1/n).

    Args:
        values: two or more.
    """
    n, mean = len(values), float(np.mean(values))
    reach = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / n)
    return mean - reach, mean + reach
