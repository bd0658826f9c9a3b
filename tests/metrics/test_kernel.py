"""MMD and KID against a sum over all pairs, and against torchmetrics."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

from benchmarks.metrics.kernel import KID, inverse_multiquadric, polynomial, squared_mmd
from tests.metrics.fakes import FakeData, FakeEncoder, FakeReconstructor, ImageSampler, images, subject


def by_pairs(x: Tensor, y: Tensor, kernel: str) -> float:
    """Gretton et al. 2012, eq. 3, a pair at a time."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        if kernel == "polynomial":
            return float((a @ b / len(a) + 1) ** 3)
        return float(2 * len(a) / (2 * len(a) + ((a - b) ** 2).sum()))

    xs, ys = x.double().numpy(), y.double().numpy()
    within = [
        sum(k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j) / (len(z) * (len(z) - 1))
        for z in (xs, ys)
    ]
    return sum(within) - 2 * sum(k(a, b) for a in xs for b in ys) / (len(xs) * len(ys))


@pytest.mark.parametrize("tile", [1, 7, 13, 100])
@pytest.mark.parametrize("kernel", [polynomial, inverse_multiquadric])
def test_mmd_is_the_sum_over_all_pairs_whatever_the_tile(kernel: object, tile: int) -> None:
    x, y = torch.randn(13, 5, dtype=torch.float64), 1 + torch.randn(9, 5, dtype=torch.float64)
    value, _ = squared_mmd(x, y, kernel, tile)  # type: ignore[arg-type]
    name = "polynomial" if kernel is polynomial else "multiquadric"
    assert value == pytest.approx(by_pairs(x, y, name), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_kid_equals_torchmetrics_over_all_samples(shift: float) -> None:
    real, fake = torch.randn(700, 24).relu(), (shift + torch.randn(700, 24)).relu()
    value, _ = squared_mmd(real, fake, polynomial, tile=256)
    theirs = float(poly_mmd(real.double(), fake.double()))
    assert value == pytest.approx(theirs, rel=1e-5, abs=1e-6)


def test_the_standard_error_is_the_spread_over_fresh_samples() -> None:
    """Also for equal distributions, where it was 1.7 times the spread."""
    for shift, low, high in ((0.5, 0.8, 1.25), (0.0, 0.8, 1.4)):
        found = [squared_mmd(torch.randn(200, 4), shift + torch.randn(150, 4), polynomial) for _ in range(480)]
        values, errors = np.array(found).T
        assert low < errors.mean() / values.std() < high


def test_kid_of_real_against_real_is_zero_within_its_error() -> None:
    values = [squared_mmd(torch.randn(300, 8), torch.randn(400, 8), polynomial) for _ in range(20)]
    z = np.array([value / error for value, error in values])
    assert np.abs(z).max() < 4
    assert np.abs(z.mean()) < 1


def test_kid_reads_the_rulers_features() -> None:
    real, fake = images(60), images(50)
    given = subject(ImageSampler(fake), FakeData(real), FakeEncoder(16), samples=50)
    (value,) = KID().measure(given).values()
    direct, error = squared_mmd(given.reference_features, given.features, polynomial)
    assert (value.value, value.n) == (direct, 50)
    assert value.detail == {"encoder": "pixels", "reference": 60, "standard_error": error}
    assert KID().why_not(subject(FakeReconstructor(), FakeData(real), FakeEncoder(16))) == "the model does not sample"
