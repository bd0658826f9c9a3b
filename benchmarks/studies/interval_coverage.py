"""python -m benchmarks.studies.interval_coverage: how often a 95% interval over few seeds contains the true mean.

Draws seeds from a normal and from a skewed distribution of known mean, and counts.
"""

import numpy as np
from scipy import stats

from benchmarks.reporting.seed_statistics import CONFIDENCE, Array, mean_intervals

DRAWS = 20_000
SEEDS = (3, 4, 5, 10, 20)


def main() -> None:
    rng = np.random.default_rng(0)
    print("seeds   normal: bootstrap   Student's t   log-normal: bootstrap   Student's t")
    for n in SEEDS:
        shares = []
        for values, mean in ((rng.normal(size=(DRAWS, n)), 0.0), (rng.lognormal(0, 0.5, (DRAWS, n)), np.exp(0.125))):
            shares += [_share(mean_intervals(values), mean), _share(_student(values), mean)]
        print(f"{n:>5} {shares[0]:>18.1%} {shares[1]:>13.1%} {shares[2]:>23.1%} {shares[3]:>13.1%}")


def _share(intervals: Array, mean: float) -> float:
    return float(((intervals[:, 0] <= mean) & (mean <= intervals[:, 1])).mean())


def _student(values: Array) -> Array:
    interval = stats.ttest_1samp(values, 0, axis=1).confidence_interval(CONFIDENCE)
    return np.stack([interval.low, interval.high], axis=1)


if __name__ == "__main__":
    main()
