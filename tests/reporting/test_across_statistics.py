"""Statistics over data sets against scipy, closed forms, and what is certain."""

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.reporting import across_statistics
from benchmarks.reporting.across_statistics import Estimate, draw_runs, pareto_front
from benchmarks.reporting.seed_statistics import Array


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(int(torch.randint(2**31, ())))


def mean_ranks(data_sets: list[list[Array]]) -> list[Estimate]:
    return across_statistics.mean_ranks(data_sets, draw_runs([[len(x) for x in families] for families in data_sets]))


def probability_of_improvement(a: list[Array], b: list[Array]) -> Estimate:
    pairs = list(zip(a, b, strict=True))
    draws = draw_runs([[len(x) for x in pair] for pair in pairs])
    return across_statistics.probability_of_improvement(a, b, [d[0] for d in draws], [d[1] for d in draws])


def profile(data_sets: list[Array], thresholds: Array) -> list[Estimate]:
    draws = draw_runs([[len(x)] for x in data_sets])
    return across_statistics.profile(data_sets, thresholds, [d[0] for d in draws])


def runs(rng: np.random.Generator, sizes: tuple[int, ...], shift: float = 0.0) -> list[Array]:
    return [rng.normal(shift, 1, n) for n in sizes]


def test_the_shares_of_a_resample_count_its_places() -> None:
    ((draws,),) = draw_runs([[7]])
    expected = [np.bincount(places, minlength=7) / 7 for places in draws.places]
    np.testing.assert_array_equal(draws.shares, expected)


def test_the_probability_of_improvement_is_the_mean_of_scipys_mann_whitney_statistics(rng: np.random.Generator) -> None:
    a, b = runs(rng, (5, 7, 9)), runs(rng, (6, 4, 9), 0.5)
    a[0][:2] = b[0][:2]  # ties
    a[1][0] = b[1][:2] = np.inf  # lost runs, which are equal
    found = probability_of_improvement(a, b)
    theirs = [stats.mannwhitneyu(y, x).statistic / (len(x) * len(y)) for x, y in zip(a, b, strict=True)]
    assert found.value == pytest.approx(np.mean(theirs))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert probability_of_improvement(b, a).value == pytest.approx(1 - found.value)


def test_its_interval_is_the_percentile_bootstrap_that_draws_each_data_set_and_side_apart(
    rng: np.random.Generator,
) -> None:
    a, b = runs(rng, (12, 10)), runs(rng, (12, 14), 0.6)
    draws = []
    for _ in range(2000):
        drawn = [[rng.choice(x, len(x)) for x in side] for side in (a, b)]
        draws.append(np.mean([(x[:, None] < y).mean() for x, y in zip(*drawn, strict=True)]))
    found = probability_of_improvement(a, b)
    np.testing.assert_allclose(found[1:], np.quantile(draws, [0.025, 0.975]), atol=0.035)


def test_mean_ranks_average_over_data_sets_and_share_ties(rng: np.random.Generator) -> None:
    first, second = ([level + 0.1 * rng.random(5) for level in levels] for levels in ((1, 2, 3), (2, 1, 3)))
    found = mean_ranks([first, second])
    assert [rank.value for rank in found] == [1.5, 1.5, 3]
    assert all(rank.low == rank.value == rank.high for rank in found), "no seed changes an order that is certain"
    equal = [np.ones(5), np.ones(5), 2 * np.ones(5)]
    assert [rank.value for rank in mean_ranks([equal])] == [1.5, 1.5, 3]


def test_a_lost_run_makes_a_family_the_last_and_its_interval_wide() -> None:
    lost = np.array([0.0, 0.1, 0.2, 0.3, np.inf])
    found = mean_ranks([[lost, np.full(5, 9.0) + np.arange(5) / 10]])
    assert found[0].value == 2
    assert (found[0].low, found[0].high) == (1, 2), "the run is not drawn in a third of the resamples"
    both = mean_ranks([[lost, lost[::-1].copy()]])
    assert both[0].value == both[1].value == 1.5


def test_the_intervals_of_ranks_are_those_of_a_bootstrap(rng: np.random.Generator) -> None:
    data = [runs(rng, (8, 8)), runs(rng, (6, 9), 0.2)]
    draws = []
    for _ in range(1500):
        means = [[rng.choice(x, len(x)).mean() for x in families] for families in data]
        draws.append(np.mean([stats.rankdata(m) for m in means], axis=0))
    quantiles = np.quantile(draws, [0.025, 0.975], axis=0)
    for family, rank in enumerate(mean_ranks(data)):
        assert abs(rank.low - quantiles[0, family]) <= 0.5, "ranks of two families move in halves"
        assert abs(rank.high - quantiles[1, family]) <= 0.5


def test_a_profile_is_the_share_below_and_its_area_the_mean(rng: np.random.Generator) -> None:
    """∫ P(cost < t) dt over [0, 1] is the mean of 1 - cost."""
    costs = [rng.random(5), rng.random(8)]
    thresholds = np.linspace(0, 1, 1001)
    found = profile(costs, thresholds)
    values = np.array([estimate.value for estimate in found])
    assert values[0] == 0
    assert (np.diff(values) >= 0).all()
    assert np.trapezoid(values, thresholds) == pytest.approx(np.mean([1 - x.mean() for x in costs]), abs=3e-3)
    at = int(rng.integers(1001))
    assert values[at] == pytest.approx(np.mean([(x < thresholds[at]).mean() for x in costs]))
    assert all(e.low <= e.value + 1e-12 and e.value <= e.high + 1e-12 for e in found)


def test_a_lost_run_is_never_below_a_threshold() -> None:
    (found,) = profile([np.array([0.0, np.inf, np.inf, 0.0])], np.array([1e9]))
    assert found.value == 0.5


def test_the_front_is_what_no_point_dominates(rng: np.random.Generator) -> None:
    costs = rng.integers(0, 6, (40, 2)).astype(float)  # with repeated points and equal coordinates
    costs[:3, 0] = np.inf
    expected = []
    for p in costs:
        dominated = any((q <= p).all() and (q < p).any() for q in costs)
        expected.append(not dominated and np.isfinite(p).all())
    assert pareto_front(costs).tolist() == expected
    assert any(expected)
    assert pareto_front(np.array([[1.0, 2.0], [1.0, 2.0], [np.inf, 0.0]])).tolist() == [True, True, False]
