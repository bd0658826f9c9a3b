"""MIND against POT, a closed form, and the law of its bias."""

import math

import ot
import pytest
import torch

from benchmarks.metrics.sliced import MIND, mean_squared_transport, unit_vectors
from tests.metrics.fakes import FakeData, FakeEncoder, ImageSampler, fresh_seed, images, subject


def directions(n: int, dim: int) -> torch.Tensor:
    return unit_vectors(n, dim, torch.Generator().manual_seed(fresh_seed()))


def test_the_mean_over_directions_is_that_of_pot() -> None:
    x, y, u = torch.randn(90, 7).double(), (1.3 * torch.randn(90, 7) + 0.2).double(), directions(150, 7).double()
    theirs = ot.sliced.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=u.T.numpy(), p=2)
    assert float(mean_squared_transport(x, y, u)) == pytest.approx(theirs**2, rel=1e-9)


def basis(dim: int) -> torch.Tensor:
    """Orthogonal directions: squares along them have the mean that they have along all directions."""
    return torch.linalg.qr(torch.randn(dim, dim))[0]


def test_a_shift_and_a_scale_have_their_closed_form() -> None:
    """N(a, s²I) against N(b, t²I): each direction u has (uᵀ(a - b))² + (s - t)², so MIND is 3‖a - b‖² + 3D (s - t)²."""
    dim, n, s, t = 5, 40_000, 1.0, 1.7
    shift = torch.randn(dim)
    x, y = s * torch.randn(n, dim), t * torch.randn(n, dim) + shift
    expected = 3 * float(shift.square().sum()) + 3 * dim * (s - t) ** 2
    assert 3 * dim * float(mean_squared_transport(x, y, basis(dim))) == pytest.approx(expected, rel=0.06)


def test_a_shift_alone_is_exact_for_any_number_of_samples() -> None:
    x, shift = torch.randn(9, 4).double(), torch.randn(4).double()
    found = float(mean_squared_transport(x, x + shift, basis(4).double()))
    assert 12 * found == pytest.approx(3 * float(shift.square().sum()), rel=1e-5)


def test_directions_are_uniform_on_the_sphere() -> None:
    u = directions(20_000, 3)
    torch.testing.assert_close(u.norm(dim=1), torch.ones(len(u)))
    torch.testing.assert_close(u.T @ u / len(u), torch.eye(3) / 3, atol=0.02, rtol=0)
    assert u.mean(0).norm() < 0.03


def test_the_bias_falls_about_as_one_over_the_number_of_samples() -> None:
    """Of one Gaussian, W₂² of n against n draws is about 2 log log n / n: four times the draws, a little more than a quarter."""
    u = directions(80, 6)
    small, large = (sum(float(mean_squared_transport(*torch.randn(2, n, 6), u)) for _ in range(8)) for n in (250, 1000))
    law = math.log(math.log(1000)) / math.log(math.log(250)) / 4
    assert large / small == pytest.approx(law, rel=0.3)


def test_the_ruler_compares_equally_many_features_and_says_how_many() -> None:
    real, fake = images(80), images(50)
    found = MIND(samples=60, projections=40).measure(
        subject(ImageSampler(fake), FakeData(real), FakeEncoder(16), samples=50)
    )["mind"]
    assert not isinstance(found, str)
    assert found.n == found.detail["reference"] == 50
    assert found.detail == {"encoder": "pixels", "reference": 50, "projections": 40}
    same = MIND(samples=60, projections=40).measure(
        subject(ImageSampler(real), FakeData(real), FakeEncoder(16), samples=80)
    )["mind"]
    assert not isinstance(same, str)
    assert same.n == 60
    assert 0 < same.value < found.value, "two parts of one set are not equal, and nearer than two sets"


def test_a_count_below_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="projections is 0"):
        MIND(samples=5, projections=0)
