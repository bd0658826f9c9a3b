"""Exact densities, the ELBO's two parts, and IWAE's bound."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from benchmarks.metrics.bound import IWAE, Bound, bits_per_dim
from models.contracts import Elbo
from tests.metrics.fakes import FakeBound, FakeData, FakeSampler, subject, uneven

# ------------------------------------------------------------------------------------------------------------ bound


def test_bound_weighs_by_examples_and_not_by_batches() -> None:
    x = uneven((3, 2, 2))
    # dequantised already, so that the numbers are those of x
    values = dict(Bound().measure(subject(FakeBound(), FakeData(x, dequantize=True))))
    reconstruction = -x.double().square().numpy().reshape(69, -1).sum(1).mean()
    kl = x.double().exp().numpy().reshape(69, -1).sum(1).mean()
    values = {name: values[name] for name in ("elbo", "elbo_reconstruction", "elbo_kl")}
    found = [value.value for value in values.values()]
    assert found == pytest.approx([reconstruction - kl, reconstruction, kl], rel=1e-6)
    assert [value.n for value in values.values()] == [69] * 3
    by_batches = np.mean([float(FakeBound().elbo(batch).value.mean()) for batch in x.split(32)])
    assert abs(by_batches - found[0]) > 0.1


def test_bounds_sums_are_in_float64() -> None:
    """Over many batches a sum in float32 would lose digits."""
    x = torch.full((30_000, 1), 0.1)
    reconstruction, kl = (float(part.double()) for part in FakeBound().elbo(x[:1]))
    values = Bound().measure(subject(FakeBound(), FakeData(x)))
    assert values["elbo"].value == pytest.approx(reconstruction - kl, rel=1e-12)
    assert values["elbo_kl"].value == pytest.approx(kl, rel=1e-12)


def test_bound_applies_to_densities_only() -> None:
    data = FakeData(torch.rand(4, 2))
    assert Bound().why_not(subject(FakeBound(), data)) is None
    assert Bound().why_not(subject(FakeBound(), FakeData(data.x, is_binary=True))) == "binary"
    assert Bound().why_not(subject(FakeSampler((2,)), data)) == "the model has no bound on log p(x)"


# ---------------------------------------------------------------------------------------------------- exact densities


class Pixels:
    """Independent normal pixels."""

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.distributions.Normal(0.4, 0.2).log_prob(x).flatten(1).sum(1)

    def why_no_density(self, binary: bool) -> str | None:
        return "binary" if binary else None


def test_an_exact_density_has_columns_of_its_own_and_no_bound() -> None:
    x = uneven((3, 2, 2))
    values = Bound().measure(subject(Pixels(), FakeData(x, dequantize=True)))
    exact = float(norm(0.4, 0.2).logpdf(x.double().numpy()).reshape(69, -1).sum(1).mean())
    assert values["log_density"].value == pytest.approx(exact, rel=1e-5)
    assert values["density_bits_per_dim"].value == pytest.approx(8 - exact / (12 * math.log(2)), rel=1e-5)
    for name in ("elbo", "elbo_reconstruction", "elbo_kl", "elbo_bits_per_dim"):
        assert values[name] == "the density is exact; see log p(x)"
    assert IWAE().why_not(subject(Pixels(), FakeData(x))) == values["elbo"]
    assert Bound().why_not(subject(Pixels(), FakeData(x, is_binary=True))) == "binary"


def test_a_bound_is_no_density() -> None:
    values = Bound().measure(subject(FakeBound(), FakeData(uneven((3, 2, 2)))))
    assert values["log_density"] == values["density_bits_per_dim"] == "the model has no exact density"


# ------------------------------------------------------------------------------------------------------------- IWAE


class LinearVAE:
    """p(z) = N(0, I), p(x|z) = N(Wz + b, σ²I), with a posterior that is the true one but for its scale."""

    def __init__(self, pixels: int = 12, latents: int = 3, sigma: float = 0.4, wider: float = 1.5) -> None:
        self.weight = torch.randn(pixels, latents, dtype=torch.float64)
        self.bias = torch.randn(pixels, dtype=torch.float64)
        self.sigma, self.wider = sigma, wider
        precision = torch.eye(latents, dtype=torch.float64) + self.weight.T @ self.weight / sigma**2
        self.covariance = torch.linalg.inv(precision)

    def draw(self, n: int) -> Tensor:
        z = torch.randn(n, self.weight.shape[1], dtype=torch.float64)
        mean = z @ self.weight.T + self.bias
        return mean + self.sigma * torch.randn(mean.shape, dtype=torch.float64)

    def exact(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + self.sigma**2 * torch.eye(len(self.bias), dtype=torch.float64)
        return torch.distributions.MultivariateNormal(self.bias, covariance).log_prob(x)

    def _posterior(self, x: Tensor) -> torch.distributions.MultivariateNormal:
        mean = (x - self.bias) @ self.weight @ self.covariance / self.sigma**2
        return torch.distributions.MultivariateNormal(mean, self.wider * self.covariance)

    def log_weights(self, x: Tensor, k: int) -> Tensor:
        q = self._posterior(x)
        z = q.sample((k,))
        likelihood = torch.distributions.Normal(z @ self.weight.T + self.bias, self.sigma).log_prob(x).sum(-1)
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        return likelihood + prior - q.log_prob(z)

    def elbo(self, x: Tensor) -> Elbo:
        weights = self.log_weights(x, 500).mean(0)
        return Elbo(weights, torch.zeros_like(weights))

    def why_no_density(self, binary: bool) -> str | None:
        return None


def iwae(model: LinearVAE, x: Tensor, k: int) -> float:
    return IWAE(k, examples=None).measure(subject(model, FakeData(x)))["iwae"].value


def test_iwae_rises_from_the_elbo_to_the_exact_log_likelihood() -> None:
    model = LinearVAE()
    x = model.draw(200)
    exact = float(model.exact(x).mean())
    elbo = float(model.elbo(x).value.mean())
    assert elbo < exact
    bounds = [iwae(model, x, k) for k in (1, 10, 2000)]
    assert bounds[0] == pytest.approx(elbo, abs=0.15)
    assert bounds[0] < bounds[1] < exact + 0.03
    assert bounds[2] == pytest.approx(exact, abs=0.01)


def test_iwae_with_the_true_posterior_is_exact_for_any_k() -> None:
    model = LinearVAE(wider=1.0)
    x = model.draw(40)
    for k in (1, 7):
        assert iwae(model, x, k) == pytest.approx(float(model.exact(x).mean()), rel=1e-9)


def test_iwae_reads_as_many_examples_as_it_is_told_and_names_k() -> None:
    value = IWAE(k=3, examples=50).measure(subject(FakeBound(), FakeData(uneven((3, 2, 2)))))["iwae"]
    assert value.n == 50
    assert value.detail["k"] == 3
    assert value.detail["standard_error"] > 0
    with pytest.raises(ValueError, match="k is 0"):
        IWAE(k=0)
    assert (
        IWAE().why_not(subject(FakeSampler((2,)), FakeData(torch.rand(4, 2)))) == "the model has no bound on log p(x)"
    )


# ------------------------------------------------------------------------------------------------- bits a dimension


def test_bits_of_a_uniform_density_are_eight_a_dimension() -> None:
    assert bits_per_dim(torch.zeros(3, dtype=torch.float64), 784).tolist() == [8.0] * 3


def test_bits_bound_the_cost_of_the_grey_values_themselves() -> None:
    """Theis et al. 2016, eq. 3: a density on the dequantised pixel costs what the probability of its bin does, or more."""
    weight = torch.rand(256, dtype=torch.float64)
    probability = weight / weight.sum()
    grey = torch.multinomial(probability, 4000, replacement=True)
    log_density = (256 * probability[grey]).log()  # constant in each bin: the bound is tight
    exact = -probability[grey].log2()
    torch.testing.assert_close(bits_per_dim(log_density, 1), exact)


def test_a_dequantised_data_sets_bound_is_in_bits_too() -> None:
    x = uneven((3, 2, 2))
    values = Bound().measure(subject(FakeBound(), FakeData(x, dequantize=True)))
    assert values["elbo_bits_per_dim"].value == pytest.approx(8 - values["elbo"].value / (12 * math.log(2)), rel=1e-9)
