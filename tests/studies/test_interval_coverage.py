"""Intervals over seeds and shared images contain the true difference as often as they say; intervals over seeds alone do not."""

import numpy as np
import torch

from benchmarks.studies.interval_coverage import crossed_coverage


def test_intervals_over_seeds_and_images_have_their_coverage() -> None:
    rng = np.random.default_rng(torch.initial_seed() % 2**32)
    alone, both = crossed_coverage(rng, n=5, images=32, spread=10.0, draws=400)
    assert alone < 0.8
    assert both > 0.91
    _, without = crossed_coverage(rng, n=5, images=32, spread=0.0, draws=400)
    assert without > 0.91, "images that do not matter cost little"
