"""Precision, recall, density and coverage against their definition, the prdc package, and the authors' own figures."""

import pytest
import torch
from prdc import compute_prdc
from torch import Tensor

from benchmarks.metrics.neighbours import Manifold, Neighbours, manifold_scores
from tests.metrics.fakes import FakeData, FakeEncoder, FakeReconstructor, ImageSampler, images, subject


def by_definition(real: Tensor, fake: Tensor, k: int) -> Manifold:
    """A point at a time, in float64 differences."""

    def distances(a: Tensor, b: Tensor) -> Tensor:
        return (a.double()[:, None] - b.double()[None]).square().sum(-1).sqrt()

    # the nearest of all is the point itself
    real_radii, fake_radii = (distances(x, x).sort(1).values[:, k] for x in (real, fake))
    between = distances(real, fake)
    in_real, in_fake = between < real_radii[:, None], between < fake_radii[None]
    return Manifold(
        precision=float(in_real.any(0).double().mean()),
        recall=float(in_fake.any(1).double().mean()),
        density=float(in_real.sum(0).double().mean() / k),
        coverage=float(in_real.any(1).double().mean()),
    )


@pytest.mark.parametrize("tile", [5, 64, 1000])
@pytest.mark.parametrize("k", [1, 5])
def test_the_scores_are_their_definition_whatever_the_tile(k: int, tile: int) -> None:
    real, fake = torch.randn(90, 6), 0.7 * torch.randn(70, 6) + 0.3
    assert manifold_scores(real, fake, k, tile) == by_definition(real, fake, k)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_the_scores_do_not_suffer_where_float32_cancels(scale: float) -> None:
    """Two tight clusters far from the origin and from each other: products in float32 keep nothing of their spread."""
    centres = 100 * torch.randn(2, 8)
    real, fake = (centres[torch.randint(2, (n,))] + 1e-3 * torch.randn(n, 8) for n in (80, 60))
    real, fake = scale * real, scale * fake
    assert manifold_scores(real, fake, 3) == by_definition(real, fake, 3)


def test_repeated_points_are_counted_as_the_definition_does() -> None:
    real, fake = torch.randn(12, 3).repeat(6, 1), torch.randn(9, 3).repeat(7, 1)
    fake[:12] = real[:12]
    assert manifold_scores(real, fake, 5) == by_definition(real, fake, 5)


def rounding_decides(real: Tensor, fake: Tensor, k: int) -> bool:
    """Whether a point lies so near to the border of a neighbourhood that float32 may see it on either side."""
    gaps = []
    for centres, points in ((real.double(), fake.double()), (fake.double(), real.double())):
        radii = torch.cdist(centres, centres).kthvalue(k + 1).values  # the nearest is the centre itself
        gaps.append((torch.cdist(points, centres) / radii - 1).abs().min())
    return bool(min(gaps) < 1e-5)


def test_the_scores_equal_the_authors_package() -> None:
    while True:
        real, fake = torch.randn(600, 20).relu(), (1.1 * torch.randn(500, 20)).relu()
        if not rounding_decides(real, fake, 5):
            break
    theirs = compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)
    for name, value in manifold_scores(real, fake, 5)._asdict().items():
        assert value == pytest.approx(theirs[name], abs=1e-12), name


def test_a_gaussian_against_itself_has_the_figures_that_the_authors_print() -> None:
    """Naeem et al.'s README: d = 1000, N = 10,000, k = 5."""
    found = manifold_scores(torch.randn(10_000, 1000), torch.randn(10_000, 1000), 5)
    assert found.precision == pytest.approx(0.477, abs=0.04)
    assert found.recall == pytest.approx(0.471, abs=0.04)
    assert found.density == pytest.approx(1.056, abs=0.2)
    assert found.coverage == pytest.approx(0.974, abs=0.04)


def test_precision_and_recall_are_not_exchanged() -> None:
    """Real data has two clusters, the model one of them: all it draws is real, half of what is real it draws."""
    one, other = 0.1 * torch.randn(4000, 2), 50 + 0.1 * torch.randn(2000, 2)
    real, fake = torch.cat([one[:2000], other]), one[2000:]
    found = manifold_scores(real, fake, 5)
    # of two thousand, some fall outside every ball
    assert found.precision > 0.9
    assert found.recall == pytest.approx(0.5, abs=0.03)
    assert found.coverage == pytest.approx(0.5, abs=0.03)


def test_the_ruler_reads_features_and_says_k() -> None:
    real, fake = images(60), images(50)
    given = subject(ImageSampler(fake), FakeData(real), FakeEncoder(16), samples=50)
    values = Neighbours(k=3).measure(given)
    expected = by_definition(given.reference_features, given.features, 3)
    assert {name: value.value for name, value in values.items()} == expected._asdict()
    assert values["recall"].detail == {"encoder": "pixels", "reference": 60, "neighbours": 3}


def test_what_cannot_be_measured_says_why() -> None:
    with pytest.raises(ValueError, match="5 samples: k = 5 nearest neighbours need more"):
        manifold_scores(torch.randn(9, 2), torch.randn(5, 2), 5)
    with pytest.raises(ValueError, match="k is 0"):
        Neighbours(k=0)
    assert Neighbours().why_not(subject(FakeReconstructor(), FakeData(images(9)))) == "the model does not sample"
