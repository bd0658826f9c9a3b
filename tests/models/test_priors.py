"""Priors: draws, densities, and the moves that samplers of latents make."""

import math

import pytest
import torch

from models.contracts import Prior
from models.priors import NoiseAndCode, Normal, Uniform


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


@pytest.mark.parametrize("prior", [Normal(4), Uniform(4), NoiseAndCode(9, 3, 2)], ids=["normal", "uniform", "code"])
def test_a_generator_pins_the_latents_and_leaves_the_global_one_alone(prior: Prior) -> None:
    seed = int(torch.randint(2**31, ()))
    before = torch.get_rng_state()
    first, again = (prior.sample(9, torch.Generator().manual_seed(seed)) for _ in range(2))
    other = prior.sample(9, torch.Generator().manual_seed(seed + 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert prior.sample(9, torch.Generator().manual_seed(seed), torch.device("cpu")).equal(first)


@pytest.mark.parametrize("prior", [Normal(4), Uniform(4), NoiseAndCode(9, 3, 2)], ids=["normal", "uniform", "code"])
def test_without_a_generator_the_global_one_gives_fresh_latents(prior: Prior) -> None:
    torch.manual_seed(5)
    first, second = prior.sample(3), prior.sample(3)
    torch.manual_seed(5)
    assert torch.equal(prior.sample(3), first)
    assert not torch.equal(first, second)


# ---------------------------------------------------------------------------------------------------- noise and code


def test_a_code_is_uniform_and_its_categories_are_equally_likely() -> None:
    prior, n = NoiseAndCode(9, categories=4, uniforms=2), 40_000
    assert isinstance(prior, Prior)
    z = prior.sample(n)
    uniform, category = prior.code(z)
    assert uniform.abs().max() <= 1
    assert uniform.var().item() == pytest.approx(1 / 3, abs=0.02)
    shares = torch.bincount(category, minlength=4) / n
    assert (shares - 0.25).abs().max() < 8 * math.sqrt(0.25 * 0.75 / n)
    assert z[:, 6:].var().item() == pytest.approx(1, abs=0.05)
    assert prior.code_entropy == pytest.approx(math.log(4) + 2 * math.log(2))


def test_the_density_of_noise_and_code_is_the_product_of_its_parts() -> None:
    prior = NoiseAndCode(9, categories=4, uniforms=2)
    z = prior.sample(50).double().requires_grad_()
    uniform = torch.distributions.Uniform(-torch.ones(2).double(), torch.ones(2).double())
    normal = torch.distributions.Normal(torch.zeros(7).double(), torch.ones(7).double())
    torch.testing.assert_close(
        prior.log_prob(z), uniform.log_prob(z[:, :2]).sum(-1) + normal.log_prob(z[:, 2:]).sum(-1)
    )
    (gradient,) = torch.autograd.grad(prior.log_prob(z).sum(), z)
    torch.testing.assert_close(prior.score(z), gradient)
    outside = z.detach() + torch.tensor([3.0, *[0.0] * 8])
    assert prior.log_prob(outside).isneginf().all()
    assert prior.log_prob(prior.project(outside)).isfinite().all()


def test_a_category_is_a_one_hot_vector_for_the_generator_with_the_gradient_of_a_softmax() -> None:
    prior = NoiseAndCode(9, categories=4, uniforms=2)
    z = prior.sample(30).requires_grad_()
    seen = prior.one_hot(z)
    assert torch.equal(seen[:, 2:6], torch.nn.functional.one_hot(z[:, 2:6].argmax(1), 4).float())
    assert torch.equal(seen[:, [0, 1, 6, 7, 8]], z[:, [0, 1, 6, 7, 8]])
    pull = torch.randn(30, 9)
    (gradient,) = torch.autograd.grad((seen * pull).sum(), z, retain_graph=True)
    (expected,) = torch.autograd.grad((z[:, 2:6].softmax(1) * pull[:, 2:6]).sum(), z)
    torch.testing.assert_close(gradient[:, 2:6], expected[:, 2:6])


def test_each_part_of_a_code_moves_as_its_own_prior_does() -> None:
    prior = NoiseAndCode(9, categories=4, uniforms=2)
    a, b, p = 2 * torch.randn(3, 20, 9)
    (z, momentum), (walls, bounced) = prior.reflect(a, p), Uniform(2).reflect(a[:, :2], p[:, :2])
    assert torch.equal(z, torch.cat([walls, a[:, 2:]], 1))
    assert torch.equal(momentum, torch.cat([bounced, p[:, 2:]], 1))
    middle = torch.cat([Uniform(2).midpoint(a[:, :2], b[:, :2]), Normal(7).midpoint(a[:, 2:], b[:, 2:])], 1)
    assert torch.equal(prior.midpoint(a, b), middle)
    assert torch.equal(prior.project(a), torch.cat([a[:, :2].clamp(-1, 1), a[:, 2:]], 1))
