"""RealNVP: an invertible network of affine couplings, so that log p(x) is exact.

Dinh et al. 2017, eq. 6 to 9; pixels become logits (sec. 4.1). Differs from the paper: no batch norm and no weight norm, and so
no penalty on the scales of weight norm; the networks of the couplings have the same channels at each scale, where the paper
doubles them; two scales at every size of images, as the paper has for CIFAR-10; no flipped images.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from models.densities import DensityModel, dequantised
from models.game import OptimizerFactory, Player
from models.networks.coupling import Coupling, RealNVPFlow
from models.priors import Normal


class RealNVP(DensityModel):
    """Maximises E log p(z) + log |det ∂z/∂x|, z = f(logit(α + (1 - α) x)), p(z) = N(0, I).

    Args:
        flow: f, and its inverse, the decoder.
        optimizer: the function that makes the optimiser of the flow.
        alpha: α, for images; keeps logits finite.
        ema_decay: as `GenerativeModel`.
        trunk, decoder: null; the networks of `network` have no part in this family.

    Raises:
        ValueError: for α outside (0, 1).
    """

    def __init__(
        self,
        flow: RealNVPFlow,
        optimizer: OptimizerFactory,
        alpha: float = 0.05,
        ema_decay: float | None = None,
        trunk: None = None,
        decoder: None = None,
    ) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"model.alpha is {alpha}; expected a number between 0 and 1")
        self.alpha, self.is_images = alpha, len(flow.shape) == 3
        super().__init__(flow, Normal(flow.dim), self.from_logits, ema_decay)
        self.optimizer = optimizer

    def players(self) -> Sequence[Player]:
        return [Player("flow", self.decoder, self.loss, self.optimizer, samples=True)]

    def loss(self, x: Tensor) -> Tensor:
        return -self.log_prob(dequantised(x) if self.is_images else x).mean()

    def log_prob(self, x: Tensor) -> Tensor:
        y, log_det = self.to_logits(x)
        z, more = self.flow.encode(y)
        return self.prior.log_prob(z) + log_det + more

    def encode(self, x: Tensor) -> Tensor:
        return self.flow.encode(self.to_logits(x)[0])[0]

    @property
    def decoder_evaluations(self) -> int:
        return sum(isinstance(module, Coupling) for module in self.decoder.modules())

    @property
    def flow(self) -> RealNVPFlow:
        flow = self.decoder
        assert isinstance(flow, RealNVPFlow)
        return flow

    def to_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y = logit(α + (1 - α) x), (B, ...), and log |det ∂y/∂x|, (B,); points are left as they are."""
        if not self.is_images:
            return x, x.new_zeros(len(x))
        p = self.alpha + (1 - self.alpha) * x
        p = p.clamp(max=1 - torch.finfo(p.dtype).eps)  # a white pixel without noise has no finite logit
        y = p.logit()
        log_det = math.log(1 - self.alpha) + F.softplus(y) + F.softplus(-y)  # dy/dp = 1 / (p (1 - p))
        return y, log_det.flatten(1).sum(1)

    def from_logits(self, y: Tensor) -> Tensor:
        if not self.is_images:
            return y
        return ((y.sigmoid() - self.alpha) / (1 - self.alpha)).clamp(0, 1)
