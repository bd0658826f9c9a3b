"""Flows, flow matching and diffusion: inverses, Jacobians, and the density of data whose best field is known."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.continuous import ODEDecoder
from models.ddpm import DDPM
from models.densities import dequantised
from models.flow_matching import FlowMatching
from models.networks.coupling import RealNVPFlow
from models.networks.field import Field
from models.real_nvp import RealNVP


def flow(shape: tuple[int, ...], **options: Any) -> RealNVPFlow:
    """A flow in float64 that is not the identity any more."""
    made = RealNVPFlow(shape, 6, **options).double()
    for weight in made.parameters():
        nn.init.normal_(weight, std=0.3)
    return made


@pytest.mark.parametrize(
    ("shape", "options"),
    [((3,), {}), ((1, 4, 4), {"scales": 2, "blocks": 1}), ((2, 3, 5), {"scales": 1, "blocks": 1})],
)
def test_a_flow_is_inverted_and_knows_its_jacobian(shape: tuple[int, ...], options: dict[str, int]) -> None:
    made, x = flow(shape, **options), torch.randn(4, *shape, dtype=torch.float64)
    z, log_det = made.encode(x)
    assert z.shape == (4, math.prod(shape))
    assert not torch.allclose(z, x.flatten(1))
    torch.testing.assert_close(made(z), x)
    for i in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(lambda x: made.encode(x[None])[0][0], x[i])
        expected = torch.linalg.slogdet(jacobian.reshape(z.shape[1], -1)).logabsdet
        torch.testing.assert_close(log_det[i], expected)


def test_images_of_odd_sides_have_one_scale() -> None:
    with pytest.raises(ValueError, match=r"images of 7x7 pixels cannot be halved; set model.flow.scales=1"):
        RealNVPFlow((1, 14, 14), 4, scales=3)


def test_pixels_become_logits_with_their_jacobian() -> None:
    model = RealNVP(RealNVPFlow((1, 2, 2), 4), torch.optim.Adam)
    x = torch.rand(5, 1, 2, 2, dtype=torch.float64)
    y, log_det = model.to_logits(x)
    torch.testing.assert_close(model.from_logits(y), x)
    for i in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(lambda x: model.to_logits(x[None])[0].flatten(), x[i])
        torch.testing.assert_close(log_det[i], torch.linalg.slogdet(jacobian.reshape(4, 4)).logabsdet)
    assert model.log_prob(torch.ones(1, 1, 2, 2)).isfinite(), "a white pixel has a density"
    # the brightest grey value reaches up to 1, and no two of its draws share a logit
    bright = torch.linspace(255.99, 255.999, 16).view(1, 1, 4, 4) / 256
    assert len(model.to_logits(bright)[0].unique()) == 16
    assert model.to_logits(torch.ones(1, 1, 4, 4))[0].isfinite().all()


def test_a_flows_density_integrates_to_one() -> None:
    model = RealNVP(flow((2,), layers=4), torch.optim.Adam)
    # the flow bends the plane little, so nearly all of the mass is near the origin
    side = torch.linspace(-40, 40, 801, dtype=torch.float64)
    points = torch.cartesian_prod(side, side)
    with torch.no_grad():
        mass = torch.cat([model.log_prob(part).exp() for part in points.split(2**18)]).sum() * (side[1] - side[0]) ** 2
    assert float(mass) == pytest.approx(1, abs=0.02)


def test_noise_within_a_grey_value_keeps_the_grey_value() -> None:
    grey = torch.arange(256).view(1, 1, 16, 16).float()
    for x in (grey / 255, (grey + 0.999) / 256, grey / 256):
        noisy = dequantised(x)
        assert torch.equal((noisy * 256).floor(), grey)
        assert noisy.max() < 1
    assert not torch.equal(dequantised(grey / 255), dequantised(grey / 255))


class Linear(ODEDecoder):
    """dx/ds = A x, whose solution is exp(A) x."""

    matrix: Tensor

    def velocity(self, x: Tensor, s: Tensor) -> Tensor:
        return x @ self.matrix.T


@pytest.mark.parametrize("dim", [3, 6])
def test_the_solver_follows_a_linear_equation(dim: int) -> None:
    ode = Linear(nn.Identity(), (dim,), steps=60)
    ode.matrix = torch.randn(dim, dim, dtype=torch.float64) / dim
    z = torch.randn(4, dim, dtype=torch.float64)
    x = ode(z)
    torch.testing.assert_close(x, z @ torch.matrix_exp(ode.matrix).T, rtol=1e-3, atol=1e-3)
    back, log_det = ode.encode_with_volume(x)
    torch.testing.assert_close(back, ode.encode(x))
    torch.testing.assert_close(back, z, rtol=1e-3, atol=1e-3)
    if dim <= 4:
        torch.testing.assert_close(log_det, -ode.matrix.trace().expand(4))
    else:  # Hutchinson's estimate is right in the mean
        estimates = torch.stack([ode.encode_with_volume(x)[1] for _ in range(20)])
        error = estimates.std() / math.sqrt(estimates.numel())
        assert (estimates.mean() + ode.matrix.trace()).abs() < 5 * error + 1e-6


class BestVelocity(nn.Module):
    """E[x₁ - (1 - σ) x₀ | x_t] for data of N(m, s²)."""

    def __init__(self, mean: float, deviation: float, sigma: float) -> None:
        super().__init__()
        self.mean, self.deviation, self.sigma = mean, deviation, sigma

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        t = t[:, None]
        kept = 1 - (1 - self.sigma) * t
        variance = kept**2 + (t * self.deviation) ** 2
        covariance = t * self.deviation**2 - (1 - self.sigma) * kept
        return self.mean + covariance / variance * (x - t * self.mean)


class BestNoise(nn.Module):
    """E[ε | x_t] for data of N(m, s²)."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation
        self.schedule: Any = None

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        alpha_bar = self.schedule.log_alpha_bar(t).exp()[:, None]
        variance = alpha_bar * self.deviation**2 + 1 - alpha_bar
        return (1 - alpha_bar).sqrt() / variance * (x - alpha_bar.sqrt() * self.mean)


def best(family: str, mean: float, deviation: float) -> FlowMatching | DDPM:
    pieces: Any = {"shape": (2,), "optimizer": torch.optim.Adam, "steps": 150}
    if family == "flow_matching":
        return FlowMatching(1e-4, field=BestVelocity(mean, deviation, 1e-4), **pieces)
    field = BestNoise(mean, deviation)
    model = DDPM(400, 1e-4, 0.05, field=field, **pieces)
    field.schedule = model.schedule
    return model


@pytest.mark.parametrize("family", ["flow_matching", "ddpm"])
def test_the_best_field_has_the_datas_density_and_samples(family: str) -> None:
    mean, deviation = 0.7, 0.4
    model = best(family, mean, deviation)
    data = torch.distributions.Normal(mean, deviation)
    x = data.sample((64, 2))
    with torch.no_grad():
        torch.testing.assert_close(model.log_prob(x), data.log_prob(x).sum(1), rtol=0.02, atol=0.03)
        torch.testing.assert_close(model.reconstruct(x), x, rtol=0.01, atol=0.01)
        drawn = model.sample(4000, torch.Generator().manual_seed(torch.initial_seed() % 2**31))
    assert drawn.mean().item() == pytest.approx(mean, abs=0.03)
    assert drawn.std().item() == pytest.approx(deviation, rel=0.06)


@pytest.mark.parametrize("family", ["flow_matching", "ddpm"])
def test_the_best_field_has_the_least_loss(family: str) -> None:
    """A field that is off everywhere by 0.1 has a loss that is larger by 0.01."""
    model, x = best(family, 0.7, 0.4), 0.7 + 0.4 * torch.randn(200_000, 2)
    field = model.ode.field
    torch.manual_seed(7)
    least = model.loss(x)
    field.register_forward_hook(lambda module, inputs, output: output + 0.1)
    torch.manual_seed(7)
    assert float(model.loss(x) - least) == pytest.approx(0.01, abs=0.004)


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8), (1, 28, 28), (3, 6, 10), (1, 7, 7)])
def test_a_field_keeps_the_shape_and_feels_the_time(shape: tuple[int, ...]) -> None:
    field, x = Field(shape, 8), torch.randn(3, *shape)
    early, late = field(x, torch.full((3,), 0.1)), field(x, torch.full((3,), 0.9))
    assert early.shape == x.shape
    assert (early - late).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RealNVP(RealNVPFlow((2,), 4), torch.optim.Adam, alpha=1.0), "model.alpha is 1.0"),
        (lambda: best_with(sigma_min=1.0), "model.sigma_min is 1.0"),
        (lambda: best_with(steps=0), "model.steps is 0"),
        (lambda: DDPM(1, 1e-4, 0.02), "model.diffusion_steps is 1"),
        (lambda: DDPM(9, 0.3, 0.02), "model.beta_first is 0.3"),
    ],
)
def test_a_bad_option_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def best_with(sigma_min: float = 0.0, steps: int = 1) -> FlowMatching:
    pieces: Any = {"shape": (2,), "optimizer": torch.optim.Adam, "steps": steps}
    return FlowMatching(sigma_min, field=Field((2,), 8), **pieces)
