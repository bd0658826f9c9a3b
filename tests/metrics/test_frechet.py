"""FID against closed forms, scipy, torchmetrics and torch-fidelity, and against the law of its bias."""

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import _compute_fid

from benchmarks.metrics import frechet
from benchmarks.metrics.frechet import FID, fid_of, frechet_distance, frechet_infinity, moments
from tests.metrics.fakes import (
    FakeData,
    FakeEncoder,
    FakeReconstructor,
    FakeSampler,
    ImageSampler,
    fresh_seed,
    images,
    subject,
)

# --------------------------------------------------------------------------------------------- frechet_distance


def some_gaussian(dim: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(4 * dim, dim, dtype=torch.float64) @ torch.randn(dim, dim, dtype=torch.float64)
    return torch.randn(dim, dtype=torch.float64), torch.cov(x.T).reshape(dim, dim)


def rotation(dim: int) -> Tensor:
    return torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64))[0]


def with_eigenvalues(vectors: Tensor, values: Tensor) -> Tensor:
    return (vectors * values) @ vectors.T


def frechet_by_scipy(mean_a: NDArray[Any], cov_a: NDArray[Any], mean_b: NDArray[Any], cov_b: NDArray[Any]) -> float:
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root).real)


@pytest.mark.parametrize("dim", [1, 3, 20])
def test_frechet_distance_equals_scipys_matrix_root(dim: int) -> None:
    moments = (*some_gaussian(dim), *some_gaussian(dim))
    expected = frechet_by_scipy(*(moment.numpy() for moment in moments))
    assert float(frechet_distance(*moments)) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_equals_torchmetrics_and_torch_fidelity() -> None:
    a, b = some_gaussian(12), some_gaussian(12)
    value = float(frechet_distance(*a, *b))
    assert value == pytest.approx(float(_compute_fid(*a, *b)), rel=1e-6)
    statistics = [{"mu": mean.numpy(), "sigma": cov.numpy()} for mean, cov in (a, b)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert value == pytest.approx(theirs, rel=1e-6)


def test_frechet_distance_of_gaussians_with_the_same_axes_has_a_closed_form() -> None:
    """‖μa - μb‖² + Σ (√λa - √λb)²: Dowson & Landau 1982."""
    vectors, (mean_a, mean_b) = rotation(9), torch.randn(2, 9, dtype=torch.float64)
    a, b = 5 * torch.rand(2, 9, dtype=torch.float64)
    expected = (mean_a - mean_b).square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    value = frechet_distance(mean_a, with_eigenvalues(vectors, a), mean_b, with_eigenvalues(vectors, b))
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-8)


def test_frechet_distance_is_symmetric_and_does_not_depend_on_the_axes() -> None:
    (mean_a, cov_a), (mean_b, cov_b), r = some_gaussian(8), some_gaussian(8), rotation(8)
    value = float(frechet_distance(mean_a, cov_a, mean_b, cov_b))
    assert float(frechet_distance(mean_b, cov_b, mean_a, cov_a)) == pytest.approx(value, rel=1e-6)
    turned = frechet_distance(r @ mean_a, r @ cov_a @ r.T, r @ mean_b, r @ cov_b @ r.T)
    assert float(turned) == pytest.approx(value, rel=1e-6)


def test_frechet_distance_of_a_gaussian_from_itself_is_zero() -> None:
    mean, cov = some_gaussian(30)
    value = float(frechet_distance(mean, cov, mean, cov))
    assert 0 <= value < 1e-6 * float(cov.trace())


def test_frechet_distance_of_a_shift_is_its_square() -> None:
    mean, cov = some_gaussian(10)
    shift = torch.randn(10, dtype=torch.float64)
    assert float(frechet_distance(mean, cov, mean + shift, cov)) == pytest.approx(float(shift @ shift), rel=1e-4)


def test_frechet_distance_of_singular_covariances_is_finite_and_right() -> None:
    """Dead features, and fewer samples than features. Of rank one, tr (uuᵀvvᵀ)^½ = |u·v|."""
    u, v = torch.randn(2, 20, dtype=torch.float64)
    zero = torch.zeros(20, dtype=torch.float64)
    value = frechet_distance(zero, torch.outer(u, u), zero, torch.outer(v, v))
    assert float(value) == pytest.approx(float(u @ u + v @ v - 2 * (u @ v).abs()), abs=1e-4)
    mean, cov = some_gaussian(20)
    expected = float(mean @ mean + cov.trace())
    assert float(frechet_distance(mean, cov, zero, torch.diag(zero))) == pytest.approx(expected, rel=1e-6)
    few = torch.cov(torch.randn(20, 5, dtype=torch.float64))
    assert float(frechet_distance(mean, few, mean, few)) == pytest.approx(0, abs=1e-4)


# ---------------------------------------------------------------------------------------------- FID of features


def some_features(n: int, dim: int = 6) -> Tensor:
    """Far from the origin, where a sum of squares in float32 would lose the variance."""
    return 300 + torch.randn(n, dim) @ torch.randn(dim, dim)


def test_fid_of_features_equals_scipys_and_torch_fidelitys() -> None:
    real, fake = some_features(157), some_features(211)
    facts = [m for x in (real.double().numpy(), fake.double().numpy()) for m in (x.mean(0), np.cov(x, rowvar=False))]
    value = fid_of(real, fake)
    assert value == pytest.approx(frechet_by_scipy(*facts), rel=1e-6)
    statistics = [fid_features_to_statistics(x.double()) for x in (real, fake)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert value == pytest.approx(theirs, rel=1e-6)


def test_moments_are_in_float64_and_unbiased() -> None:
    x = some_features(60)
    mean, cov = moments(x)
    assert mean.dtype == cov.dtype == torch.float64
    np.testing.assert_allclose(mean.numpy(), x.double().numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(cov.numpy(), np.cov(x.double().numpy(), rowvar=False), rtol=1e-6)


def test_the_order_of_examples_does_not_matter_and_a_second_call_gives_the_same() -> None:
    real, fake = some_features(60), some_features(90)
    assert fid_of(real, fake) == fid_of(real, fake)
    shuffled = [x[torch.randperm(len(x))] for x in (real, fake)]
    assert fid_of(*shuffled) == pytest.approx(fid_of(real, fake), rel=1e-6)


def bias_law(values: Tensor, n: int) -> float:
    """FID of n samples from n others of N(0, diag(λ)), to the first order in 1/n: Chong & Forsyth 2020."""
    a, b = values[:, None], values[None, :]
    pairs = a * b * (1 + torch.eye(len(values))) / (a + b)
    return 2 / n * float(values.sum() + 0.5 * pairs.sum())


def test_frechet_distance_falls_with_samples_by_the_bias_law() -> None:
    """One repeat is within 3% of 0.2208 in the root mean square; thirty are within 0.6%."""
    n, dim, repeats = 10_000, 64, 30
    expected = bias_law(torch.ones(dim), n)
    assert expected == pytest.approx(0.2208, abs=1e-4)
    total = 0.0
    for _ in range(repeats):
        total += fid_of(torch.randn(n, dim), torch.randn(n, dim))
    assert total / repeats == pytest.approx(expected, rel=0.05)


def test_the_bias_law_holds_for_unequal_variances() -> None:
    n, values, repeats = 10_000, torch.linspace(0.1, 3, 24), 80
    total = 0.0
    for _ in range(repeats):
        total += fid_of(torch.randn(n, 24) * values.sqrt(), torch.randn(n, 24) * values.sqrt())
    assert total / repeats == pytest.approx(bias_law(values, n), rel=0.1)


# ---------------------------------------------------------------------------------------------------- FID's ruler


def test_fid_is_the_distance_between_features_of_rounded_images() -> None:
    real, fake = images(130), images(90)
    values = FID().measure(subject(ImageSampler(fake), FakeData(real), FakeEncoder(16), samples=90, examples=120))
    grey = [np.rint(255 * x.clamp(0, 1).numpy()).astype(float).reshape(len(x), -1) for x in (real[:120], fake)]
    expected = frechet_by_scipy(*(m for x in grey for m in (x.mean(0), np.cov(x, rowvar=False))))
    assert list(values) == ["fid", "fid_infinity"]
    assert values["fid"].value == pytest.approx(expected, rel=1e-6)
    assert values["fid"].n == 90
    assert values["fid"].detail == {"encoder": "pixels", "reference": 120}


@pytest.mark.parametrize(
    ("model", "data", "changes", "reason"),
    [
        (FakeReconstructor(), torch.rand(9, 1, 4, 4), {}, "does not sample"),
        (FakeSampler((2,)), torch.rand(9, 2), {}, "no feature encoder"),
        (FakeSampler((1, 4, 4)), torch.rand(9, 1, 4, 4), {"samples": 16}, "more samples than dimensions"),
    ],
    ids=["no samples", "points", "few samples"],
)
def test_fid_says_why_it_does_not_apply(model: Any, data: Tensor, changes: dict[str, Any], reason: str) -> None:
    found = FID().why_not(subject(model, FakeData(data), FakeEncoder(16), **changes))
    assert found is not None
    assert reason in found


def test_fid_passes_on_the_encoders_reason() -> None:
    given = subject(FakeSampler((1, 4, 4)), FakeData(images(9)), FakeEncoder(16, reason="too small"))
    assert FID().why_not(given) == "too small"
    assert FID().why_not(subject(FakeSampler((1, 4, 4)), FakeData(images(9)), FakeEncoder(16), samples=17)) is None


def test_fid_needs_more_reference_images_than_dimensions() -> None:
    with pytest.raises(ValueError, match="16 reference images for 16 dimensions"):
        FID().measure(subject(FakeSampler((1, 4, 4)), FakeData(images(16)), FakeEncoder(16)))


# ------------------------------------------------------------------------------------------------------------- FID∞


def test_fid_infinity_takes_the_bias_of_few_samples_away() -> None:
    """Samples of the reference's own distribution: FID is its bias, FID∞ what the reference's own bias leaves."""
    dim, n, m = 16, 4000, 100_000
    real, fake = torch.randn(m, dim), torch.randn(n, dim)
    generator = torch.Generator().manual_seed(fresh_seed())
    limit, error = frechet_infinity(real, fake, list(range(400, n + 1, 240)), generator)
    plain = fid_of(real, fake)
    assert plain == pytest.approx(bias_law(torch.ones(dim), n) / 2, rel=0.35)
    assert abs(limit) < max(0.5 * plain, 4 * error)


@pytest.mark.parametrize("many", [1, 256])
def test_fid_infinity_is_the_intercept_of_numpys_line(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of features of many dimensions, whose parts share products of matrices."""
    monkeypatch.setattr(frechet, "MANY_DIMENSIONS", many)
    real, fake = torch.randn(500, 3), 1 + torch.randn(400, 3)
    sizes, seed = [60, 100, 200, 400], fresh_seed()
    limit, error = frechet_infinity(real, fake, sizes, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    subsets = [fake[torch.randperm(400, generator=generator)[:size]] for size in sizes]
    inverse = np.array([1 / size for size in sizes])
    (_, intercept), covariance = np.polyfit(inverse, [fid_of(real, s) for s in subsets], 1, cov=True)
    assert limit == pytest.approx(intercept, rel=1e-6)
    assert error == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-6)


def test_too_few_samples_have_no_limit_and_say_so() -> None:
    values = FID().measure(subject(ImageSampler(images(60)), FakeData(images(90)), FakeEncoder(16), samples=60))
    assert values["fid"].value > 0
    assert values["fid_infinity"] == "60 samples for 16 dimensions: a line to infinitely many needs 64 or more"


def test_fid_and_its_limit_are_the_same_to_the_bit_when_measured_again() -> None:
    data, drawn = FakeData(images(300)), images(200)
    found = [
        FID().measure(subject(ImageSampler(drawn), data, FakeEncoder(16), samples=200, batch_size=64)) for _ in range(2)
    ]
    assert found[0]["fid"].value == found[1]["fid"].value
    assert found[0]["fid_infinity"].value == found[1]["fid_infinity"].value
    assert found[0]["fid_infinity"].detail["standard_error"] > 0
