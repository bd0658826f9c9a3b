"""Likelihoods against scipy and against their integrals."""

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import nn

from models.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood

SHAPES = [(6,), (3, 4, 5)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bernoulli_equals_torch_distributions_on_binary_data(shape: tuple[int, ...]) -> None:
    raw = 4 * torch.randn(7, *shape, dtype=torch.float64)
    x = torch.rand_like(raw).round()
    expected = torch.distributions.Bernoulli(logits=raw).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(Bernoulli().log_prob(raw, x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(Bernoulli().mean(raw), torch.distributions.Bernoulli(logits=raw).mean)


def test_bernoulli_sums_to_one_over_all_binary_images() -> None:
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)), dtype=torch.float64)
    raw = 3 * torch.randn(1, 6, dtype=torch.float64).expand_as(images)
    assert float(Bernoulli().log_prob(raw, images).exp().sum()) == pytest.approx(1, rel=1e-12)


def test_bernoulli_is_finite_where_the_decoder_is_certain() -> None:
    raw = torch.tensor([[1e4, -1e4]])
    assert Bernoulli().log_prob(raw, torch.tensor([[1.0, 0.0]])).item() == 0
    assert Bernoulli().log_prob(raw, torch.tensor([[0.0, 1.0]])).item() == pytest.approx(-2e4)


# both sides of where implementations switch to a Taylor series, and pixels that are nearly certain
LOGITS = [0.0, 1e-6, 1e-3, -3.9e-3, 4.1e-3, -0.02, 0.3, -1.0, 4.0, -8.0, 12.0]


def continuous_bernoulli_density(logit: float, x: np.ndarray) -> np.ndarray:
    """p(x) = L exp(Lx) / (exp(L) - 1): Loaiza-Ganem & Cunningham 2019, eq. 1, in terms of the logit L."""
    return np.exp(logit * x) * (logit / np.expm1(logit) if logit else 1.0)


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_is_a_density_on_the_unit_interval(logit: float) -> None:
    x = torch.linspace(0, 1, 4001, dtype=torch.float64)
    density = ContinuousBernoulli().log_prob(torch.full((4001, 1), logit), x.float()[:, None]).double().exp()
    assert scipy.integrate.simpson(density, x=x) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_equals_its_closed_form_and_its_mean_the_integral(logit: float) -> None:
    logit *= 1 + 0.01 * float(torch.rand(()))
    x = np.linspace(0, 1, 4001)
    raw = torch.full((4001, 1), logit, dtype=torch.float64)
    density = continuous_bernoulli_density(logit, x)
    value = ContinuousBernoulli().log_prob(raw, torch.from_numpy(x)[:, None])
    np.testing.assert_allclose(value.numpy(), np.log(density), atol=1e-8)
    mean = scipy.integrate.simpson(x * density, x=x)
    assert float(ContinuousBernoulli().mean(raw[:1])) == pytest.approx(mean, abs=1e-8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_continuous_bernoulli_sums_over_every_dimension(shape: tuple[int, ...]) -> None:
    raw, x = 3 * torch.randn(5, *shape), torch.rand(5, *shape)
    pixels = [
        [math.log(continuous_bernoulli_density(float(r), np.array(float(v)))) for r, v in zip(rs, xs, strict=True)]
        for rs, xs in zip(raw.flatten(1), x.flatten(1), strict=True)
    ]
    np.testing.assert_allclose(ContinuousBernoulli().log_prob(raw, x).numpy(), np.sum(pixels, axis=1), atol=2e-3)


def test_continuous_bernoullis_mean_stays_in_the_datas_range_and_moves_with_the_logits() -> None:
    raw = torch.linspace(-60, 60, 101)[:, None]
    mean = ContinuousBernoulli().mean(raw)
    assert mean.min() >= 0
    assert mean.max() <= 1
    assert (mean.diff(dim=0)[40:60] > 0).all()


def test_bernoulli_on_grey_pixels_lacks_the_constant_that_the_continuous_one_has() -> None:
    """The constant is 2 at a logit of 0 and more elsewhere."""
    raw, x = torch.randn(8, 30), torch.rand(8, 30)
    gap = ContinuousBernoulli().log_prob(raw, x) - Bernoulli().log_prob(raw, x)
    assert (gap > 30 * math.log(2) - 1e-3).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scale", ["fixed", "learned"])
def test_gaussian_equals_scipy_in_nats(scale: str, shape: tuple[int, ...]) -> None:
    sigma = 0.05 + float(torch.rand(()))
    likelihood = Gaussian(nn.Sigmoid(), scale, sigma).double()
    raw, x = torch.randn(2, 7, *shape, dtype=torch.float64)
    expected = scipy.stats.norm(raw.sigmoid().numpy(), sigma).logpdf(x.numpy()).reshape(7, -1).sum(1)
    np.testing.assert_allclose(likelihood.log_prob(raw, x).detach().numpy(), expected, rtol=1e-5, atol=1e-4)
    assert likelihood.sigma == pytest.approx(sigma, rel=1e-6)


def test_gaussian_keeps_its_constant() -> None:
    """At no error at all, log p = -d(log σ + ½ log 2π)."""
    x = torch.rand(3, 10)
    value = Gaussian(nn.Identity(), "fixed", 0.1).log_prob(x, x)
    assert value.tolist() == pytest.approx([-10 * (math.log(0.1) + 0.5 * math.log(2 * math.pi))] * 3, rel=1e-5)


def test_gaussians_mean_is_squashed_to_the_datas_range() -> None:
    raw = 100 * torch.randn(50, 10)
    mean = Gaussian(nn.Sigmoid()).mean(raw)
    torch.testing.assert_close(mean, raw.sigmoid())
    assert Gaussian(nn.Identity()).mean(raw) is raw


def test_calibrated_sigma_is_the_root_of_the_minibatchs_mean_squared_error_in_training() -> None:
    likelihood = Gaussian(nn.Identity(), "calibrated").train()
    raw, x = torch.randn(2, 6, 3, 4, 4)
    value = likelihood.log_prob(raw, x)
    sigma = float((raw - x).double().square().mean().sqrt())
    assert likelihood.sigma == pytest.approx(sigma, rel=1e-5)
    expected = scipy.stats.norm(raw.numpy(), sigma).logpdf(x.numpy()).reshape(6, -1).sum(1)
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-4, atol=1e-3)


def test_calibrated_sigma_maximises_the_minibatchs_log_likelihood() -> None:
    raw, x = torch.randn(2, 6, 20, dtype=torch.float64)
    likelihood = Gaussian(nn.Identity(), "calibrated").double().train()
    best = float(likelihood.log_prob(raw, x).sum())
    for factor in (0.9, 0.99, 1.01, 1.1):
        other = Gaussian(nn.Identity(), "fixed", factor * likelihood.sigma).double()
        assert float(other.log_prob(raw, x).sum()) < best


def test_calibrated_sigma_passes_on_the_gradient_of_the_log_of_the_error() -> None:
    """Put in its own optimum, the log-likelihood is -½n log MSE and a constant: Rybkin et al. 2021, eq. 6."""
    raw, x = torch.randn(6, 20, requires_grad=True), torch.randn(6, 20)
    (gradient,) = torch.autograd.grad(Gaussian(nn.Identity(), "calibrated").train().log_prob(raw, x).sum(), raw)
    (expected,) = torch.autograd.grad(-0.5 * 120 * (raw - x).square().mean().log(), raw)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_calibrated_sigma_stays_put_in_scoring() -> None:
    likelihood = Gaussian(nn.Identity(), "calibrated", 0.3).eval()
    raw, x = torch.randn(2, 6, 20)
    expected = Gaussian(nn.Identity(), "fixed", 0.3).log_prob(raw, x)
    torch.testing.assert_close(likelihood.log_prob(raw, x), expected)
    assert likelihood.sigma == pytest.approx(0.3, rel=1e-6)


def test_calibrate_weighs_the_squared_errors_by_their_counts() -> None:
    likelihood = Gaussian(nn.Identity(), "calibrated").eval()
    errors = [torch.randn(n, dtype=torch.float64) * n for n in (50, 50, 7)]
    likelihood.calibrate((float(e.square().sum()), len(e)) for e in errors)
    assert likelihood.sigma == pytest.approx(float(torch.cat(errors).square().mean().sqrt()), rel=1e-5)


def test_calibrated_sigma_is_kept_in_the_checkpoint_and_is_no_parameter() -> None:
    likelihood, other = Gaussian(nn.Identity()), Gaussian(nn.Identity())
    likelihood.calibrate([(0.5, 50)])
    other.load_state_dict(likelihood.state_dict())
    assert other.sigma == pytest.approx(0.1, rel=1e-5)
    assert not list(likelihood.parameters())


@pytest.mark.parametrize("scale", ["fixed", "learned"])
def test_only_a_calibrated_sigma_is_calibrated(scale: str) -> None:
    likelihood = Gaussian(nn.Identity(), scale, 0.7)
    likelihood.calibrate([(100.0, 3)])
    likelihood.train().log_prob(torch.randn(3, 4), torch.randn(3, 4))
    assert likelihood.sigma == pytest.approx(0.7, rel=1e-6)


def test_learned_sigma_gets_the_gradient_of_the_log_likelihood() -> None:
    """d/d log σ of Σ log p = Σ (error²/σ² - 1)."""
    likelihood = Gaussian(nn.Identity(), "learned", 0.8)
    raw, x = torch.randn(2, 6, 20)
    likelihood.log_prob(raw, x).sum().backward()
    (log_sigma,) = likelihood.parameters()
    expected = float(((raw - x).square() / 0.8**2 - 1).sum())
    assert log_sigma.grad is not None
    assert float(log_sigma.grad) == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_fixed_sigma_has_no_parameter_and_is_kept_in_the_checkpoint() -> None:
    likelihood = Gaussian(nn.Identity(), "fixed", 0.2)
    assert not list(likelihood.parameters())
    assert likelihood.state_dict()["log_sigma"].item() == pytest.approx(math.log(0.2))


@pytest.mark.parametrize("scale", ["learned", "calibrated"])
def test_sigma_has_a_floor(scale: str) -> None:
    """An error of nothing is no infinite density."""
    likelihood = Gaussian(nn.Identity(), scale, 1e-9)
    likelihood.calibrate([(0.0, 10)])
    x = torch.rand(2, 5)
    assert likelihood.sigma == pytest.approx(math.exp(Gaussian.MIN_LOG_SIGMA), rel=1e-6)
    floor = -5 * (Gaussian.MIN_LOG_SIGMA + 0.5 * math.log(2 * math.pi))
    assert likelihood.log_prob(x, x).tolist() == pytest.approx([floor, floor], rel=1e-5)


@pytest.mark.parametrize(
    ("likelihood", "binary", "word"),
    [
        (Bernoulli(), False, "binarize"),
        (ContinuousBernoulli(), True, "bernoulli"),
        (Gaussian(nn.Identity()), True, "bernoulli"),
    ],
    ids=["bernoulli", "continuous", "gaussian"],
)
def test_a_likelihood_says_which_data_it_is_none_of_and_what_to_do(
    likelihood: Likelihood, binary: bool, word: str
) -> None:
    reason = likelihood.why_no_density(binary)
    assert reason is not None
    assert word in reason
    assert likelihood.why_no_density(not binary) is None


@pytest.mark.parametrize("scale", ["fixd", "", None])
def test_an_unknown_scale_is_named(scale: str) -> None:
    with pytest.raises(ValueError, match=r"likelihood\.scale is .*expected fixed, learned or calibrated"):
        Gaussian(nn.Identity(), scale)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_a_sigma_that_is_not_positive_is_named(sigma: float) -> None:
    with pytest.raises(ValueError, match=r"likelihood\.sigma is"):
        Gaussian(nn.Identity(), "fixed", sigma)


@pytest.mark.parametrize("logit", [-200.0, -30.0, -16.0, -0.31, -0.29, -1e-3, 0.0, 0.02, 0.29, 0.31, 3.0, 20.0, 60.0])
def test_continuous_bernoulli_stays_a_density_with_its_mean_at_every_logit(logit: float) -> None:
    """Against quadrature in float64, with nodes drawn towards the edges where nearly binary pixels have their mass."""
    t = np.linspace(-40, 40, 200_001)
    x = 1 / (1 + np.exp(-t))
    weight = x * (1 - x)
    log_density = logit * x
    largest = log_density.max()
    mass = np.trapezoid(np.exp(log_density - largest) * weight, t)
    mean = np.trapezoid(x * np.exp(log_density - largest) * weight, t) / mass
    raw = torch.full((1, 3), logit)
    at = torch.rand(1, 3)
    expected = (logit * at.double() - largest - math.log(mass)).sum()
    assert float(ContinuousBernoulli().log_prob(raw, at)) == pytest.approx(float(expected), rel=1e-4, abs=1e-4)
    torch.testing.assert_close(ContinuousBernoulli().mean(raw)[0, 0], torch.tensor(mean).float(), rtol=1e-5, atol=2e-6)


def test_continuous_bernoulli_has_a_finite_gradient_everywhere() -> None:
    raw = torch.tensor([[-300.0, -0.3, 0.0, 0.3, 300.0]], requires_grad=True)
    (ContinuousBernoulli().log_prob(raw, torch.rand(1, 5)) + ContinuousBernoulli().mean(raw).sum()).sum().backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


def test_a_perfect_minibatch_leaves_calibrated_gradients_finite() -> None:
    raw = torch.zeros(4, 3, requires_grad=True)
    likelihood = Gaussian(nn.Identity())
    likelihood.log_prob(raw, torch.zeros(4, 3)).sum().backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()
    assert likelihood.log_sigma.isfinite()
