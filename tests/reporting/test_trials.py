"""The expected best of n trials, against its definition over every subset."""

import itertools

import numpy as np
import pytest
import torch

from benchmarks.reporting.trials import best_of


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(torch.initial_seed() % 2**32)


@pytest.mark.parametrize("higher", [True, False])
def test_the_best_of_n_is_the_mean_over_every_subset(higher: bool, rng: np.random.Generator) -> None:
    values: list[float | None] = rng.normal(size=6).tolist()
    values += [None, None]  # two trials diverged
    best = max if higher else min
    for n, found in enumerate(best_of(values, higher), 1):
        subsets = [[v for v in subset if v is not None] for subset in itertools.combinations(values, n)]
        bests = sorted(best(subset) for subset in subsets if subset)
        if len(bests) < 0.9 * len(subsets):
            assert found is None, "an expectation over the lucky trials alone"
            continue
        assert found is not None
        expected, low, high = found
        assert expected == pytest.approx(np.mean(bests))
        assert bests[0] <= low <= high <= bests[-1]
        assert low == pytest.approx(np.quantile(bests, 0.1, method="inverted_cdf"))
        # on the other side a quantile of the mirrored values: the same but for what lies exactly on it
        assert np.quantile(bests, 0.85) - 1e-9 <= high <= np.quantile(bests, 0.95, method="higher") + 1e-9


def test_the_best_of_none_is_none() -> None:
    assert best_of([None, None], higher_is_better=False) == [None, None]
    assert best_of([5.0] + [None] * 9, higher_is_better=False)[:8] == [None] * 8
    assert len(best_of([1.0] * 400 + [None] * 100, higher_is_better=False)) == 500
