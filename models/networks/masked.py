"""Autoregressive networks: masks on the weights let output i depend on the inputs before i alone. Germain et al. 2015 (MADE)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MaskedLinear(nn.Linear):
    """A linear layer whose output i sees input j only if mask[i, j] is 1.

    Args:
        mask: (outputs, inputs) of zeros and ones.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.mask * self.weight, self.bias)


class Autoregressive(nn.Module):
    """z and a context to two outputs for each latent, (..., Z), (B, C) -> (..., Z) each. Output i sees z before i, and all of
    the context.

    One hidden layer. Hidden unit j has degree j mod Z and sees the latents up to its degree (Germain et al. 2015, eq. 12 and 13).

    Args:
        dim: Z.
        context: C.
        width: hidden units.
    """

    def __init__(self, dim: int, context: int, width: int) -> None:
        super().__init__()
        degrees, hidden = torch.arange(1, dim + 1), torch.arange(width) % dim
        self.from_latents = MaskedLinear((hidden[:, None] >= degrees).float())
        self.from_context = nn.Linear(context, width, bias=False)
        self.out = MaskedLinear((degrees[:, None] > hidden).float().repeat(2, 1))

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        h = F.elu(self.from_latents(z) + self.from_context(context))
        first, second = self.out(h).chunk(2, dim=-1)
        return first, second
