"""Metrics against closed forms, scipy, torchmetrics and torch-fidelity; rulers on made-up data and models."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.image.fid import _compute_fid

from benchmarks.metrics import base
from benchmarks.metrics.base import NonFinite, Subject, seeded, to_uint8
from benchmarks.metrics.bound import Bound
from benchmarks.metrics.frechet import FID, FrechetDistance, frechet_distance
from benchmarks.metrics.modes import Modes, nearest_modes
from benchmarks.metrics.reconstruction import Reconstruction, mse, psnr, ssim, ssim_sigma
from datamodules.mixtures import Mixture, grid, ring
from models.contracts import Elbo


def fresh_seed() -> int:
    return int(torch.randint(2**31, ()))


# ------------------------------------------------------------------------------------------- what is scored


@dataclass
class FakeData:
    """Examples as they are, in batches of which the last may be smaller."""

    x: Tensor
    name: str = "fake"
    is_binary: bool = False
    id: str = "fake"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def info(self) -> Any:
        return SimpleNamespace(id=self.id)

    def batches(self, split: Any, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        assert split == "test"
        yield from self.x[:limit].split(batch_size)


@dataclass
class FakeSampler:
    """Standard normal examples; notes how many it was asked for each time."""

    shape: tuple[int, ...]
    asked: list[int] | None = None
    poison: float = 0.0

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        if self.asked is not None:
            self.asked.append(n)
        x = torch.randn(n, *self.shape, generator=generator)
        x.view(-1)[0] += self.poison
        return x


class FakeReconstructor:
    """Nearly right for dark examples, wrong for bright ones."""

    def reconstruct(self, x: Tensor) -> Tensor:
        return x + 0.3 * x.square()


class FakeBound:
    def elbo(self, x: Tensor) -> Elbo:
        return Elbo(-x.square().flatten(1).sum(1), x.exp().flatten(1).sum(1))

    def log_weights(self, x: Tensor, k: int) -> Tensor:
        raise NotImplementedError

    def why_no_density(self, binary: bool) -> str | None:
        return "binary" if binary else None


class FakeEncoder:
    """Pixels are features."""

    name, checksum = "pixels", "0"

    def __init__(self, dim: int, reason: str | None = None) -> None:
        self.dim, self.reason, self.images = dim, reason, 0

    def why_not(self, shape: tuple[int, ...]) -> str | None:
        return self.reason

    def __call__(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8
        self.images += len(images)
        return images.flatten(1).float()


def subject(model: Any, data: FakeData, encoder: FakeEncoder | None = None, **changes: Any) -> Subject:
    facts = {"split": "test", "samples": 100, "examples": None, "batch_size": 32, "seed": 0} | changes
    return Subject(model, data, device=torch.device("cpu"), load_encoder=lambda: encoder, **facts)


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


# ---------------------------------------------------------------------------------------------- FrechetDistance


def some_features(n: int, dim: int = 6) -> Tensor:
    """Far from the origin, where a sum of squares in float32 would lose the variance."""
    return 300 + torch.randn(n, dim) @ torch.randn(dim, dim)


def test_frechet_metric_over_uneven_batches_equals_the_moments_of_all() -> None:
    real, fake = some_features(157), some_features(211)
    metric = FrechetDistance(6)
    for a, b in zip(real.split(50), fake.split([1, 100, 60, 50]), strict=True):
        metric.update(a, real=True)
        metric.update(b, real=False)
    moments = [m for x in (real.double().numpy(), fake.double().numpy()) for m in (x.mean(0), np.cov(x, rowvar=False))]
    value = metric.compute()
    assert value.dtype == torch.float64
    assert float(value) == pytest.approx(frechet_by_scipy(*moments), rel=1e-6)
    statistics = [fid_features_to_statistics(x.double()) for x in (real, fake)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert float(value) == pytest.approx(theirs, rel=1e-6)


def test_frechet_metric_forgets_when_it_is_reset() -> None:
    metric = FrechetDistance(6)
    for _ in range(2):
        metric.reset()
        real, fake = some_features(30), some_features(40)
        metric.update(real, real=True)
        metric.update(fake, real=False)
    fresh = FrechetDistance(6)
    fresh.update(real, real=True)
    fresh.update(fake, real=False)
    assert float(metric.compute()) == float(fresh.compute())


def test_frechet_metric_of_two_processes_merges_to_that_of_one() -> None:
    real, fake = some_features(60), some_features(90)
    parts, whole = (FrechetDistance(6), FrechetDistance(6)), FrechetDistance(6)
    for metric, a, b in ((parts[0], real[:20], fake[:31]), (parts[1], real[20:], fake[31:]), (whole, real, fake)):
        metric.update(a, real=True)
        metric.update(b, real=False)
    parts[0].merge_state(parts[1])
    assert float(parts[0].compute()) == pytest.approx(float(whole.compute()), rel=1e-6)


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
        metric = FrechetDistance(dim)
        metric.update(torch.randn(n, dim), real=True)
        metric.update(torch.randn(n, dim), real=False)
        total += float(metric.compute())
    assert total / repeats == pytest.approx(expected, rel=0.05)


def test_the_bias_law_holds_for_unequal_variances() -> None:
    n, values, repeats = 10_000, torch.linspace(0.1, 3, 24), 80
    total = 0.0
    for _ in range(repeats):
        metric = FrechetDistance(24)
        metric.update(torch.randn(n, 24) * values.sqrt(), real=True)
        metric.update(torch.randn(n, 24) * values.sqrt(), real=False)
        total += float(metric.compute())
    assert total / repeats == pytest.approx(bias_law(values, n), rel=0.1)


# ---------------------------------------------------------------------------------------------------- FID's ruler


def images(n: int, size: int = 4) -> Tensor:
    """Grey images, each pixel with a brightness and a contrast of its own, some of them out of range."""
    mean, scale = torch.rand(2, 1, size, size)
    return 0.2 + 0.6 * mean + (0.1 + 0.3 * scale) * torch.randn(n, 1, size, size)


class ImageSampler:
    """The images it was given, in order."""

    def __init__(self, images: Tensor) -> None:
        self.images, self.at = images, 0

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        self.at += n
        return self.images[self.at - n : self.at]


def test_fid_is_the_distance_between_features_of_rounded_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_REFERENCES", {})
    real, fake = images(130), images(90)
    values = FID().measure(subject(ImageSampler(fake), FakeData(real), FakeEncoder(16), samples=90, examples=120))
    grey = [np.rint(255 * x.clamp(0, 1).numpy()).astype(float).reshape(len(x), -1) for x in (real[:120], fake)]
    expected = frechet_by_scipy(*(m for x in grey for m in (x.mean(0), np.cov(x, rowvar=False))))
    assert list(values) == ["fid"]
    assert values["fid"].value == pytest.approx(expected, rel=1e-6)
    assert values["fid"].n == 90
    assert values["fid"].detail == {"encoder": "pixels", "reference": 120}


def test_reference_features_are_computed_once_a_data_set_and_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_REFERENCES", {})
    real, encoder = images(50), FakeEncoder(16)
    facts = [{}, {}, {"examples": 40}, {"batch_size": 7}]
    found = [subject(None, FakeData(real), encoder, **f).reference_features for f in facts]
    other = subject(None, FakeData(real + 0.5, id="other"), encoder).reference_features
    assert encoder.images == 50 + 40 + 50 + 50
    assert found[1] is found[0]
    assert [len(f) for f in found] == [50, 50, 40, 50]
    assert not torch.equal(other, found[0])


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


def test_fid_needs_more_reference_images_than_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_REFERENCES", {})
    with pytest.raises(ValueError, match="16 reference images for 16 dimensions"):
        FID().measure(subject(FakeSampler((1, 4, 4)), FakeData(images(16)), FakeEncoder(16)))


# --------------------------------------------------------------------------------------------------- reconstruction


@pytest.mark.parametrize("shape", [(5,), (1, 8, 8), (3, 28, 28)], ids=str)
def test_mse_is_the_mean_over_every_dimension_of_an_example(shape: tuple[int, ...]) -> None:
    x_hat, x = torch.rand(2, 6, *shape)
    expected = ((x_hat.double() - x.double()) ** 2).numpy().reshape(6, -1).mean(1)
    value = mse(x_hat, x)
    assert value.dtype == torch.float64
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-5)


def test_psnr_is_taken_an_image_at_a_time_and_equals_torchmetrics() -> None:
    x = torch.rand(6, 3, 8, 8)
    x_hat = x + torch.logspace(-3, -0.5, 6).reshape(6, 1, 1, 1) * torch.randn_like(x)
    expected = 10 * np.log10(1 / ((x_hat - x).double() ** 2).numpy().reshape(6, -1).mean(1))
    np.testing.assert_allclose(psnr(x_hat, x).numpy(), expected, rtol=1e-5)
    theirs = torch.stack([peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in zip(x_hat, x, strict=True)])
    torch.testing.assert_close(psnr(x_hat, x).float(), theirs, rtol=1e-4, atol=1e-4)


def test_psnr_of_an_error_of_a_tenth_is_twenty_decibels() -> None:
    x = 0.9 * torch.rand(2, 1, 8, 8)
    assert psnr(x + 0.1, x).tolist() == pytest.approx([20, 20], abs=1e-4)


def ssim_by_scipy(x_hat: NDArray[Any], x: NDArray[Any], sigma: float) -> float:
    """Wang et al. 2004, eq. 13, with the window's moments by scipy; (C, H, W)."""

    def mean(image: NDArray[Any]) -> NDArray[Any]:
        radius = int(3.5 * sigma + 0.5)
        return np.stack([scipy.ndimage.gaussian_filter(c, sigma, mode="mirror", radius=radius) for c in image])

    mu_a, mu_b = mean(x_hat), mean(x)
    var_a, var_b, cov = mean(x_hat**2) - mu_a**2, mean(x**2) - mu_b**2, mean(x_hat * x) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return float(value.mean())


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 16, 24)], ids=str)
def test_ssim_equals_its_formula_an_image_at_a_time(shape: tuple[int, ...]) -> None:
    x = torch.rand(4, *shape, dtype=torch.float64)
    x_hat = torch.lerp(x, torch.rand_like(x), torch.linspace(0.1, 1, 4).double().reshape(4, 1, 1, 1))
    sigma = 0.5 if min(shape[1:]) <= 16 else 1.5
    expected = [ssim_by_scipy(a, b, sigma) for a, b in zip(x_hat.numpy(), x.numpy(), strict=True)]
    assert ssim_sigma(shape) == sigma
    np.testing.assert_allclose(ssim(x_hat, x).numpy(), expected, atol=1e-8)
    np.testing.assert_allclose(ssim(x_hat.float(), x.float()).numpy(), expected, atol=1e-3)


def test_ssim_is_torchmetrics_default_on_images_that_its_window_fits() -> None:
    x_hat, x = torch.rand(2, 5, 3, 32, 32)
    theirs = structural_similarity_index_measure(x_hat, x, data_range=1.0, reduction="none")
    torch.testing.assert_close(ssim(x_hat, x), theirs)


@pytest.mark.parametrize("size", [8, 28, 32])
def test_ssim_is_one_for_identical_images_and_less_for_others(size: int) -> None:
    x = torch.cat([torch.rand(3, 1, size, size), torch.zeros(1, 1, size, size), torch.ones(1, 1, size, size)])
    assert ssim(x, x).tolist() == pytest.approx([1] * 5, abs=1e-4)
    other = ssim(1 - x, x)
    assert other.isfinite().all()
    assert (other < 0.9).all()
    assert (other >= -1).all()


# values with a mean over batches that differs from the mean over examples: the last batch is small and bright
def uneven(shape: tuple[int, ...]) -> Tensor:
    return torch.cat([0.3 * torch.rand(64, *shape), 0.7 + 0.3 * torch.rand(5, *shape)])


def test_reconstruction_weighs_by_examples_and_not_by_batches() -> None:
    x = uneven((1, 8, 8))
    x_hat = x + 0.3 * x.square()
    values = Reconstruction().measure(subject(FakeReconstructor(), FakeData(x)))
    assert values["recon_mse"].value == pytest.approx(float(mse(x_hat, x).mean()), rel=1e-6)
    assert values["recon_psnr"].value == pytest.approx(float(psnr(x_hat, x).mean()), rel=1e-6)
    assert values["recon_ssim"].value == pytest.approx(float(ssim(x_hat, x).double().mean()), rel=1e-5)
    assert [value.n for value in values.values()] == [69] * 3
    assert values["recon_ssim"].detail == {"window_sigma": 0.5}
    by_batches = np.mean([float(mse(a, b).mean()) for a, b in zip(x_hat.split(32), x.split(32), strict=True)])
    assert abs(by_batches - values["recon_mse"].value) > 1e-3


def test_reconstruction_does_not_depend_on_the_batch_size_and_reads_as_many_as_it_is_told() -> None:
    x = uneven((1, 8, 8))
    results = [
        Reconstruction().measure(subject(FakeReconstructor(), FakeData(x), batch_size=size, examples=66))
        for size in (1, 7, 100)
    ]
    for name, value in results[0].items():
        assert value.n == 66
        assert [r[name].value for r in results] == pytest.approx([value.value] * 3, rel=1e-5)


def test_reconstruction_of_points_has_no_image_scores() -> None:
    x = torch.rand(40, 2)
    values = Reconstruction().measure(subject(FakeReconstructor(), FakeData(x)))
    assert list(values) == ["recon_mse"]
    assert values["recon_mse"].value == pytest.approx(float((0.3 * x.double().square()).square().mean()), rel=1e-5)


def test_reconstruction_applies_to_what_reconstructs() -> None:
    data = FakeData(torch.rand(4, 2))
    assert Reconstruction().why_not(subject(FakeReconstructor(), data)) is None
    assert Reconstruction().why_not(subject(FakeSampler((2,)), data)) == "the model has no encoder"


# ------------------------------------------------------------------------------------------------------------ bound


def test_bound_weighs_by_examples_and_not_by_batches() -> None:
    x = uneven((3, 2, 2))
    values = Bound().measure(subject(FakeBound(), FakeData(x)))
    reconstruction = -x.double().square().numpy().reshape(69, -1).sum(1).mean()
    kl = x.double().exp().numpy().reshape(69, -1).sum(1).mean()
    assert list(values) == ["elbo", "elbo_reconstruction", "elbo_kl"]
    found = [value.value for value in values.values()]
    assert found == pytest.approx([reconstruction - kl, reconstruction, kl], rel=1e-6)
    assert [value.n for value in values.values()] == [69] * 3
    by_batches = np.mean([float(FakeBound().elbo(batch).value.mean()) for batch in x.split(32)])
    assert abs(by_batches - found[0]) > 0.1


def test_bounds_sums_are_in_float64() -> None:
    """Over many batches a sum in float32 would lose digits."""
    x = torch.full((30_000, 1), 0.1)
    reconstruction, kl = (float(part.double()) for part in FakeBound().elbo(x[:1]))
    values = Bound().measure(subject(FakeBound(), FakeData(x)))
    assert values["elbo"].value == pytest.approx(reconstruction - kl, rel=1e-12)
    assert values["elbo_kl"].value == pytest.approx(kl, rel=1e-12)


def test_bound_applies_to_densities_only() -> None:
    data = FakeData(torch.rand(4, 2))
    assert Bound().why_not(subject(FakeBound(), data)) is None
    assert Bound().why_not(subject(FakeBound(), FakeData(data.x, is_binary=True))) == "binary"
    assert Bound().why_not(subject(FakeSampler((2,)), data)) == "the model has no bound on log p(x)"


# ------------------------------------------------------------------------------------------------------------ modes


@dataclass
class FakeMixtureData(FakeData):
    mixture: Any = None


class MixtureSampler:
    """The data's own density: the best a model can do."""

    def __init__(self, mixture: Mixture, only: int | None = None) -> None:
        self.mixture = mixture if only is None else Mixture(mixture.means[:only], mixture.sigma)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        return torch.from_numpy(self.mixture.sample(n, rng))


def modes_of(model: Any, mixture: Mixture, samples: int, **changes: Any) -> dict[str, float]:
    data = FakeMixtureData(torch.zeros(1, mixture.means.shape[1]), mixture=mixture)
    changes = {"batch_size": 1000, "seed": fresh_seed()} | changes
    values = Modes(samples).measure(subject(model, data, **changes))
    assert {value.n for value in values.values()} == {samples}
    assert values["modes"].detail == {"of": len(mixture.means)}
    return {name: value.value for name, value in values.items()}


MIXTURES = {"ring": Mixture(ring(8, 1.0), 0.01), "grid": Mixture(grid(5, 2.0), 0.05)}


def test_nearest_modes_equals_a_search_through_all_pairs() -> None:
    points, means, sigma = 3 * torch.randn(200, 3), 3 * torch.randn(7, 3), 0.7
    distances = np.sqrt(((points.double()[:, None] - means.double()[None]) ** 2).sum(-1).numpy())
    nearest, good = nearest_modes(points, means, sigma, radius=2.5)
    assert nearest.tolist() == distances.argmin(1).tolist()
    assert good.tolist() == (distances.min(1) <= 2.5 * sigma).tolist()


def test_a_sample_is_of_high_quality_within_three_sigma_of_its_centre() -> None:
    means = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    points = torch.tensor([[0.0, 2.9], [0.0, 3.1], [2.1, 2.1], [2.2, 2.2], [10.0, -2.9], [6.0, 0.0]])
    nearest, good = nearest_modes(points, means, sigma=1.0)
    assert nearest.tolist() == [0, 0, 0, 0, 1, 1]
    assert good.tolist() == [True, False, True, False, True, False]


@pytest.mark.parametrize("name", MIXTURES)
def test_of_real_samples_all_modes_are_found_and_98_89_percent_lie_within_three_sigma(name: str) -> None:
    """In two dimensions the share is 1 - exp(-9/2)."""
    n, mixture, share = 200_000, MIXTURES[name], 1 - math.exp(-4.5)
    found = modes_of(MixtureSampler(mixture), mixture, n, batch_size=n)
    assert found["modes"] == len(mixture.means)
    assert share == pytest.approx(0.9889, abs=1e-4)
    assert found["high_quality"] == pytest.approx(100 * share, abs=800 * math.sqrt(share * (1 - share) / n))


@pytest.mark.parametrize("name", MIXTURES)
def test_a_model_that_covers_some_modes_is_given_those_and_full_quality(name: str) -> None:
    found = modes_of(MixtureSampler(MIXTURES[name], only=3), MIXTURES[name], 2500)
    assert found["modes"] == 3
    assert found["high_quality"] > 96


def test_the_ring_has_eight_distinct_modes_and_each_counts_once() -> None:
    mixture = MIXTURES["ring"]
    collapsed = torch.from_numpy(mixture.means).repeat(4, 1)
    assert modes_of(ImageSampler(collapsed), mixture, 32) == {"modes": 8, "high_quality": 100}


def test_a_mode_without_a_sample_of_high_quality_does_not_count() -> None:
    mixture = MIXTURES["grid"]
    near, beside = torch.from_numpy(mixture.means[:4]), torch.from_numpy(mixture.means[4:])
    points = torch.cat([near, near[:1], beside + torch.tensor([0.0, 4 * mixture.sigma])])  # 5 good, 21 not
    found = modes_of(ImageSampler(points), mixture, 26)
    assert found["modes"] == 4
    assert found["high_quality"] == pytest.approx(100 * 5 / 26)


def test_noise_over_the_plane_reaches_modes_and_has_no_quality() -> None:
    """The area within 3σ of 25 centres is 1.77 of the 100 units that the grid stands on."""
    mixture = MIXTURES["grid"]

    class Noise:
        def sample(self, n: int, generator: torch.Generator) -> Tensor:
            return 10 * torch.rand(n, 2, generator=generator) - 5

    found = modes_of(Noise(), mixture, 100_000)
    area = 25 * math.pi * (3 * mixture.sigma) ** 2 / 100
    assert found["modes"] == 25
    assert found["high_quality"] == pytest.approx(100 * area, abs=800 * math.sqrt(area / 100_000))


def test_modes_apply_to_samples_of_a_known_density() -> None:
    known = FakeMixtureData(torch.zeros(1, 2), mixture=MIXTURES["ring"])
    assert Modes().why_not(subject(FakeSampler((2,)), known)) is None
    assert Modes().why_not(subject(FakeReconstructor(), known)) == "the model does not sample"
    assert Modes().why_not(subject(FakeSampler((2,)), FakeData(torch.zeros(1, 2)))) == "the data's density is not known"


def test_modes_draw_as_many_as_they_are_told_whatever_the_protocol_draws() -> None:
    asked: list[int] = []
    data = FakeMixtureData(torch.zeros(1, 2), mixture=MIXTURES["ring"])
    Modes(70).measure(subject(FakeSampler((2,), asked), data, samples=1000))
    assert asked == [32, 32, 6]
    assert Modes().samples == 2500


# ---------------------------------------------------------------------------------------- draws and their seeds


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100])
def test_a_subject_draws_exactly_n_in_batches(n: int) -> None:
    asked: list[int] = []
    drawn = subject(FakeSampler((3, 2), asked), FakeData(torch.zeros(1, 3, 2))).draw(n)
    assert drawn.shape == (n, 3, 2)
    assert sum(asked) == n
    assert max(asked) <= 32
    assert len(asked) == math.ceil(n / 32)


def test_a_subjects_draws_are_identical_when_repeated_and_are_drawn_once() -> None:
    asked: list[int] = []
    seed, data = fresh_seed(), FakeData(torch.zeros(1, 2))
    first = subject(FakeSampler((2,), asked), data, seed=seed)
    drawn = first.draw(50)
    first.draw(20)
    assert first.draw(50) is drawn
    assert asked == [32, 18, 20]
    torch.rand(3)  # whatever else is drawn in between
    assert torch.equal(subject(FakeSampler((2,)), data, seed=seed).draw(50), drawn)
    assert not torch.equal(subject(FakeSampler((2,)), data, seed=seed + 1).draw(50), drawn)


def test_drawing_leaves_the_global_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    subject(FakeSampler((2,)), FakeData(torch.zeros(1, 2))).draw(40)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_an_error(poison: float) -> None:
    given = subject(FakeSampler((2,), poison=poison), FakeData(torch.zeros(1, 2)))
    for _ in range(2):
        with pytest.raises(NonFinite, match="not finite"):
            given.draw(40)


def test_seeded_is_deterministic_and_depends_on_the_seed_and_on_the_purpose() -> None:
    seed = fresh_seed()

    def numbers(seed: int, purpose: str) -> list[float]:
        torch.rand(int(torch.randint(1, 9, ())))  # whatever came before
        with seeded(seed, purpose):
            return torch.rand(4).tolist()

    assert numbers(seed, "fid") == numbers(seed, "fid")
    assert len({tuple(numbers(s, p)) for s in (seed, seed + 1) for p in ("fid", "bound")}) == 4


def test_seeded_leaves_the_global_random_numbers_as_they_were_even_after_an_error() -> None:
    def fail() -> None:
        with seeded(0, "fid"):
            torch.rand(5)
            raise KeyError

    before = torch.get_rng_state()
    with seeded(1, "fid"):
        torch.rand(5)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_to_uint8_keeps_all_256_grey_levels_and_rounds_to_the_nearest() -> None:
    levels = torch.arange(256)
    grey = to_uint8(levels / 255)
    assert grey.dtype == torch.uint8
    assert grey.tolist() == levels.tolist()
    for nudge in (-0.49, 0.49):
        assert to_uint8((levels + nudge) / 255).tolist() == levels.tolist()


def test_to_uint8_clamps_what_is_out_of_range() -> None:
    assert to_uint8(torch.tensor([-5.0, -0.001, 1.001, 300.0])).tolist() == [0, 0, 255, 255]


def test_an_example_without_a_number_is_never_left_out_of_a_mean() -> None:
    """The mean is then no number either, and its cell gets the reason."""

    class Broken(FakeReconstructor):
        def reconstruct(self, x: Tensor) -> Tensor:
            x_hat = x.clone()
            x_hat[0] = math.nan
            return x_hat

    values = Reconstruction().measure(subject(Broken(), FakeData(torch.rand(64, 1, 8, 8))))
    assert math.isnan(values["recon_mse"].value)
    assert math.isnan(values["recon_psnr"].value)


def test_a_perfect_reconstruction_has_a_finite_psnr() -> None:
    x = torch.rand(3, 1, 8, 8)
    assert psnr(x, x).tolist() == pytest.approx([100.0] * 3)
