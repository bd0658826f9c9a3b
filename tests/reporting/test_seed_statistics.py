"""Statistics against scipy's own, against definitions, and by what they promise on random draws."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.reporting.next_seed import next_value
from benchmarks.reporting.seed_statistics import (
    RESAMPLES,
    Moments,
    deviations,
    differences,
    differences_from,
    holm,
    mean_intervals,
    one_sided,
    one_sided_of,
    rank_intervals,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(torch.initial_seed() % 2**32)


def test_intervals_are_scipys_bootstrap(rng: np.random.Generator) -> None:
    values = rng.lognormal(size=(7, 6))
    expected = stats.bootstrap(
        (values,), np.mean, axis=1, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    found = mean_intervals(values, rng_seed=3)
    np.testing.assert_allclose(found, np.stack([expected.low, expected.high], axis=1), rtol=1e-12)


def test_intervals_are_the_same_on_every_call_and_need_two_values(rng: np.random.Generator) -> None:
    values = rng.normal(size=(3, 5))
    np.testing.assert_array_equal(mean_intervals(values), mean_intervals(values))
    assert mean_intervals(np.empty((0, 5))).shape == (0, 2)
    with pytest.raises(ValueError, match="2 values"):
        mean_intervals(np.ones((3, 1)))


def test_the_next_value_lies_where_it_is_said_to(rng: np.random.Generator) -> None:
    draws = rng.normal(3, 2, (4000, 6))
    ends = [next_value(row[:5].tolist()) for row in draws]
    held = np.mean([low <= new <= high for (low, high), new in zip(ends, draws[:, 5], strict=True)])
    assert abs(held - 0.95) < 5 * math.sqrt(0.95 * 0.05 / len(draws))


def test_differences_are_welchs(rng: np.random.Generator) -> None:
    a, b = rng.normal(1, 2, (4, 5)), rng.normal(0, 1, (4, 8))
    for row, found in enumerate(differences(a, b)):
        expected = stats.ttest_ind(a[row], b[row], equal_var=False)
        interval = expected.confidence_interval(0.95)
        assert found.value == pytest.approx(a[row].mean() - b[row].mean())
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert found.p == pytest.approx(expected.pvalue)


def test_one_sided_tests_from_moments_are_scipys(rng: np.random.Generator) -> None:
    a, b = rng.normal(1, 2, (6, 5)), rng.normal(0, 1, (6, 8))
    margin = float(rng.normal())
    for against, test in ((b, partial(stats.ttest_ind, equal_var=False)), (0.3, stats.ttest_1samp)):
        found = one_sided(a, against, margin)
        for p, alternative in zip(found, ("greater", "less"), strict=True):
            expected = test(a - margin, against, axis=1, alternative=alternative).pvalue
            np.testing.assert_allclose(p, expected, rtol=1e-12)
    rows = Moments.of(a).at(np.array([2, 2, 0]))
    np.testing.assert_array_equal(one_sided_of(rows, 0.3)[0], one_sided(a[[2, 2, 0]], 0.3)[0])


def test_hedges_g_is_unbiased(rng: np.random.Generator) -> None:
    """Over many draws its mean is the true standardised difference; Cohen's d, without the correction, is 15% too large."""
    found = [d.g for d in differences(rng.normal(1.0, 1.0, (20_000, 4)), rng.normal(0.0, 1.0, (20_000, 4)))]
    assert np.mean([g for g in found if g is not None]) == pytest.approx(1.0, abs=0.05)


def test_against_a_number_is_students_test(rng: np.random.Generator) -> None:
    a = rng.normal(1, 2, (3, 6))
    for row, found in enumerate(differences_from(a, 0.5)):
        expected = stats.ttest_1samp(a[row], 0.5)
        interval = expected.confidence_interval(0.95)
        assert found.p == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx((interval.low - 0.5, interval.high - 0.5))


def test_one_sided_tests_are_scipys(rng: np.random.Generator) -> None:
    a, b = rng.normal(1, 2, (3, 5)), rng.normal(0, 1, (3, 7))
    greater, less = one_sided(a, b, margin=0.3)
    expected = stats.ttest_ind(a - 0.3, b, axis=1, equal_var=False, alternative="greater").pvalue
    np.testing.assert_allclose(greater, expected)
    np.testing.assert_allclose(greater + less, 1)
    greater, _ = one_sided(a, 0.2, margin=0.3)
    np.testing.assert_allclose(greater, stats.ttest_1samp(a - 0.3, 0.2, axis=1, alternative="greater").pvalue)


def test_samples_that_do_not_vary_have_the_permutation_tests_p() -> None:
    a, b = np.full((1, 5), 8.0), np.full((1, 5), 7.0)
    exact = stats.permutation_test((a[0], b[0]), lambda x, y: x.mean() - y.mean(), n_resamples=np.inf)
    (found,) = differences(a, b)
    assert found.p == pytest.approx(exact.pvalue)
    assert (found.value, found.low, found.high, found.g) == (1.0, 1.0, 1.0, None)
    greater, less = one_sided(a, b)
    assert greater[0] == pytest.approx(exact.pvalue / 2)
    assert less[0] == 1.0
    (nearly,) = differences(a, np.array([[7.0, 7.0, 7.0, 7.0, np.nextafter(7.0, 8)]]))
    assert nearly.p == pytest.approx(exact.pvalue), "what rounding adds is no spread"
    (equal,) = differences(a, a)
    assert equal.p == 1.0
    (flipped,) = differences_from(a, 7.0)
    assert flipped.p == pytest.approx(2 / 2**5)


def closed_testing(p_values: list[float]) -> list[float]:
    """Holm's procedure by its definition: the largest Bonferroni p-value of all the sets that an hypothesis is in."""
    indices = range(len(p_values))
    sets = [s for size in range(1, len(p_values) + 1) for s in itertools.combinations(indices, size)]
    return [max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in sets if i in s) for i in indices]


def test_holm_is_closed_testing_with_bonferroni(rng: np.random.Generator) -> None:
    p_values = (rng.uniform(size=7) ** 3).tolist()
    assert holm(p_values) == pytest.approx(closed_testing(p_values))
    assert holm([]) == []


def test_holm_finds_a_difference_where_there_is_none_in_one_report_of_twenty(rng: np.random.Generator) -> None:
    groups = rng.normal(size=(1000, 4, 6))
    wrong = 0
    for report in groups:
        pairs = list(itertools.combinations(range(4), 2))
        found = differences(report[[i for i, _ in pairs]], report[[j for _, j in pairs]])
        wrong += min(holm([d.p for d in found])) < 0.05
    assert wrong / len(groups) < 0.05 + 4 * math.sqrt(0.05 * 0.95 / len(groups))


def test_deviations_compare_spreads_as_brown_and_forsythe_do(rng: np.random.Generator) -> None:
    """With equal numbers Welch's t on distances from the median, squared, is their F."""
    a, b = rng.normal(0, 1, 8), rng.normal(5, 3, 8)
    t = stats.ttest_ind(deviations(a), deviations(b), equal_var=False).statistic
    assert t**2 == pytest.approx(stats.levene(a, b, center="median").statistic)


def test_ranks_have_intervals_that_overlap_where_rows_do(rng: np.random.Generator) -> None:
    near = rng.normal(size=8)
    rows = [np.linspace(10, 11, 8), near, near[::-1].copy(), np.linspace(-11, -10, 8)]
    found = rank_intervals(rows, higher_is_better=False)
    assert found[3] == (1, 1, 1)
    assert found[0] == (4, 4, 4)
    assert found[1] == (2, 2, 3)  # equal means share the better rank
    assert rank_intervals(rows, higher_is_better=True)[0] == (1, 1, 1)
