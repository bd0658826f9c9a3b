"""Critics of pairs (x, z)."""

from typing import cast

import torch
from torch import Tensor, nn

from models.networks.norm import norm_weights_like


class PairCritic(nn.Module):
    """The features of an example beside a latent, and one hidden layer as wide as the features. (B, ...), (B, Z) -> (B,).

    On a trunk with spectral norm the layers have it too.

    Args:
        trunk: the map from examples to features.
        latent_dim: Z.
    """

    def __init__(self, trunk: nn.Module, latent_dim: int) -> None:
        super().__init__()
        width = cast(int, trunk.features)
        self.trunk = trunk
        self.head = nn.Sequential(nn.Linear(width + latent_dim, width), nn.LeakyReLU(0.2), nn.Linear(width, 1))
        norm_weights_like(trunk, self.head)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        value: Tensor = self.head(torch.cat([self.trunk(x), z], dim=1))
        return value.squeeze(1)
