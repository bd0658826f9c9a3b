"""The equations against torch.distributions, scipy, and second implementations."""

import math
from collections.abc import Callable

import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional as F

from models.losses import (
    discriminator_loss,
    gaussian_kl,
    gaussian_log_prob,
    gradient_penalty,
    minimax_loss,
    non_saturating_loss,
    squared_error,
    wasserstein_loss,
)
from models.networks import dcgan, mlp, with_head

SHAPES = [(7,), (3, 8, 8)]


def slope(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """The linear critic x -> <weight, x>, whose gradient is `weight` everywhere."""
    return lambda x: (x * weight).flatten(1).sum(1)


def of_norm(shape: tuple[int, ...], norm: float) -> Tensor:
    direction = torch.randn(shape)
    return norm * direction / direction.square().sum().sqrt()


def some_critic(shape: tuple[int, ...]) -> nn.Module:
    """Smooth, and far from linear: its gradient's norm varies from example to example."""
    if len(shape) == 1:
        critic = nn.Sequential(nn.Linear(shape[0], 16), nn.Tanh(), nn.Linear(16, 16), nn.Softplus(), nn.Linear(16, 1))
    else:
        flat = 8 * shape[1] * shape[2]
        critic = nn.Sequential(
            nn.Conv2d(shape[0], 8, 3, padding=1), nn.GroupNorm(1, 8), nn.Tanh(), nn.Flatten(), nn.Linear(flat, 1)
        )
    for weight in critic.parameters():
        nn.init.normal_(weight, std=0.5)
    return critic


def penalty_by_autograd(f: Callable[[Tensor], Tensor], x: Tensor, x_fake: Tensor) -> Tensor:
    """Gulrajani et al. 2017, eq. 3, as most repositories write it."""
    alpha = torch.rand(len(x), *[1] * (x.dim() - 1))
    x_hat = ((1 - alpha) * x + alpha * x_fake).requires_grad_()
    (gradient,) = torch.autograd.grad(f(x_hat).sum(), x_hat, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


def seeded_call(seed: int, function: Callable[..., Tensor], *args: object) -> Tensor:
    torch.manual_seed(seed)
    return function(*args)


def test_gaussian_kl_equals_torch_distributions() -> None:
    mu, log_var = 2 * torch.randn(16, 5, dtype=torch.float64), 2 * torch.randn(16, 5, dtype=torch.float64)
    q = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    p = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    expected = torch.distributions.kl_divergence(q, p).sum(-1)
    assert gaussian_kl(mu, log_var).shape == (16,)
    torch.testing.assert_close(gaussian_kl(mu, log_var), expected, rtol=1e-12, atol=1e-12)


def test_gaussian_kl_is_zero_at_the_prior_and_positive_elsewhere() -> None:
    zero = torch.zeros(3, 4)
    assert gaussian_kl(zero, zero).tolist() == [0.0, 0.0, 0.0]
    assert (gaussian_kl(torch.randn(50, 4) + 0.1, torch.randn(50, 4)) > 0).all()


def test_gaussian_log_prob_equals_scipy() -> None:
    z, mu, log_var = torch.randn(3, 2, 6, 5, dtype=torch.float64)
    expected = scipy.stats.norm(mu.numpy(), (0.5 * log_var).exp().numpy()).logpdf(z.numpy()).sum(-1)
    value = gaussian_log_prob(z, mu, log_var)
    assert value.shape == (2, 6)
    torch.testing.assert_close(value, torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_squared_error_sums_over_every_dimension_of_an_example(shape: tuple[int, ...]) -> None:
    x_hat, x = torch.randn(2, 4, *shape, dtype=torch.float64)
    expected = [float(((a - b) ** 2).sum()) for a, b in zip(x_hat.numpy(), x.numpy(), strict=True)]
    value = squared_error(x_hat, x)
    assert value.shape == (4,)
    assert value.tolist() == pytest.approx(expected, rel=1e-12)


def test_discriminator_loss_equals_binary_cross_entropy() -> None:
    """Averages over real and over fake apart, so their numbers need not be equal."""
    d_real, d_fake = 5 * torch.randn(9), 5 * torch.randn(13)
    bce = F.binary_cross_entropy_with_logits
    expected = bce(d_real, torch.ones(9)) + bce(d_fake, torch.zeros(13))
    torch.testing.assert_close(discriminator_loss(d_real, d_fake), expected)


def test_discriminator_loss_is_two_log_two_where_nothing_is_told_apart() -> None:
    assert discriminator_loss(torch.zeros(4), torch.zeros(4)).item() == pytest.approx(2 * math.log(2), rel=1e-6)


def test_non_saturating_loss_is_the_cross_entropy_of_fakes_as_real() -> None:
    d_fake = 5 * torch.randn(11)
    torch.testing.assert_close(
        non_saturating_loss(d_fake), F.binary_cross_entropy_with_logits(d_fake, torch.ones_like(d_fake))
    )


def test_minimax_loss_is_the_formula_and_minus_the_discriminators_term() -> None:
    d_fake = 3 * torch.randn(11, dtype=torch.float64)
    torch.testing.assert_close(minimax_loss(d_fake), (1 - d_fake.sigmoid()).log().mean())
    d_real = torch.full((1,), 1e6, dtype=torch.float64)  # told apart for certain: its term is 0
    torch.testing.assert_close(minimax_loss(d_fake), -discriminator_loss(d_real, d_fake))


def test_only_the_minimax_loss_saturates_where_the_discriminator_wins() -> None:
    """Goodfellow et al. 2014, sec. 3: the reason for the other one."""
    slopes = []
    for loss in (minimax_loss, non_saturating_loss):
        d_fake = torch.full((1,), -20.0, requires_grad=True)
        loss(d_fake).backward()
        slopes.append(abs(float(d_fake.grad)))
    assert slopes[0] < 1e-8
    assert slopes[1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_gan_losses_and_their_gradients_are_finite_for_a_certain_discriminator(logit: float) -> None:
    d_real, d_fake = torch.full((2, 3), logit).requires_grad_().unbind()
    for loss in (discriminator_loss(d_real, d_fake), non_saturating_loss(d_fake), minimax_loss(d_fake)):
        (gradient,) = torch.autograd.grad(loss, d_fake, retain_graph=True)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_wasserstein_loss_is_minus_the_critics_gap_between_the_means() -> None:
    f_real, f_fake = torch.randn(9, dtype=torch.float64), torch.randn(13, dtype=torch.float64)
    assert float(wasserstein_loss(f_real, f_fake)) == pytest.approx(f_fake.numpy().mean() - f_real.numpy().mean())


def test_wasserstein_loss_of_the_best_critic_of_a_shift_is_minus_the_shift() -> None:
    """W₁ between x and x - c·u is c, and the unit slope along u attains it."""
    u, x = of_norm((5,), 1.0), torch.randn(20, 5)
    distance = float(torch.rand(())) + 0.5
    assert float(wasserstein_loss(slope(u)(x), slope(u)(x - distance * u))) == pytest.approx(-distance, rel=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_penalty_of_a_linear_critic_is_its_slopes_distance_from_one_squared(shape: tuple[int, ...]) -> None:
    """The norm is over C, H and W together."""
    x, x_fake = torch.randn(2, 6, *shape)
    assert gradient_penalty(slope(of_norm(shape, 1.0)), x, x_fake).item() == pytest.approx(0, abs=1e-10)
    s = 0.2 + 3 * float(torch.rand(()))
    assert gradient_penalty(slope(of_norm(shape, s)), x, x_fake).item() == pytest.approx((s - 1) ** 2, abs=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_penalty_and_its_gradients_equal_autograds(shape: tuple[int, ...]) -> None:
    critic, (x, x_fake) = some_critic(shape), torch.randn(2, 12, *shape)
    seed = int(torch.randint(2**31, ()))
    ours = seeded_call(seed, gradient_penalty, critic, x, x_fake)
    theirs = seeded_call(seed, penalty_by_autograd, critic, x, x_fake)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    # the last bias has no part in the gradient
    weights = list(critic.parameters())[:-1]
    for a, b in zip(torch.autograd.grad(ours, weights), torch.autograd.grad(theirs, weights), strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_penalty_reaches_the_weights_of_the_networks_in_use(norm: str) -> None:
    for trunk in (mlp.Trunk((3, 8, 8), [16, 16], norm), dcgan.Trunk((3, 8, 8), 4, norm)):
        critic = with_head(trunk, 1)
        gradient_penalty(critic, *torch.rand(2, 5, 3, 8, 8)).backward()
        kernels = [weight for weight in critic.parameters() if weight.dim() > 1]
        assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in kernels)


def test_penalty_is_finite_and_differentiable_where_the_critics_gradient_is_zero() -> None:
    critic = nn.Linear(4, 1)
    nn.init.zeros_(critic.weight)
    penalty = gradient_penalty(critic, torch.randn(3, 4), torch.randn(3, 4))
    penalty.backward()
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    assert critic.weight.grad is not None
    assert critic.weight.grad.isfinite().all()


def test_penalty_draws_one_alpha_an_example_uniformly() -> None:
    """With f = ½‖x‖², x = 0 and unit x_fake the norm is α: E(α - 1)² = 1/3 with a variance of 4/45.

    One α a batch would give (α - 1)², and one α a pixel (√⅓ - 1)² = 0.18.
    """
    n = 20_000
    x_fake = torch.full((n, 3, 4, 4), 48**-0.5)
    value = gradient_penalty(lambda x: 0.5 * x.square().flatten(1).sum(1), torch.zeros_like(x_fake), x_fake)
    assert value.item() == pytest.approx(1 / 3, abs=8 * math.sqrt(4 / 45 / n))


def test_penalty_is_taken_between_the_pair_of_an_example() -> None:
    """With f = ½‖x‖² and x = x_fake nothing is random: the norm is ‖x‖."""
    x = torch.randn(6, 3, 4, 4)
    value = gradient_penalty(lambda x: 0.5 * x.square().flatten(1).sum(1), x, x.clone())
    assert value.item() == pytest.approx(float((x.flatten(1).norm(dim=1) - 1).square().mean()), rel=1e-4)


def test_penalty_sends_no_gradient_to_the_generator_for_detached_fakes() -> None:
    critic, x = some_critic((7,)), torch.randn(5, 7)
    generated = torch.randn(5, 7, requires_grad=True)
    gradient_penalty(critic, x, generated.detach()).backward()
    assert generated.grad is None
    assert critic[0].weight.grad is not None


def stacked_penalty(
    critics: list[nn.Module], randomness: str, x: Tensor, x_fake: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    parameters, buffers = stack_module_state(critics)

    def one(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        return gradient_penalty(lambda x: functional_call(critics[0], (p, b), (x,)), x, x_fake)

    return parameters, torch.vmap(one, randomness=randomness)(parameters, buffers)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_penalty_maps_over_stacked_critics(shape: tuple[int, ...]) -> None:
    critics, (x, x_fake) = [some_critic(shape) for _ in range(3)], torch.randn(2, 6, *shape)
    seed = int(torch.randint(2**31, ()))
    torch.manual_seed(seed)
    parameters, mapped = stacked_penalty(critics, "same", x, x_fake)
    one_by_one = torch.stack([seeded_call(seed, gradient_penalty, critic, x, x_fake) for critic in critics])
    torch.testing.assert_close(mapped, one_by_one, rtol=1e-4, atol=1e-6)

    mapped.sum().backward()
    one_by_one.sum().backward()
    for name, stacked in list(parameters.items())[:-1]:  # the last bias has no part in the gradient
        expected = torch.stack([critic.get_parameter(name).grad for critic in critics])
        assert expected.abs().max() > 0
        torch.testing.assert_close(stacked.grad, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_penalty_draws_anew_for_each_of_the_stacked_critics_where_asked_to() -> None:
    critic = some_critic((7,))
    _, mapped = stacked_penalty([critic, critic], "different", torch.randn(4, 7), torch.randn(4, 7))
    assert mapped[0] != mapped[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_penalty_is_in_float32_whatever_the_training_precision(dtype: torch.dtype) -> None:
    critic, (x, x_fake) = some_critic((3, 8, 8)), torch.randn(2, 6, 3, 8, 8, dtype=dtype)
    seed = int(torch.randint(2**31, ()))
    expected = seeded_call(seed, gradient_penalty, critic, x.float(), x_fake.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert critic(x).dtype == torch.bfloat16  # so here the critic alone would lose precision
        value = seeded_call(seed, gradient_penalty, critic, x, x_fake)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
