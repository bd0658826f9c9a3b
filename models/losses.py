"""The equations, as pure functions of modules and tensors."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Critic = Callable[[Tensor], Tensor]


def gaussian_kl(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, σ²) ‖ N(0, I)) in nats. mu, log_var: (B, Z) -> (B,). Kingma & Welling 2014, app. B."""
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(-1)


def gaussian_log_prob(z: Tensor, mu: Tensor, log_var: Tensor) -> Tensor:
    """log N(z; mu, σ²) in nats, summed over the last axis. (..., Z) -> (...)."""
    # unchecked: a model that diverges has a loss that is no number, and training says so
    return torch.distributions.Normal(mu, (0.5 * log_var).exp(), validate_args=False).log_prob(z).sum(-1)


def squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """‖x̂ - x‖² summed over every dimension. (B, ...) -> (B,)."""
    return (x_hat - x).square().flatten(1).sum(1)


def discriminator_loss(d_real: Tensor, d_fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))), from logits (B,), to a scalar in nats. Goodfellow et al. 2014, eq. 1."""
    return F.softplus(-d_real).mean() + F.softplus(d_fake).mean()


def non_saturating_loss(d_fake: Tensor) -> Tensor:
    """-E log D(G(z)), from logits (B,), to a scalar in nats. Goodfellow et al. 2014, sec. 3."""
    return F.softplus(-d_fake).mean()


def minimax_loss(d_fake: Tensor) -> Tensor:
    """E log(1 - D(G(z))), from logits (B,), to a scalar in nats. Goodfellow et al. 2014, eq. 1."""
    return -F.softplus(d_fake).mean()


def wasserstein_loss(f_real: Tensor, f_fake: Tensor) -> Tensor:
    """E f(G(z)) - E f(x): minus the critic's estimate of the distance. Arjovsky et al. 2017, eq. 3."""
    return f_fake.mean() - f_real.mean()


def imq_mmd(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimate of MMD² under k(x, y) = C / (C + ‖x - y‖²), C = 2Z. (n, Z), (n, Z) -> scalar.

    C is the expected squared distance between two draws of N(0, I). Tolstikhin et al. 2018, Alg. 2 and sec. 4.
    """
    n, scale = len(x), 2.0 * x.shape[1]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return scale / (scale + (a[:, None] - b).square().sum(-1))

    # the kernel of an example with itself is 1
    within = (kernel(x, x).sum() - n + kernel(y, y).sum() - n) / (n * (n - 1))
    return within - 2 * kernel(x, y).mean()


def gradient_penalty(f: Critic, x: Tensor, x_fake: Tensor) -> Tensor:
    """E (‖∇f(x̂)‖₂ - 1)², x̂ uniform on the segment from x to x_fake, one draw per example; scalar.

    Computed in float32 under every lower precision. The epsilon keeps the gradient finite at 0. Gulrajani et al. 2017, eq. 3.
    """
    x, x_fake = _unrounded(x), _unrounded(x_fake)
    alpha = torch.rand(len(x), *[1] * (x.dim() - 1), dtype=x.dtype, device=x.device)
    norm = (squared_gradient(f, torch.lerp(x, x_fake, alpha)) + 1e-12).sqrt()
    return (norm - 1).square().mean()


def squared_gradient(f: Critic, x: Tensor) -> Tensor:
    """‖∇f(x)‖₂² over all dimensions of an example, (B, ...) -> (B,), with a graph to the weights of f.

    Its mean over real examples is the penalty R1, over samples R2 (Mescheder et al. 2018, eq. 9 and 10). Computed in float32
    under every lower precision. `torch.func.grad` can be mapped over stacked critics and compiled; `torch.autograd.grad` cannot.
    """
    with torch.autocast(x.device.type, enabled=False):
        gradient: Tensor = torch.func.grad(lambda x: f(x).sum())(_unrounded(x))
        return gradient.flatten(1).square().sum(1)


def _unrounded(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
