"""The VAE's bound against the exact likelihood of probabilistic PCA."""

import math
from functools import partial

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import Tensor, nn

from models.likelihoods import Bernoulli, Gaussian
from models.losses import gaussian_kl
from models.priors import Normal, Uniform
from models.vae import VAE

ADAM = partial(torch.optim.Adam, lr=1e-3)


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
