"""Densities and priors against torch.distributions, scipy and numerical integrals; the VAE against probabilistic PCA."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import Tensor, nn

from models.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood
from models.losses import gaussian_kl
from models.priors import Normal, Uniform
from models.vae import VAE

SHAPES = [(6,), (3, 4, 5)]
ADAM = partial(torch.optim.Adam, lr=1e-3)

# ---------------------------------------------------------------------------------------------------- likelihoods


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


# --------------------------------------------------------------------------------------------------------- priors


@pytest.mark.parametrize(
    ("prior", "moments"), [(Normal(3), (0, 1, 0, 3)), (Uniform(3), (0, 1 / 3, 0, 1 / 5))], ids=["normal", "uniform"]
)
def test_a_priors_draws_have_its_moments(prior: Normal | Uniform, moments: tuple[float, ...]) -> None:
    n = 100_000
    z = prior.sample(n).double()
    assert z.shape == (n, 3)
    for power, expected in enumerate(moments, start=1):
        draws = z**power
        error = (draws.mean(0) - expected).abs()
        assert (error < 8 * draws.std(0) / math.sqrt(n)).all(), power
    correlation = torch.corrcoef(z.T) - torch.eye(3)
    assert correlation.abs().max() < 8 / math.sqrt(n)


def test_the_uniform_priors_draws_fill_its_range() -> None:
    z = Uniform(2).sample(100_000)
    assert -1 <= z.min() < -0.999
    assert 0.999 < z.max() <= 1


def test_normal_log_prob_equals_torch_distributions() -> None:
    z = 3 * torch.randn(4, 6, 5, dtype=torch.float64)
    expected = torch.distributions.Normal(torch.zeros(5).double(), torch.ones(5).double()).log_prob(z).sum(-1)
    torch.testing.assert_close(Normal(5).log_prob(z), expected, rtol=1e-12, atol=1e-12)


def test_uniform_log_prob_equals_torch_distributions_inside_and_out() -> None:
    z = 1.1 * (2 * torch.rand(4, 60, 3, dtype=torch.float64) - 1)
    z[0, 0], z[0, 1] = 0.5, torch.tensor([0.5, 0.5, 1.5])
    uniform = torch.distributions.Uniform(-torch.ones(3).double(), torch.ones(3).double(), validate_args=False)
    torch.testing.assert_close(Uniform(3).log_prob(z), uniform.log_prob(z).sum(-1))
    assert Uniform(3).log_prob(z)[0, :2].tolist() == pytest.approx([-3 * math.log(2), -math.inf])


def test_the_score_is_the_gradient_of_the_log_density() -> None:
    z = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(Normal(4).log_prob(z).sum(), z)
    torch.testing.assert_close(Normal(4).score(z), gradient)
    assert not Uniform(4).score(z).any()


def test_projection_is_the_nearest_latent_that_can_be_drawn() -> None:
    z = torch.tensor([[0.3, -0.9], [1.4, -7.0]])
    assert torch.equal(Normal(2).project(z), z)
    torch.testing.assert_close(Uniform(2).project(z), torch.tensor([[0.3, -0.9], [1.0, -1.0]]))


def test_a_particle_bounces_off_the_walls_of_the_box_as_often_as_it_meets_them() -> None:
    z = torch.tensor([[0.5, 1.25, -1.25, 3.5, -3.5, 5.25]])
    inside, momentum = Uniform(6).reflect(z, torch.ones(1, 6))
    torch.testing.assert_close(inside, torch.tensor([[0.5, 0.75, -0.75, -0.5, 0.5, 0.75]]))
    # 3.5 meets both walls, and 5.25 one more
    assert momentum.tolist() == [[1.0, -1.0, -1.0, 1.0, 1.0, -1.0]]
    same, unchanged = Normal(6).reflect(z, torch.ones(1, 6))
    assert torch.equal(same, z)
    assert unchanged.all()


def test_a_bouncing_particle_that_turns_around_comes_back() -> None:
    z, p = 2 * torch.rand(200, 3, dtype=torch.float64) - 1, 3 * torch.randn(200, 3, dtype=torch.float64)
    there, momentum = Uniform(3).reflect(z + p, p)
    back, turned = Uniform(3).reflect(there - momentum, -momentum)
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(-turned, p)


@pytest.mark.parametrize("prior", [Normal(4), Uniform(4)], ids=["normal", "uniform"])
def test_a_generator_pins_the_latents_and_leaves_the_global_one_alone(prior: Normal | Uniform) -> None:
    seed = int(torch.randint(2**31, ()))
    before = torch.get_rng_state()
    first, again = (prior.sample(9, torch.Generator().manual_seed(seed)) for _ in range(2))
    other = prior.sample(9, torch.Generator().manual_seed(seed + 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert prior.sample(9, torch.Generator().manual_seed(seed), torch.device("cpu")).equal(first)


@pytest.mark.parametrize("prior", [Normal(4), Uniform(4)], ids=["normal", "uniform"])
def test_without_a_generator_the_global_one_gives_fresh_latents(prior: Normal | Uniform) -> None:
    torch.manual_seed(5)
    first, second = prior.sample(3), prior.sample(3)
    torch.manual_seed(5)
    assert torch.equal(prior.sample(3), first)
    assert not torch.equal(first, second)


# ------------------------------------------------------------------------------- the VAE, and probabilistic PCA


class Points(nn.Flatten):
    """Examples are their own features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features


class LinearGaussian:
    """x = Wz + b + σε with orthogonal columns in W, so that p(z|x) has a diagonal covariance. Tipping & Bishop 1999."""

    def __init__(self, dim: int = 6, latent_dim: int = 3) -> None:
        self.sigma = 0.4 + 0.6 * float(torch.rand(()))
        scales = 0.5 + 1.5 * torch.rand(latent_dim, dtype=torch.float64)
        self.weight = torch.linalg.qr(torch.randn(dim, latent_dim, dtype=torch.float64))[0] * scales
        self.bias = torch.randn(dim, dtype=torch.float64)
        self.variance = 1 / (1 + scales.square() / self.sigma**2)
        self.gain = self.variance[:, None] * self.weight.T / self.sigma**2

    def vae(self, scale: str = "fixed", beta: float = 1.0) -> VAE:
        """With exactly this decoder and exactly its posterior."""
        dim, latent_dim = self.weight.shape
        decoder = nn.Linear(latent_dim, dim)
        likelihood = Gaussian(nn.Identity(), scale, self.sigma)
        vae = VAE(Points(dim), decoder, Normal(latent_dim), likelihood, ADAM, beta).double()
        likelihood.log_sigma.data.fill_(math.log(self.sigma))  # as precise as the rest
        self.set_encoder(vae, shift=0.0, log_factor=0.0)
        with torch.no_grad():
            decoder.weight.copy_(self.weight)
            decoder.bias.copy_(self.bias)
        return vae

    def set_encoder(self, vae: VAE, shift: float, log_factor: float) -> None:
        """The exact posterior, its mean moved by `shift` of its deviations and its log-variance by `log_factor`."""
        head = vae.encoder[1]
        mean = -self.gain @ self.bias + shift * self.variance.sqrt()
        with torch.no_grad():
            head.weight.copy_(torch.cat([self.gain, torch.zeros_like(self.gain)]))
            head.bias.copy_(torch.cat([mean, self.variance.log() + log_factor]))

    def kl_to_posterior(self, shift: float, log_factor: float) -> float:
        """KL(q(z|x) ‖ p(z|x)) of that encoder, the same for every x."""
        n = torch.ones(len(self.variance), dtype=torch.float64)
        return float(gaussian_kl(shift * n, log_factor * n))

    def sample(self, n: int) -> Tensor:
        z = torch.randn(n, self.weight.shape[1], dtype=torch.float64)
        x = z @ self.weight.T + self.bias
        return x + self.sigma * torch.randn_like(x)

    def log_prob(self, x: Tensor) -> np.ndarray:
        covariance = self.weight @ self.weight.T + self.sigma**2 * torch.eye(len(self.bias))
        return scipy.stats.multivariate_normal(self.bias.numpy(), covariance.numpy()).logpdf(x.numpy())


def interval(draws: Tensor) -> float:
    """Eight standard errors of the mean."""
    return 8 * float(draws.std()) / math.sqrt(len(draws))


def test_log_weights_of_the_exact_posterior_are_log_p_in_every_draw() -> None:
    truth = LinearGaussian()
    x = truth.sample(11)
    weights = truth.vae().log_weights(x, 5)
    assert weights.shape == (5, 11)
    np.testing.assert_allclose(weights.detach().numpy(), np.tile(truth.log_prob(x), (5, 1)), atol=1e-9)


@torch.no_grad()
def test_elbo_of_the_exact_posterior_is_log_p_in_the_mean() -> None:
    truth = LinearGaussian()
    x = truth.sample(1)
    draws = truth.vae().elbo(x.expand(20_000, -1)).value
    assert draws.shape == (20_000,)
    assert float(draws.mean()) == pytest.approx(truth.log_prob(x), abs=interval(draws))


@torch.no_grad()
def test_elbo_of_a_wrong_posterior_is_below_log_p_by_its_divergence() -> None:
    """log p(x) - ELBO = KL(q(z|x) ‖ p(z|x)): Kingma & Welling 2014, eq. 1."""
    truth = LinearGaussian()
    vae, x = truth.vae(), truth.sample(1)
    truth.set_encoder(vae, shift=0.7, log_factor=-0.8)
    draws = vae.elbo(x.expand(20_000, -1)).value
    gap = truth.log_prob(x) - float(draws.mean())
    assert gap == pytest.approx(truth.kl_to_posterior(0.7, -0.8), abs=interval(draws))
    assert gap > 0.5


@torch.no_grad()
def test_log_weights_average_to_the_elbo_and_their_exponentials_to_p() -> None:
    truth = LinearGaussian()
    vae, x = truth.vae(), truth.sample(1)
    truth.set_encoder(vae, shift=0.3, log_factor=0.3)  # wider than the posterior: the weights are bounded
    weights = vae.log_weights(x.expand(20_000, -1), 1)[0]
    log_p, elbo = truth.log_prob(x), vae.elbo(x.expand(20_000, -1)).value
    assert float(weights.mean()) == pytest.approx(float(elbo.mean()), abs=interval(weights) + interval(elbo))
    ratios = (weights - torch.from_numpy(np.atleast_1d(log_p))).exp()
    assert float(ratios.mean()) == pytest.approx(1, abs=interval(ratios))


@torch.no_grad()
def test_the_importance_weighted_bound_lies_between_elbo_and_log_p() -> None:
    """Burda et al. 2016, theorem 1."""
    truth = LinearGaussian()
    vae, x = truth.vae(), truth.sample(1)
    truth.set_encoder(vae, shift=0.5, log_factor=0.5)
    weights = vae.log_weights(x.expand(10_000, -1), 16)
    bounds = {k: weights[:k].logsumexp(0) - math.log(k) for k in (1, 4, 16)}
    elbo = vae.elbo(x.expand(10_000, -1)).value
    means = [float(draws.mean()) for draws in (elbo, *bounds.values())]
    assert means[1] == pytest.approx(means[0], abs=interval(elbo) + interval(bounds[1]))
    assert means[1] < means[2] < means[3]
    assert means[3] < truth.log_prob(x) + interval(bounds[16])


@torch.no_grad()
def test_elbos_parts_are_the_likelihood_at_a_draw_and_the_kl_in_closed_form() -> None:
    truth = LinearGaussian()
    vae, x = truth.vae(), truth.sample(7)
    mu, log_var = vae.posterior(x)
    torch.testing.assert_close(mu, (x - truth.bias) @ truth.gain.T)
    torch.testing.assert_close(log_var, truth.variance.log().expand(7, 3))
    q = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    torch.manual_seed(seed := int(torch.randint(2**31, ())))
    bound = vae.elbo(x)
    torch.manual_seed(seed)
    z = mu + q.scale * torch.randn_like(mu)
    expected = scipy.stats.norm((z @ truth.weight.T + truth.bias).numpy(), truth.sigma).logpdf(x.numpy()).sum(1)
    np.testing.assert_allclose(bound.reconstruction.numpy(), expected, rtol=1e-9)
    prior = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    torch.testing.assert_close(bound.kl, torch.distributions.kl_divergence(q, prior).sum(1))
    torch.testing.assert_close(bound.value, bound.reconstruction - bound.kl)


def test_beta_weighs_the_kl_in_training_only() -> None:
    truth = LinearGaussian()
    beta = 0.1 + 5 * float(torch.rand(()))
    vae, x = truth.vae(beta=beta), truth.sample(7)
    seed = int(torch.randint(2**31, ()))
    results = []
    for call in (vae.loss, vae.elbo, truth.vae().elbo):
        torch.manual_seed(seed)
        results.append(call(x))
    loss, bound, bound_at_one = results
    torch.testing.assert_close(loss, (beta * bound.kl - bound.reconstruction).mean())
    torch.testing.assert_close(bound.value, bound_at_one.value)


@torch.no_grad()
def test_a_vaes_reconstruction_decodes_the_posteriors_mean_without_noise() -> None:
    truth = LinearGaussian()
    vae, x = truth.vae(), truth.sample(5)
    expected = (x - truth.bias) @ (truth.weight @ truth.gain).T + truth.bias
    torch.testing.assert_close(vae.reconstruct(x), expected)
    torch.testing.assert_close(vae.encode(x), vae.posterior(x)[0])


@torch.no_grad()
def test_a_vaes_samples_have_the_decoders_mean_and_covariance() -> None:
    truth = LinearGaussian()
    x = truth.vae().float().sample(50_000, torch.Generator().manual_seed(int(torch.randint(2**31, ())))).double()
    assert (x.mean(0) - truth.bias).abs().max() < 8 * x.std(0).max() / math.sqrt(50_000)
    error = torch.cov(x.T) - truth.weight @ truth.weight.T
    assert error.abs().max() < 8 * math.sqrt(2 / 50_000) * x.var(0).max()


def test_calibration_finds_the_true_sigma_at_draws_of_the_exact_posterior() -> None:
    """(x, z) and (x, z ~ p(z|x)) have the same distribution, so the error's mean is σ²; at the mean it would be less."""
    truth = LinearGaussian()
    vae = truth.vae("calibrated").train()
    vae.likelihood.log_sigma.fill_(1.0)
    vae.calibrate(truth.sample(30_001).split(7000))
    # squared errors of one example hang together: no more independent than examples
    assert vae.likelihood.sigma == pytest.approx(truth.sigma, rel=8 / math.sqrt(2 * 30_000))
    assert vae.training


@torch.no_grad()
def test_calibrated_vae_scores_with_the_sigma_that_calibration_set() -> None:
    truth = LinearGaussian()
    vae, x = truth.vae("calibrated"), truth.sample(4)
    with vae.scoring():
        weights = vae.log_weights(x, 3)
    np.testing.assert_allclose(weights.numpy(), np.tile(truth.log_prob(x), (3, 1)), atol=1e-9)


@pytest.mark.parametrize("binary", [False, True])
def test_a_vae_has_a_density_where_its_likelihood_has(binary: bool) -> None:
    vae = VAE(Points(4), nn.Linear(2, 4), Normal(2), Bernoulli(), ADAM)
    assert vae.why_no_density(binary) == Bernoulli().why_no_density(binary)


def test_a_vae_takes_no_prior_but_the_normal() -> None:
    with pytest.raises(ValueError, match=r"model\.prior is Uniform"):
        VAE(Points(4), nn.Linear(2, 4), Uniform(2), Bernoulli(), ADAM)


def test_a_vae_takes_no_negative_beta() -> None:
    with pytest.raises(ValueError, match=r"model\.beta is -0\.5"):
        VAE(Points(4), nn.Linear(2, 4), Normal(2), Bernoulli(), ADAM, beta=-0.5)


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
