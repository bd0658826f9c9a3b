"""The expected best of n trials of a search."""

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.records.searches import Search

# expectation, 10% and 90% quantile
Best = tuple[float, float, float]


def best_of_n(search: Search) -> dict[str, list[Best | None]]:
    """The expected best of 1, 2, ... trials, by model."""
    return {
        model: best_of([trial.value for trial in trials], search.higher_is_better)
        for model, trials in search.trials.items()
    }


def best_of(values: Sequence[float | None], higher_is_better: bool) -> list[Best | None]:
    """The expected best of n trials, for n = 1, 2, ..., with the 10% and 90% quantiles of the best.

    Exact over every subset of n trials, drawn without replacement (an unbiased form of Dodge et al. 2019, "Show Your
    Work", eq. 2). A trial without a value (None: it diverged) counts as a trial and is never the best. The expectation is
    over the subsets that have a value. It is left blank (None) when more than 10% of the n-subsets contain only diverged
    trials: an expectation over the remaining subsets would flatter a family that mostly diverges.

    Args:
        values: one a trial.
        higher_is_better: the direction of the values.
    """
    sign = -1.0 if higher_is_better else 1.0
    finite = np.sort([sign * value for value in values if value is not None])
    total, lost = len(values), len(values) - len(finite)
    curve: list[Best | None] = []
    for n in range(1, total + 1):
        without_value = math.comb(lost, n) / math.comb(total, n)
        if without_value > 0.1:
            curve.append(None)
            continue
        # the i-th best trial is the best of a subset that contains it and otherwise only worse trials
        subsets = math.comb(total, n) - math.comb(lost, n)
        weights = np.array([math.comb(total - 1 - i, n - 1) / subsets for i in range(len(finite))])
        reached = np.cumsum(weights)
        low, high = (finite[min(int(np.searchsorted(reached, q - 1e-12)), len(finite) - 1)] for q in (0.1, 0.9))
        ends = sorted((sign * low, sign * high))
        curve.append((float(sign * (weights @ finite)), float(ends[0]), float(ends[1])))
    return curve
