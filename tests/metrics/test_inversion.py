"""Latent inversion: it finds a code that was drawn, and measures what it found."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.metrics.base import Value
from benchmarks.metrics.inversion import Inversion, Nearest, invert
from benchmarks.metrics.reconstruction import mse, psnr, ssim
from models.contracts import Composition
from models.networks.dcgan import Decoder
from models.networks.folding import folded
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
    found = invert(model.decode, prior, x, prior.sample(80, generator), 400, 0.1).latents
    assert found.shape == z.shape
    assert float((found - z).abs().max()) < 0.02
    if isinstance(prior, Uniform):
        assert float(found.abs().max()) <= 1


def test_more_restarts_never_make_it_worse() -> None:
    """The first restart's draws are the same: what is added can only win."""

    def decode(z: Tensor) -> Tensor:
        return torch.sin(4 * z)  # many valleys

    x, starts = torch.tensor([[0.3], [-0.8], [0.99]]), torch.randn(6, 1)
    one, two = (invert(decode, Normal(1), x, starts[: 3 * restarts], 25, 0.1) for restarts in (1, 2))
    assert bool((two.errors <= one.errors).all())
    torch.testing.assert_close(mse(decode(two.latents), x), two.errors.double())


def errors_by_step(model: Net, x: Tensor, starts: Tensor, steps: int) -> Tensor:
    """The best error of each path until each step, (steps, K, N), by Adam's formulas and autograd."""
    z, m, v = starts.clone(), torch.zeros_like(starts), torch.zeros_like(starts)
    best, by_step = torch.full((len(z),), torch.inf), []
    for step in range(steps):
        z.requires_grad_()
        error = (model.decode(z).flatten(1) - x.flatten(1).repeat(len(z) // len(x), 1)).square().sum(1)
        (gradient,) = torch.autograd.grad(error.sum(), z)
        best = torch.minimum(best, error.detach())
        by_step.append(best)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient.square()
        rate = 0.1 * (1 + math.cos(math.pi * step / steps)) / 2
        corrected = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
        z = z.detach() - rate * corrected[0] / (corrected[1].sqrt() + 1e-8)
    return torch.stack(by_step).view(steps, -1, len(x))


def test_paths_that_are_behind_end_and_the_others_go_on_as_before() -> None:
    """Paths do not know of each other, so the result follows from the paths of a search that drops none."""
    model, generator = Net(Normal(3)), torch.Generator().manual_seed(fresh_seed())
    x, starts = torch.rand(15, 1, 8, 8, generator=generator), model.prior.sample(60, generator)
    by_step = errors_by_step(model, x, 2 * starts, 100)
    alive = torch.ones(4, 15, dtype=torch.bool)
    for look in (20, 40, 60):
        so_far = by_step[look - 1]
        alive &= so_far <= 1.02 * so_far.where(alive, torch.inf).min(0).values
    expected = by_step[-1].where(alive, torch.inf).min(0).values
    assert 15 < int(alive.sum()) < 60

    rows = list[int]()

    def decode(z: Tensor) -> Tensor:
        rows.append(len(z))
        return model.decode(z)

    found = invert(decode, model.prior, x, 2 * starts, 100, 0.1, drop=0.02)
    torch.testing.assert_close(found.errors, expected, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(mse(model.decode(found.latents), x).float() * 64, found.errors, rtol=1e-4, atol=1e-6)
    assert (rows[0], rows[-1]) == (60, int(alive.sum()))
    # a share that no path exceeds changes nothing, to the bit
    whole, nothing = (invert(model.decode, model.prior, x, starts, 30, 0.1, drop=drop) for drop in (None, 1e9))
    assert torch.equal(whole.latents, nothing.latents)
    assert torch.equal(whole.errors, nothing.errors)


def test_the_worth_of_a_restart_is_what_one_restart_fewer_would_cost() -> None:
    by_path = torch.rand(5, 40, generator=torch.Generator().manual_seed(fresh_seed()))
    nearest = Nearest(torch.zeros(40, 2), by_path.min(0).values, by_path)
    without = [by_path[[path for path in range(5) if path != left_out]].min(0).values.mean() for left_out in range(4)]
    expected = float(torch.stack(without).mean() / nearest.errors.mean()) - 1
    assert nearest.worth(4) == pytest.approx(expected, rel=1e-4)
    assert nearest._replace(by_path=by_path[:1]).worth(1) == math.inf
    by_path[4] = 0.0001  # paths from codes
    assert nearest.worth(4) == 0


def test_restarts_without_worth_ask_for_no_further_round() -> None:
    model, x = Net(Normal(4)), torch.rand(20, 1, 8, 8)

    def detail(worth: float | None) -> Any:
        ruler = Inversion(examples=20, steps=60, restarts=2, worth=worth)
        return ruler.measure(subject(model, FakeData(x), seed=5))["inversion_floor"].detail  # type: ignore[union-attr]

    assert detail(None)["rounds"] > 1
    assert detail(1e3)["rounds"] == 1
    assert detail(1e-12) == detail(None)


def test_the_floor_is_the_error_of_the_same_search_where_a_latent_without_error_exists() -> None:
    model = Net(Normal(4))
    x = torch.rand(30, 1, 8, 8)
    values = Inversion(examples=20, steps=150, restarts=2).measure(subject(model, FakeData(x), seed=5))
    floor = values["inversion_floor"]
    assert isinstance(floor, Value)
    assert floor.value < 1e-5
    assert floor.value < values["inversion_mse"].value / 100  # type: ignore[union-attr]
    assert floor.detail["by_round"] == sorted(floor.detail["by_round"], reverse=True)
    assert floor.detail["restarts"] == 2 * floor.detail["rounds"]
    short = Inversion(examples=20, steps=2, restarts=1, rounds=1).measure(subject(model, FakeData(x), seed=5))
    assert short["inversion_floor"].value > 1e-4, "a search that is too short says so"  # type: ignore[union-attr]


def test_codes_are_starts_where_there_is_an_encoder() -> None:
    """Measured once: 0.041 by search from the prior, 0.0064 by the autoencoder's own encoder."""

    class Coded(Net):
        def encode(self, x: Tensor) -> Tensor:
            return self.codes[: len(x)]

        def draw_code(self, x: Tensor) -> Tensor:
            return self.encode(x)

    model = Coded(Normal(4))
    model.codes = 30 + torch.randn(12, 4)  # far from every draw of the prior
    with torch.no_grad():
        x = model.decode(model.codes)
    values = Inversion(examples=12, steps=2, restarts=1).measure(subject(model, FakeData(x), seed=5))
    assert values["inversion_mse"].value < 1e-12  # type: ignore[union-attr]
    assert values["inversion_norm"].value > 10  # type: ignore[union-attr]


def test_the_ruler_measures_what_it_found_and_leaves_no_gradients() -> None:
    model = Net(Normal(4))
    x = model.sample(30, torch.Generator().manual_seed(1))
    ruler = Inversion(examples=25, steps=60, restarts=2, rounds=1)
    given = subject(model, FakeData(x), seed=5)
    with torch.no_grad():  # as scoring does
        values = dict(ruler.measure(given))
        again = ruler.measure(subject(model, FakeData(x), seed=5))
        found = given.decode(ruler.search(given, x[:25]))
    assert values == again
    for name, function in {"inversion_mse": mse, "inversion_psnr": psnr, "inversion_ssim": ssim}.items():
        assert values[name].value == pytest.approx(float(function(found, x[:25]).double().mean()), rel=1e-6)
        assert values[name].n == 25
    assert values["inversion_mse"].detail == {"steps": 60, "restarts": 2, "starts_at_code": False}
    assert all(weight.grad is None for weight in model.net.parameters())
    assert values["inversion_mse"].value < float(mse(given.draw(25), x[:25]).mean()) / 4


def test_a_search_through_the_folded_decoder_finds_what_the_decoder_decodes() -> None:
    class Convolutions(Net):
        def __init__(self) -> None:
            super().__init__(Normal(4))
            self.net = nn.Sequential(Decoder(4, (1, 8, 8), 4, "batch"), nn.Sigmoid())
            self.net(2 * torch.randn(64, 4))  # statistics of batch norms
            self.net.eval()

        def decode(self, z: Tensor) -> Tensor:
            return self.net(z)

    class Folding(Convolutions):
        def composed_decode(self) -> Composition:
            return Composition([folded(self.net)])

    plain, folding, x = Convolutions(), Folding(), torch.rand(12, 1, 8, 8)
    folding.net = plain.net
    ruler = Inversion(examples=12, steps=40, rounds=1)
    values = [ruler.measure(subject(model, FakeData(x), seed=5))["inversion_mse"].value for model in (plain, folding)]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_an_image_that_the_decoder_cannot_make_keeps_its_distance() -> None:
    model = Net(Normal(2))
    x = (torch.rand(5, 1, 8, 8) > 0.5).float()
    value = Inversion(examples=5, steps=50).measure(subject(model, FakeData(x)))["inversion_mse"].value
    assert math.isfinite(value)
    assert value > 0.05


def test_it_applies_to_decoders_and_names_what_is_out_of_range() -> None:
    assert Inversion().why_not(subject(FakeSampler((2,)), FakeData(torch.rand(4, 2)))) == "the model has no decoder"
    for name in ("examples", "steps", "restarts", "drop", "worth"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            Inversion(**{name: 0})
