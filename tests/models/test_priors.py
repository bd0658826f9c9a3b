"""Priors: draws, densities, and the moves that samplers of latents make."""

import math

import pytest
import torch

from models.priors import Normal, Uniform


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
