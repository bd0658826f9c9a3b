"""MSE, PSNR and SSIM against their formulas and torchmetrics."""

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from benchmarks.metrics.reconstruction import Reconstruction, mse, psnr, ssim, ssim_sigma
from tests.metrics.fakes import FakeData, FakeReconstructor, FakeSampler, subject, uneven

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
