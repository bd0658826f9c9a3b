"""Latent inversion: it finds a code that was drawn, and measures what it found."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.metrics.inversion import Inversion, invert
from benchmarks.metrics.reconstruction import mse, psnr, ssim
from models.priors import Normal, Uniform
from tests.metrics.fakes import FakeData, FakeSampler, fresh_seed, subject


class Net:
    """A smooth decoder to grey images of 8x8."""

    def __init__(self, prior: Any) -> None:
        self.prior = prior
        self.net = nn.Sequential(nn.Linear(prior.dim, 64), nn.Tanh(), nn.Linear(64, 64), nn.Sigmoid())

    def decode(self, z: Tensor) -> Tensor:
        return self.net(z).view(-1, 1, 8, 8)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            return self.decode(self.prior.sample(n, generator))


@pytest.mark.parametrize("prior", [Normal(4), Uniform(4)], ids=["normal", "uniform"])
def test_a_code_that_was_drawn_is_found_again(prior: Any) -> None:
    model, generator = Net(prior), torch.Generator().manual_seed(fresh_seed())
    z = prior.sample(20, generator)
    with torch.no_grad():
        x = model.decode(z)
    found = invert(model.decode, prior, x, 400, 4, 0.1, generator)
    assert found.shape == z.shape
    assert float((found - z).abs().max()) < 0.02
    if isinstance(prior, Uniform):
        assert float(found.abs().max()) <= 1


def test_more_restarts_never_make_it_worse() -> None:
    """The first restart's draws are the same: what is added can only win."""
    prior = Normal(1)

    def decode(z: Tensor) -> Tensor:
        return torch.sin(4 * z)  # many valleys

    x, seed = torch.tensor([[0.3], [-0.8], [0.99]]), fresh_seed()

    def error(restarts: int) -> Tensor:
        draws = torch.randn(6, 1, generator=torch.Generator().manual_seed(seed))

        class Pinned(Normal):
            def sample(self, n: int, *_: Any) -> Tensor:
                return draws[:n].clone()

        found = invert(decode, Pinned(1), x, 25, restarts, 0.1, torch.Generator())
        return mse(decode(found), x)

    assert prior.dim == 1
    assert bool((error(2) <= error(1)).all())


def test_the_ruler_measures_what_it_found_and_leaves_no_gradients() -> None:
    model = Net(Normal(4))
    x = model.sample(30, torch.Generator().manual_seed(1))
    ruler = Inversion(examples=25, steps=60, restarts=2)
    given = subject(model, FakeData(x), seed=5)
    with torch.no_grad():  # as scoring does
        values = dict(ruler.measure(given))
        again = ruler.measure(subject(model, FakeData(x), seed=5))
        found = given.decode(ruler.search(given, x[:25]))
    assert values == again
    for name, function in {"inversion_mse": mse, "inversion_psnr": psnr, "inversion_ssim": ssim}.items():
        assert values[name].value == pytest.approx(float(function(found, x[:25]).double().mean()), rel=1e-6)
        assert values[name].n == 25
    assert values["inversion_mse"].detail == {"steps": 60, "restarts": 2}
    assert all(weight.grad is None for weight in model.net.parameters())
    assert values["inversion_mse"].value < float(mse(given.draw(25), x[:25]).mean()) / 4


def test_an_image_that_the_decoder_cannot_make_keeps_its_distance() -> None:
    model = Net(Normal(2))
    x = (torch.rand(5, 1, 8, 8) > 0.5).float()
    value = Inversion(examples=5, steps=50).measure(subject(model, FakeData(x)))["inversion_mse"].value
    assert math.isfinite(value)
    assert value > 0.05


def test_it_applies_to_decoders_and_names_what_is_out_of_range() -> None:
    assert Inversion().why_not(subject(FakeSampler((2,)), FakeData(torch.rand(4, 2)))) == "the model has no decoder"
    for name in ("examples", "steps", "restarts"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            Inversion(**{name: 0})
