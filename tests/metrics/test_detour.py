"""FID of decoded codes, fitted codes and midpoints; the aggregate posterior against the prior."""

import numpy as np
import pytest
import torch
from scipy.spatial import geometric_slerp
from torch import Tensor

from benchmarks.metrics.detour import (
    FittedFID,
    InterpolationFID,
    Posterior,
    ReconstructionFID,
    draw_fitted,
)
from benchmarks.metrics.frechet import fid_of
from models.contracts import Encodes
from models.priors import Normal, Uniform
from tests.metrics.fakes import FakeData, FakeEncoder, FakeSampler, fresh_seed, images, subject


class Codec:
    """Codes of four of an image's pixels; q(z|x) has a spread of its own. Decoding repeats them."""

    def __init__(self, spread: float = 0.0, scale: float = 4.0) -> None:
        self.prior, self.spread, self.scale = Normal(4), spread, scale

    def encode(self, x: Tensor) -> Tensor:
        return self.scale * (x.flatten(1)[:, :4] - 0.5)

    def draw_code(self, x: Tensor) -> Tensor:
        return self.encode(x) + self.spread * torch.randn(len(x), 4)

    def decode(self, z: Tensor) -> Tensor:
        return (0.5 + z.repeat(1, 4).view(-1, 1, 4, 4) / self.scale).clamp(0, 1)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


def test_reconstruction_fid_is_that_of_the_reconstructed_split() -> None:
    model, data = Codec(), FakeData(images(70))
    given = subject(model, data, FakeEncoder(16))
    value = ReconstructionFID().measure(given)["reconstruction_fid"]
    direct = fid_of(given.reference_features, given.features_of(model.reconstruct(data.x)))
    assert value.value == pytest.approx(direct, rel=1e-9)
    assert value.n == 70


class Perfect(Codec):
    """An image's pixels are its code."""

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        return z.view(-1, 1, 4, 4)


def test_a_perfect_codec_has_no_reconstruction_fid() -> None:
    given = subject(Perfect(), FakeData(images(70)), FakeEncoder(16))
    scale = float(given.reference_features.double().var(0).sum())
    assert ReconstructionFID().measure(given)["reconstruction_fid"].value < 1e-6 * scale


def test_a_mixture_is_fitted_where_a_gaussian_is_not_enough() -> None:
    """Codes in two far clusters: half a Gaussian's draws fall between them, none of the mixture's."""
    codes = torch.cat([torch.randn(300, 2), 20 + torch.randn(300, 2)])[torch.randperm(600)]
    between = [
        float(((z > 5) & (z < 15)).all(1).float().mean())
        for z in (draw_fitted(codes, k, 2000, fresh_seed()) for k in (1, 2))
    ]
    assert between[0] > 0.2
    assert between[1] == 0


def test_fitted_draws_have_the_codes_moments_in_no_order_and_are_pinned() -> None:
    codes, seed = torch.randn(2000, 3) @ torch.randn(3, 3) + 5, fresh_seed()
    drawn = draw_fitted(codes, 4, 4000, seed)
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), rtol=0, atol=0.3)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(codes.T), rtol=0.2, atol=0.3)
    torch.testing.assert_close(drawn[:2000].mean(0), drawn[2000:].mean(0), rtol=0, atol=0.3)
    assert torch.equal(drawn, draw_fitted(codes, 4, 4000, seed))
    with pytest.raises(ValueError, match="3 codes are too few for a mixture of 4"):
        draw_fitted(codes[:3], 4, 10, seed)


def test_fitted_fid_reads_draws_of_the_training_codes() -> None:
    """Drawn codes have the posterior's spread in them: where that is large, fitting says so."""
    data = FakeData(images(300))
    narrow, wide = (
        FittedFID(components=2, codes=200).measure(subject(Codec(spread), data, FakeEncoder(16), samples=100))
        for spread in (0.0, 3.0)
    )
    assert wide["fid_fitted_gaussian"].value > 1.1 * narrow["fid_fitted_gaussian"].value
    assert (
        narrow["fid_fitted"].detail | {"encoder": "pixels", "components": 2, "codes": 200}
        == narrow["fid_fitted"].detail
    )
    assert narrow["fid_fitted_gaussian"].detail["components"] == 1
    assert narrow["fid_fitted"].n == 100


@pytest.mark.parametrize(("is_shape", "moments", "shape"), [(False, 1.0, 0.0), (True, 0.0, 1.0)])
def test_the_ladder_separates_moments_from_shape(is_shape: bool, moments: float, shape: float) -> None:
    """Codes off the origin are a matter of moments; codes in two clusters of mean 0 and variance 1, of shape."""

    class Curve(Codec):
        """A code of one number, and sixteen pixels along a curve."""

        def __init__(self) -> None:
            self.prior = Normal(1)

        def sample(self, n: int, generator: torch.Generator) -> Tensor:
            return self.decode(self.prior.sample(n, generator))

        def decode(self, z: Tensor) -> Tensor:
            waves = 0.5 + 0.4 * torch.sin(z * torch.linspace(0.2, 3, 15) + torch.arange(15))
            return torch.cat([z.sigmoid(), waves], 1).view(-1, 1, 4, 4)

        def encode(self, x: Tensor) -> Tensor:
            return torch.logit(x.flatten(1)[:, :1])

        def draw_code(self, x: Tensor) -> Tensor:
            return self.encode(x)

    model = Curve()
    sign = torch.where(torch.rand(2000, 1) < 0.5, -1.0, 1.0)
    data = FakeData(model.decode((0.95 * sign if is_shape else 2) + 0.3 * torch.randn(2000, 1)))
    given = subject(model, data, FakeEncoder(16), samples=2000, seed=fresh_seed())
    values = FittedFID(components=2).measure(given)
    assert values["moments_share"].value == pytest.approx(moments, abs=0.2)
    assert values["shape_share"].value == pytest.approx(shape, abs=0.2)


def test_a_midpoint_of_a_normal_prior_is_on_the_great_circle() -> None:
    """Against scipy, on the unit sphere; and as long as its ends where they are equally long."""
    a, b = torch.nn.functional.normalize(torch.randn(2, 5, 7, dtype=torch.float64), dim=-1)
    mid = Normal(7).midpoint(a, b)
    expected = np.stack([geometric_slerp(p, q, [0.5])[0] for p, q in zip(a.numpy(), b.numpy(), strict=True)])
    torch.testing.assert_close(mid, torch.from_numpy(expected))
    torch.testing.assert_close(Normal(7).midpoint(3 * a, 3 * b).norm(dim=1), torch.full((5,), 3.0).double())
    torch.testing.assert_close(Normal(7).midpoint(a, a), a)
    assert bool(Normal(7).midpoint(a, -a).isfinite().all())
    torch.testing.assert_close(Uniform(7).midpoint(a, b), (a + b) / 2)


def test_interpolation_never_pairs_an_example_with_itself() -> None:
    """Of two examples every midpoint is the same."""
    seen = []

    class Watched(Codec):
        def decode(self, z: Tensor) -> Tensor:
            seen.append(z)
            return super().decode(z)

    data = FakeData(images(2))
    values = InterpolationFID().measure(subject(Watched(), data, FakeEncoder(16), samples=40))
    assert str(values["interpolation_fid"]).startswith("2 reference images for 16 dimensions")
    first, second = Codec().encode(data.x)
    on_circle, straight, centred = torch.cat(seen).split(40)
    torch.testing.assert_close(on_circle, Normal(4).midpoint(first[None], second[None]).expand(40, -1))
    torch.testing.assert_close(straight, ((first + second) / 2).expand(40, -1))
    torch.testing.assert_close(centred, straight, rtol=0, atol=1e-4)  # about their mean two codes are opposite


def test_the_path_about_the_mean_follows_codes_that_lie_far_from_the_origin() -> None:
    """Measured once: codes of an MNIST autoencoder lie 7.5 from the origin with a standard deviation of 0.75."""
    seen = []

    class Far(Codec):
        def encode(self, x: Tensor) -> Tensor:
            return 7.5 + 0.75 * super().encode(x)

        def decode(self, z: Tensor) -> Tensor:
            seen.append(z)
            return super().decode(z)

    data = FakeData(images(300))
    InterpolationFID().measure(subject(Far(), data, FakeEncoder(16), samples=200))
    codes = Far().encode(data.x)
    about_origin, straight, centred = (z - codes.mean(0) for z in torch.cat(seen).split(200))
    # the two codes of each midpoint, and the point between them on the great circle, by the formula with sines (White 2016)
    every = torch.combinations(torch.arange(len(codes)))
    from_mean = (codes - codes.mean(0)).double()
    middles = from_mean[every].mean(1)
    a, b = from_mean[every[torch.cdist(straight.double(), middles).argmin(1)]].unbind(1)
    angle = torch.arccos(torch.nn.functional.cosine_similarity(a, b).clamp(-1, 1))
    expected = (torch.sin(angle / 2) / torch.sin(angle))[:, None] * (a + b)
    is_clear = (angle > 0.05) & (angle < 3.0)
    assert is_clear.sum() > 150
    torch.testing.assert_close(centred.double()[is_clear], expected[is_clear], rtol=1e-3, atol=1e-3)
    spread = float(from_mean.norm(dim=1).mean())
    assert float(centred.norm(dim=1).mean()) > 0.9 * spread
    assert float(straight.norm(dim=1).mean()) < 0.85 * spread
    assert float(about_origin.norm(dim=1).mean()) < 0.95 * spread


def test_interpolation_fid_is_that_of_decoded_midpoints() -> None:
    """They lie between examples, and so spread less than what a perfect codec decodes."""
    data = FakeData(images(400))
    given = subject(Perfect(), data, FakeEncoder(16), samples=300, seed=fresh_seed())
    value = InterpolationFID().measure(given)["interpolation_fid"]
    again = InterpolationFID().measure(subject(Perfect(), data, FakeEncoder(16), samples=300, seed=given.seed))
    assert value == again["interpolation_fid"]
    assert value.n == 300
    # the root of half the variance in every direction would cost (1 - √½)² = 0.086 of it
    assert value.value > 0.03 * float(given.reference_features.double().var(0).sum())


# ------------------------------------------------------------------------------------------- the aggregate posterior


class Given:
    """Examples are their own codes."""

    def __init__(self, dim: int, spread: float = 0.0) -> None:
        self.prior, self.spread = Normal(dim), spread

    def encode(self, x: Tensor) -> Tensor:
        return x

    def draw_code(self, x: Tensor) -> Tensor:
        return x + self.spread * torch.randn_like(x)

    def decode(self, z: Tensor) -> Tensor:
        return z


def test_an_aggregate_posterior_that_is_the_prior_has_no_distance_from_it() -> None:
    value = Posterior().measure(subject(Given(5), FakeData(torch.randn(800, 5)), batch_size=300))["posterior_mmd"]
    assert abs(value.value) < 4 * value.detail["standard_error"]
    far = Posterior().measure(subject(Given(5), FakeData(2 + torch.randn(800, 5)), batch_size=300))["posterior_mmd"]
    assert far.value > 20 * far.detail["standard_error"]


def test_the_distance_is_that_of_draws_and_not_of_means() -> None:
    """Means of variance ¾ and posteriors of variance ¼ together are the prior; the means alone are not."""
    means = 0.75**0.5 * torch.randn(3000, 3)
    drawn, alone = (
        Posterior().measure(subject(Given(3, spread), FakeData(means), batch_size=3000))["posterior_mmd"]
        for spread in (0.5, 0.0)
    )
    assert abs(drawn.value) < 4 * drawn.detail["standard_error"]
    assert alone.value > 4 * alone.detail["standard_error"]


def test_active_units_are_those_whose_means_vary() -> None:
    scale = torch.tensor([1.0, 0.2, 0.05, 0.0])
    value = Posterior().measure(subject(Given(4, 1.0), FakeData(scale * torch.randn(500, 4))))["active_units"]
    assert (value.value, value.detail) == (2, {"of": 4})
    assert (
        Posterior(threshold=1e-4)
        .measure(subject(Given(4), FakeData(scale * torch.randn(500, 4))))["active_units"]
        .value
        == 3
    )


@pytest.mark.parametrize("ruler", [FittedFID, ReconstructionFID, InterpolationFID, Posterior])
def test_without_an_encoder_there_is_no_detour(ruler: type) -> None:
    assert isinstance(Codec(), Encodes)
    assert ruler().why_not(subject(FakeSampler((1, 4, 4)), FakeData(images(9)))) == "the model has no encoder"
