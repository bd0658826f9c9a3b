"""AIS against the exact log-likelihood of a linear-Gaussian decoder (probabilistic PCA, Tipping & Bishop 1999)."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.metrics.annealing import (
    Plan,
    Settings,
    backward,
    evenly,
    forward,
    log_mean_weight,
    pilot,
    settle,
    sigmoid_schedule,
    tune,
)
from benchmarks.metrics.base import NonFinite
from benchmarks.metrics.chains import Target
from benchmarks.metrics.likelihood import AIS
from benchmarks.metrics.observation import log_likelihoods, rough_sigma, tune_sigma
from models.priors import Normal, Uniform
from tests.metrics.fakes import FakeData, FakeSampler, fresh_seed, subject


class PPCA:
    """x = Wz + b + σε, z ~ N(0, I): a decoder whose log-likelihood is known. Pixels vary by about 1 before the noise."""

    def __init__(self, pixels: int = 64, latents: int = 10, sigma: float = 0.3) -> None:
        self.weight, self.bias = torch.randn(pixels, latents) / latents**0.5, torch.randn(pixels)
        self.prior, self.sigma = Normal(latents), sigma

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.weight.T + self.bias

    def draw(self, n: int) -> Tensor:
        return self.decode(torch.randn(n, self.prior.dim)) + self.sigma * torch.randn(n, len(self.bias))

    def exact(self, x: Tensor) -> Tensor:
        covariance = self.weight.double() @ self.weight.double().T
        covariance += self.sigma**2 * torch.eye(len(self.bias), dtype=torch.float64)
        return torch.distributions.MultivariateNormal(self.bias.double(), covariance).log_prob(x.double())


def annealed(model: PPCA, x: Tensor, settings: Settings) -> Tensor:
    generator = torch.Generator().manual_seed(fresh_seed())
    target = Target(model.decode, model.prior, x, model.sigma, settings.chains)
    plan = tune(target, settings, generator, "")
    return log_mean_weight(forward(target, plan, settings.leapfrog, generator, "").log_weights)


def test_the_target_is_the_log_density_and_its_gradient() -> None:
    model = PPCA(9, 4)
    x, z = model.draw(3), torch.randn(6, 4)
    target = Target(model.decode, model.prior, x, 0.3, chains=2)
    at = target.at(z)
    expected = torch.distributions.Normal(model.decode(z), 0.3).log_prob(x.repeat(2, 1)).sum(1)
    torch.testing.assert_close(at.log_likelihood, expected, rtol=1e-4, atol=1e-3)
    gradient = (x.repeat(2, 1) - model.decode(z)) @ model.weight / 0.3**2
    torch.testing.assert_close(at.gradient, gradient, rtol=1e-4, atol=1e-3)


def test_ais_is_near_the_exact_log_likelihood_at_1000_temperatures() -> None:
    model = PPCA()
    x = model.draw(64)
    error = model.exact(x) - annealed(model, x, Settings(chains=16, temperatures=1000, leapfrog=10))
    assert abs(float(error.mean())) < 0.3


def test_ais_is_nearer_at_10_000() -> None:
    model = PPCA()
    x = model.draw(64)
    error = model.exact(x) - annealed(model, x, Settings(chains=16, temperatures=10_000, leapfrog=3, pilot=0.03))
    assert abs(float(error.mean())) < 0.05


def test_tuned_temperatures_leave_less_error_than_a_sigmoid_of_as_many() -> None:
    """Where the posterior is far narrower than the prior: elsewhere the two are alike.

    About half the error is left; of 256 images' means the ratio varies by 0.05, of 32 images' by 0.15.
    """
    model, settings = PPCA(), Settings(chains=16, temperatures=300, leapfrog=5)
    model.weight *= model.prior.dim**0.5
    x = model.draw(256)
    generator = torch.Generator().manual_seed(fresh_seed())
    target = Target(model.decode, model.prior, x, model.sigma, settings.chains)
    betas = sigmoid_schedule(settings.temperatures, len(x))
    trace = pilot(target, betas, settings.leapfrog, generator, "")
    tuned = tune(target, settings, generator, "")
    errors = [
        float((model.exact(x) - log_mean_weight(forward(target, plan, 5, generator, "").log_weights)).mean())
        for plan in (tuned, Plan(betas, trace.steps))
    ]
    assert errors[0] < 0.8 * errors[1]


def test_the_two_sides_of_the_check_are_around_the_truth() -> None:
    model, settings = PPCA(), Settings(chains=16, temperatures=1000, leapfrog=5)
    z = torch.randn(64, model.prior.dim)
    x = model.decode(z) + model.sigma * torch.randn(64, len(model.bias))
    generator = torch.Generator().manual_seed(fresh_seed())
    target = Target(model.decode, model.prior, x, model.sigma, settings.chains)
    plan = tune(target, settings, generator, "")
    lower = log_mean_weight(forward(target, plan, settings.leapfrog, generator, "").log_weights)
    upper = -log_mean_weight(backward(target, plan, z, settings.leapfrog, generator, "").log_weights)
    exact = model.exact(x)
    room = 4 * float((upper - lower).std()) / math.sqrt(len(x))  # of the two means' own noise
    assert float(lower.mean()) < float(exact.mean()) + room / 2
    assert float(upper.mean()) > float(exact.mean()) - room / 2
    assert -room < float((upper - lower).mean()) < 1


def test_few_temperatures_are_too_low_and_the_check_says_so() -> None:
    """A bound that is bad must not look good: the gap is about what is missing, or more."""
    model = PPCA()
    x = model.draw(64)
    missing = float((model.exact(x) - annealed(model, x, Settings(chains=4, temperatures=20, leapfrog=3))).mean())
    assert missing > 3
    ruler = AIS(examples=8, chains=4, temperatures=20, leapfrog=3, sigma=model.sigma, simulated=64)
    gap = ruler.measure(subject(model, FakeData(x), seed=fresh_seed()))["ais_gap"].value
    assert gap > 0.7 * missing


def test_the_weights_are_unbiased_under_a_uniform_prior() -> None:
    """In one dimension p(x) is an integral that a sum gives."""

    def decode(z: Tensor) -> Tensor:
        return torch.sin(3 * z)

    sigma, x = 0.2, torch.tensor([[0.5], [-0.9], [1.1]])
    z = torch.linspace(-1, 1, 20_001, dtype=torch.float64)[:, None]
    density = torch.distributions.Normal(decode(z), sigma).log_prob(x.double().T).exp().mean(0)
    generator = torch.Generator().manual_seed(fresh_seed())
    target = Target(decode, Uniform(1), x, sigma, chains=4000)
    settings = Settings(chains=4000, temperatures=60, leapfrog=3)
    run = forward(target, tune(target, settings, generator, ""), settings.leapfrog, generator, "")
    torch.testing.assert_close(log_mean_weight(run.log_weights), density.log(), rtol=0, atol=0.05)
    assert float(run.state.z.abs().max()) <= 1


def test_chains_mix_under_a_uniform_prior_of_many_dimensions() -> None:
    """Of an identity decoder the density is a product of differences of the normal distribution function. Chains that
    were rejected whenever one coordinate left the box would be stuck."""
    dim, sigma = 32, 0.2
    x = torch.rand(16, dim) * 2 - 1
    normal = torch.distributions.Normal(x.double(), sigma)
    one = torch.tensor(1.0, dtype=torch.float64)
    exact = ((normal.cdf(one) - normal.cdf(-one)) / 2).log().sum(1)
    generator = torch.Generator().manual_seed(fresh_seed())
    target = Target(lambda z: z, Uniform(dim), x, sigma, chains=16)
    settings = Settings(chains=16, temperatures=400, leapfrog=5)
    run = forward(target, tune(target, settings, generator, ""), settings.leapfrog, generator, "")
    assert abs(float((exact - log_mean_weight(run.log_weights)).mean())) < 0.5
    assert run.acceptance > 0.4


def searched(model: PPCA, x: Tensor, tolerance: float = 0.02) -> Any:
    generator = torch.Generator().manual_seed(fresh_seed())
    return tune_sigma(model.decode, model.prior, x, Settings(16, 400, 5), tolerance, 8, generator, "")


def exact_best(model: PPCA, x: Tensor) -> float:
    """The σ of a grid with the highest exact likelihood."""
    sigmas = [0.5 * model.sigma * 1.01**k for k in range(140)]

    def exact(sigma: float) -> float:
        other = PPCA(len(model.bias), model.prior.dim, sigma)
        other.weight, other.bias = model.weight, model.bias
        return float(other.exact(x).mean())

    return max(sigmas, key=exact)


def test_sigma_is_found_by_maximum_likelihood_to_a_tolerance() -> None:
    model = PPCA(sigma=0.45)
    x = model.draw(64)
    search = searched(model, x)
    assert search.has_settled
    assert abs(math.log(search.rounds[-1] / search.rounds[-2])) < 0.02
    assert search.sigma == pytest.approx(exact_best(model, x), rel=0.03)


def test_a_rescaled_state_is_the_state_under_the_other_sigma() -> None:
    model = PPCA(9, 4)
    target = Target(model.decode, model.prior, model.draw(3), 0.3, chains=2)
    state = target.at(torch.randn(6, 4))
    errors = target.squared_errors(state)
    rescaled = target.rescaled(state, 0.7)
    fresh = target.at(state.z)
    assert target.sigma == 0.7
    torch.testing.assert_close(rescaled.log_likelihood, fresh.log_likelihood, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rescaled.gradient, fresh.gradient, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(target.squared_errors(rescaled), errors, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.1, 0.45])
def test_the_rough_sigma_is_near_the_best_one(sigma: float) -> None:
    model = PPCA(sigma=sigma)
    x = model.draw(32)
    target = Target(model.decode, model.prior, x, 1.0, 16)
    generator = torch.Generator().manual_seed(fresh_seed())
    largest, rough = rough_sigma(target, Settings(16, 320, 5), generator, "")
    assert 0.7 * exact_best(model, x) < rough < 2 * exact_best(model, x) < largest
    assert target.sigma == rough


def test_one_run_gives_the_likelihood_of_every_larger_sigma() -> None:
    model = PPCA(sigma=0.3)
    x = model.draw(32)
    generator = torch.Generator().manual_seed(fresh_seed())
    target = Target(model.decode, model.prior, x, 0.3, 16)
    plan = tune(target, Settings(16, 1000, 5), generator, "")
    run = forward(target, plan, 5, generator, "")
    for sigma, value in zip((0.3, 0.5, 1.0), log_likelihoods(target, plan.betas, run, [0.3, 0.5, 1.0]), strict=True):
        other = PPCA(64, 10, sigma)
        other.weight, other.bias = model.weight, model.bias
        assert float(value) == pytest.approx(float(other.exact(x).mean()), abs=0.5)


def test_the_bounds_on_real_examples_are_around_the_truth() -> None:
    """Backward chains start from long posterior runs instead of exact draws of the posterior."""
    model, settings = PPCA(), Settings(chains=16, temperatures=1000, leapfrog=5)
    x = model.draw(64)
    generator = torch.Generator().manual_seed(fresh_seed())
    target = Target(model.decode, model.prior, x, model.sigma, settings.chains)
    plan = tune(target, settings, generator, "")
    run = forward(target, plan, 5, generator, "")
    z = settle(target, run, plan, 100, 5, generator)
    upper = -log_mean_weight(backward(target, plan, z, 5, generator, "").log_weights)
    lower = log_mean_weight(run.log_weights)
    room = 4 * float((upper - lower).std()) / math.sqrt(len(x))
    assert float(lower.mean()) < float(model.exact(x).mean()) + room
    assert float(upper.mean()) > float(model.exact(x).mean()) - room
    assert -room < float((upper - lower).mean()) < 1


def test_a_schedule_rises_from_zero_to_one() -> None:
    for betas in (sigmoid_schedule(50, 3), evenly(sigmoid_schedule(20, 3), torch.rand(20, 3) + 0.1, 50).double()):
        assert betas.shape == (51, 3)
        assert betas[0].tolist() == [0.0] * 3
        torch.testing.assert_close(betas[-1], torch.ones(3, dtype=torch.float64))
        assert bool((betas.diff(dim=0) > 0).all())


def test_temperatures_are_dense_where_the_log_likelihood_spreads() -> None:
    betas = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None]
    spread = torch.where(betas[:-1] < 0.5, 9.0, 1.0)
    even = evenly(betas, spread, 1000)
    assert float((even < 0.5).double().mean()) == pytest.approx(0.9, abs=0.02)


# ------------------------------------------------------------------------------------------------------- the ruler


def measured(model: Any, data: FakeData, **changes: Any) -> dict[str, Any]:
    settings = {"examples": 6, "chains": 4, "temperatures": 120, "leapfrog": 3, "tuning_examples": 5, "simulated": 5}
    ruler = AIS(**settings | {"tolerance": 9.0, "tuning_tolerance": 9.0} | changes)  # type: ignore[arg-type]
    assert ruler.why_not(subject(model, data)) is None
    return dict(ruler.measure(subject(model, data, seed=7)))


def test_the_ruler_gives_bit_identical_numbers_and_says_what_they_depend_on() -> None:
    model = PPCA(12, 3)
    data = FakeData(model.draw(40))
    first, second = measured(model, data), measured(model, data)
    assert first == second
    detail = first["ais"].detail
    assert detail["sigma"] == detail["sigma_rounds"][-1] == first["ais_sigma"].value > 0
    assert (detail["chains"], detail["temperatures"], detail["leapfrog"]) == (4, 120, 3)
    assert first["ais_quarter"].detail["temperatures"] == first["ais_rise"].detail["from"] == 30
    assert 0.2 < detail["acceptance"] < 1
    assert (first["ais"].n, first["ais_gap"].n, first["ais_gap_real"].n) == (6, 5, 5)
    assert first["ais_rise"].value == pytest.approx(first["ais"].value - first["ais_quarter"].value)
    assert len(first["ais"].by_example) == 6
    assert max(detail["sigma_curve"], key=lambda pair: pair[1])[0] == pytest.approx(detail["sigma"], rel=0.45)
    assert first["bits_per_dim"] == "points are not dequantised"


def test_all_chains_run_through_the_folded_decoder_of_a_model_that_has_one() -> None:
    class Folding(PPCA):
        def __init__(self) -> None:
            super().__init__(12, 3)
            self.decoded = 0

        def decode(self, z: Tensor) -> Tensor:
            self.decoded += len(z)
            return super().decode(z)

        def folded_decode(self) -> Callable[[Tensor], Tensor]:
            return super().decode

    model = Folding()
    data = FakeData(model.draw(40))
    model.decoded = 0
    few = {"temperatures": 16, "leapfrog": 1, "tuning_rounds": 1}
    folded = measured(model, data, **few)
    assert model.decoded == 64 + 5  # the check of samples, and the simulated examples
    plain = PPCA(12, 3)
    plain.weight, plain.bias, plain.sigma = model.weight, model.bias, model.sigma
    assert folded == measured(plain, data, **few)


def test_grey_images_are_dequantised_and_scored_in_bits_by_the_same_numbers() -> None:
    class Images(PPCA):
        def decode(self, z: Tensor) -> Tensor:
            return super().decode(z).view(-1, 1, 4, 4)

    model = Images(16, 3)
    grey = (torch.rand(40, 1, 4, 4) * 255).round() / 255
    values = measured(model, FakeData(grey), sigma=0.3)
    assert values["bits_per_dim"].value == pytest.approx(8 - values["ais"].value / (16 * math.log(2)), rel=1e-9)
    assert values["ais"].detail["sigma"] == 0.3
    given = subject(model, FakeData(grey), seed=7)
    (x,) = given.likelihood_examples("test", 6)
    assert not torch.equal(x, grey[:6])
    torch.testing.assert_close((x * 256).floor(), (grey[:6] * 255).round())


def test_an_estimate_that_still_rises_has_no_number() -> None:
    """Measured once: from 100 to 1,000 temperatures on the same images AIS rose by 415 nats, and the gap said 40."""
    model = PPCA()
    data = FakeData(model.draw(40))
    values = measured(model, data, temperatures=16, sigma=0.05, tolerance=0.1)
    assert values["ais"].startswith("not converged: rose by ")
    assert values["ais"].endswith("from 4 to 16 temperatures; 6.4 are tolerated")
    assert values["bits_per_dim"] == values["ais"]
    assert values["ais_rise"].value > 6.4
    # at the model's own σ the rise is 0.4 to 1.8 nats
    assert measured(model, data, temperatures=1000, sigma=0.3, tolerance=0.1)["ais"].value > -1e6


def test_a_sigma_that_still_moves_leaves_no_number() -> None:
    model = PPCA(12, 3)
    values = measured(model, FakeData(model.draw(40)), tuning_tolerance=1e-9, tuning_rounds=2)
    assert values["ais"].startswith("not converged: σ moved from")


def test_a_decoder_of_no_numbers_has_diverged() -> None:
    model = PPCA(12, 3)
    data = FakeData(model.draw(40))
    model.weight[0, 0] = math.nan
    with pytest.raises(NonFinite):
        measured(model, data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chains": 0}, "chains is 0"),
        ({"temperatures": 0}, "temperatures is 0"),
        ({"leapfrog": -1}, "leapfrog is -1"),
        ({"sigma": 0.0}, "sigma is 0.0"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AIS(**changes)


def test_it_applies_to_decoders_on_data_that_is_not_binary() -> None:
    data = FakeData(torch.rand(4, 2))
    assert AIS().why_not(subject(FakeSampler((2,)), data)) == "the model has no decoder"
    assert "binary" in (AIS().why_not(subject(PPCA(2, 1), FakeData(data.x, is_binary=True))) or "")
