"""Multi-layer perceptrons, for points and for small images."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from models.networks.norm import Norm, norm1d


class Trunk(nn.Sequential):
    """Examples (B, *shape) to features (B, widths[-1]).

    Raises:
        ValueError: for no width.
    """

    def __init__(self, shape: Sequence[int], widths: Sequence[int], norm: Norm = "none") -> None:
        super().__init__(nn.Flatten(), *_layers([math.prod(shape), *widths], norm, nn.LeakyReLU(0.2)))
        self.features = widths[-1]


class Decoder(nn.Sequential):
    """Latents (B, latent_dim) to raw outputs (B, *shape). `widths` runs from the latents to the data."""

    def __init__(self, latent_dim: int, shape: Sequence[int], widths: Sequence[int], norm: Norm = "none") -> None:
        super().__init__(
            *_layers([latent_dim, *widths], norm, nn.ReLU()),
            nn.Linear(widths[-1], math.prod(shape)),
            nn.Unflatten(1, tuple(shape)),
        )


def _layers(widths: Sequence[int], norm: Norm, activation: nn.Module) -> list[nn.Module]:
    if len(widths) < 2:
        raise ValueError("widths is empty; expected at least one hidden layer")
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b, bias=norm != "batch"), norm1d(norm, b), activation]
    return layers
