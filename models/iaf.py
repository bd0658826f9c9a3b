"""VAE with inverse autoregressive flow: the posterior is a Gaussian that autoregressive steps bend.

Kingma et al. 2016, Alg. 1. Differs from the paper: the steps' networks have one masked hidden layer, their context is the trunk's
features, there is one layer of latents, and no free bits.
"""

from collections.abc import Sequence
from typing import Unpack, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.autoencoding import draw_gaussian
from models.game import Player
from models.losses import gaussian_log_prob
from models.networks.masked import Autoregressive
from models.variational import Pieces, VariationalModel

# of s before training: sigmoid(s) near 1 keeps z, as a forget gate does (sec. 4)
FORGET_BIAS = 2.0


class IAF(VariationalModel):
    """Maximises E log p(x|z) + log p(z) - log q(z|x), z = f_T ∘ … ∘ f_1 (μ + σ ε).

    Args:
        steps: T.
        width: the hidden units of the network of each step.
        **pieces: as `VariationalModel`.

    Raises:
        ValueError: for fewer steps than 1, or fewer hidden units than latents.
    """

    def __init__(self, steps: int, width: int, **pieces: Unpack[Pieces]) -> None:
        dim, features = pieces["prior"].dim, cast(int, pieces["trunk"].features)
        if steps < 1:
            raise ValueError(f"model.steps is {steps}; expected 1 or more")
        if width < dim:
            raise ValueError(f"model.width is {width}; expected at least one hidden unit for each of {dim} latents")
        super().__init__(**pieces)
        self.flow = nn.ModuleList(Autoregressive(dim, features, width) for _ in range(steps))
        for step in self.flow:
            nn.init.constant_(cast(Autoregressive, step).out.bias[dim:], FORGET_BIAS)

    def players(self) -> Sequence[Player]:
        modules = nn.ModuleList([self.encoder, self.flow, self.decoder, self.likelihood])
        return [Player("autoencoder", modules, self.loss, self.optimizer, samples=True)]

    def bend(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """f_T ∘ … ∘ f_1 (z), (..., Z), and log |det ∂f/∂z|, (...). context: (B, C).

        A step is z ← σ z + (1 - σ) m with σ = sigmoid(s) (eq. 13 and 14), then the latents change their order.
        """
        log_det = torch.zeros_like(z[..., 0])
        for step in self.flow:
            m, s = step(z, context)
            sigma = s.sigmoid()
            z = (sigma * z + (1 - sigma) * m).flip(-1)
            log_det = log_det + F.logsigmoid(s).sum(-1)
        return z, log_det

    def draw(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        context, mu, log_var = self._encoded(x)
        mu, log_var = (t.expand(k, *t.shape) for t in (mu, log_var))
        start = draw_gaussian(mu, log_var)
        z, log_det = self.bend(start, context)
        return z, gaussian_log_prob(start, mu, log_var) - log_det

    def encode(self, x: Tensor) -> Tensor:
        """The code without noise, ε = 0, (B, ...) -> (B, Z): the posterior's mean has no closed form."""
        context, mu, _ = self._encoded(x)
        return self.bend(mu, context)[0]

    def draw_code(self, x: Tensor) -> Tensor:
        return self.draw(x, 1)[0].squeeze(0)

    def _encoded(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The context (B, C), and mu and log_var of the first latents, (B, Z) each."""
        trunk, head = self.encoder
        context = trunk(x)
        mu, log_var = head(context).chunk(2, dim=-1)
        return context, mu, log_var
