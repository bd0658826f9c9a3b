"""Priors with tensors of their own: densities, draws, moments and paths against torch, scikit-learn and closed forms."""

import math

import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from benchmarks.metrics.annealing import Settings, forward, log_mean_weight, tune
from benchmarks.metrics.chains import Target
from models.contracts import Prior
from models.mixtures import FittedMixture
from models.priors import Normal


def random_mixture(dim: int = 3, components: int = 4) -> FittedMixture:
    mixture = FittedMixture(dim, components).double()
    mixture.log_weights.copy_(torch.randn(components, dtype=torch.float64).log_softmax(0))
    mixture.means.copy_(2 * torch.randn(components, dim))
    square = torch.randn(components, dim, dim, dtype=torch.float64)
    mixture.factors.copy_(torch.linalg.cholesky(square @ square.mT + 0.3 * torch.eye(dim)))
    return mixture


def reference(mixture: FittedMixture, noise: float = 0.0) -> MixtureSameFamily:
    log_weights, means, factors = mixture.components()
    covariances = factors @ factors.mT + noise**2 * torch.eye(mixture.dim)
    return MixtureSameFamily(Categorical(logits=log_weights), MultivariateNormal(means, covariances))


def test_the_density_and_its_score_equal_those_of_torch() -> None:
    mixture = random_mixture()
    assert isinstance(mixture, Prior)
    z = (3 * torch.randn(2, 7, 3, dtype=torch.float64)).requires_grad_()
    expected = reference(mixture).log_prob(z)
    torch.testing.assert_close(mixture.log_prob(z), expected)
    (gradient,) = torch.autograd.grad(expected.sum(), z)
    with torch.no_grad():
        torch.testing.assert_close(mixture.score(z), gradient)


def test_draws_have_the_mixtures_moments_and_are_pinned_by_a_generator() -> None:
    mixture, n = random_mixture(), 50_000
    seed = int(torch.randint(2**31, ()))
    z, again = (mixture.sample(n, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(z, again)
    mean, covariance = mixture.moments()
    torch.testing.assert_close(mean, reference(mixture).mean)
    torch.testing.assert_close(covariance.diagonal(), reference(mixture).variance)
    assert ((z.mean(0) - mean).abs() < 8 * (covariance.diagonal() / n).sqrt()).all()
    centred = z - mean
    products = centred[:, :, None] * centred[:, None, :]
    assert ((products.mean(0) - covariance).abs() < 8 * products.std(0) / math.sqrt(n)).all()


def test_before_a_fit_the_mixture_is_the_normal_prior() -> None:
    mixture, normal = FittedMixture(5, 3), Normal(5)
    a, b = torch.randn(9, 5), torch.randn(9, 5)
    torch.testing.assert_close(mixture.log_prob(a), normal.log_prob(a))
    torch.testing.assert_close(mixture.score(a), normal.score(a))
    torch.testing.assert_close(mixture.midpoint(a, b), normal.midpoint(a, b))


def test_a_gaussians_midpoint_is_the_normal_midpoint_of_whitened_latents() -> None:
    gaussian = random_mixture(components=1)
    a, b = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)

    def colour(z: Tensor) -> Tensor:
        return gaussian.means[0] + z @ gaussian.factors[0].T

    torch.testing.assert_close(gaussian.midpoint(colour(a), colour(b)), colour(Normal(3).midpoint(a, b)))


def test_a_fit_is_that_of_scikit_learn_and_is_saved_with_the_module() -> None:
    codes = reference(random_mixture()).sample((400,))
    mixture, seed = FittedMixture(3, 4).double(), int(torch.randint(2**31, ()))
    torch.manual_seed(seed)
    mixture.fit(codes)
    torch.manual_seed(seed)
    start = int(torch.randint(2**31, ()))
    expected = GaussianMixture(4, random_state=start, max_iter=200).fit(codes.numpy()).score_samples(codes.numpy())
    torch.testing.assert_close(mixture.log_prob(codes), torch.from_numpy(expected))
    loaded = FittedMixture(3, 4).double()
    loaded.load_state_dict(mixture.state_dict())
    torch.testing.assert_close(loaded.log_prob(codes), mixture.log_prob(codes), rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"model\.prior\.components is 0"):
        FittedMixture(3, 0)


def test_annealing_from_a_mixture_finds_the_likelihood_in_closed_form() -> None:
    """x = z + σε: log p(x) is that of the mixture with wider components."""
    mixture, sigma = random_mixture(dim=2, components=2).float(), 0.5
    x = mixture.sample(4) + sigma * torch.randn(4, 2)
    target = Target(lambda z: z, mixture, x, sigma, chains=200)
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    settings = Settings(200, 40, 3)
    with torch.no_grad():
        run = forward(target, tune(target, settings, generator, ""), 3, generator, "")
    error = run.log_weights.exp().std(0) / run.log_weights.exp().mean(0) / math.sqrt(200)
    expected = reference(mixture, sigma).log_prob(x).double()
    assert ((log_mean_weight(run.log_weights) - expected).abs() < 8 * error + 0.02).all()
