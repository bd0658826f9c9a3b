"""python -m benchmarks.studies.interval_coverage: how often a 95% interval over few seeds contains the true value.

First the mean of one row, from a normal and from a skewed distribution of known mean. Then the difference of two rows whose
scores are means over test images that all seeds share: the true difference is that over all images that there are.
"""

import numpy as np
from scipy import stats

from benchmarks.reporting.crossed import crossed_difference
from benchmarks.reporting.seed_statistics import CONFIDENCE, Array, differences, mean_intervals
from benchmarks.studies.words import study

DRAWS = 20_000
PAIRS = 4_000
SEEDS = (3, 4, 5, 10, 20)
# numbers of shared images; the spread over images of the paired difference, in spreads over seeds
IMAGES, SPREADS = (32, 1000), (0.0, 1.0, 10.0)


@study()
def main() -> None:
    rng = np.random.default_rng(0)
    print("seeds   normal: bootstrap   Student's t   log-normal: bootstrap   Student's t")
    for n in SEEDS:
        shares = []
        for values, mean in ((rng.normal(size=(DRAWS, n)), 0.0), (rng.lognormal(0, 0.5, (DRAWS, n)), np.exp(0.125))):
            shares += [_share(mean_intervals(values), mean), _share(_student(values), mean)]
        print(f"{n:>5} {shares[0]:>18.1%} {shares[1]:>13.1%} {shares[2]:>23.1%} {shares[3]:>13.1%}")
    print("\nseeds   images   spread over images   over seeds alone   over seeds and images")
    for n in (5, 10):
        for images in IMAGES:
            for spread in SPREADS:
                alone, both = crossed_coverage(rng, n, images, spread, PAIRS)
                print(f"{n:>5} {images:>8} {spread:>20} {alone:>18.1%} {both:>23.1%}")


def crossed_coverage(rng: np.random.Generator, n: int, images: int, spread: float, draws: int) -> tuple[float, float]:
    """The share of 95% intervals that contain the true difference, over seeds alone, and over seeds and images.

    Args:
        rng: of the draws.
        n: the number of seeds of each row.
        images: the number of images that every seed is scored on.
        spread: of the paired difference over images, in standard deviations over seeds.
        draws: the number of pairs of rows.
    """
    contained = np.zeros(2)
    for _ in range(draws):
        common = 20 * rng.standard_normal(images)  # an image is as hard for one row as for the other
        examples = [_examples(rng, n, common, spread) for _ in range(2)]
        a, b = (values.mean(1) for values in examples)
        (alone,) = differences(a[None], b[None])
        low, high = crossed_difference(a, b, examples[0], examples[1], images, is_ratio=False).interval()
        contained += (alone.low <= 0 <= alone.high, low <= 0 <= high)
    return float(contained[0] / draws), float(contained[1] / draws)


def _examples(rng: np.random.Generator, n: int, common: Array, spread: float) -> Array:
    """Values by seed and image, (n, images): the seed's part, the image's part, the row's own part of each image, and a rest."""
    row = spread / np.sqrt(2) * rng.standard_normal(len(common))
    values: Array = rng.standard_normal((n, 1)) + common + row + rng.standard_normal((n, len(common)))
    return values


def _share(intervals: Array, mean: float) -> float:
    return float(((intervals[:, 0] <= mean) & (mean <= intervals[:, 1])).mean())


def _student(values: Array) -> Array:
    interval = stats.ttest_1samp(values, 0, axis=1).confidence_interval(CONFIDENCE)
    return np.stack([interval.low, interval.high], axis=1)


if __name__ == "__main__":
    main()
