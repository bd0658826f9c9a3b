"""Multi-layer perceptrons, for points and for small images."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from models.networks.norm import Norm, norm1d, norm_weights


class Trunk(nn.Sequential):
    """Examples (B, *shape) to features (B, widths[-1]).

    Args:
        shape: the shape of an example.
        widths: the width of each layer.
        norm: the normalisation after each layer.
        packed: the number of examples that are packed into one, along the first dimension of `shape`.
        pieces: the linear pieces of a maxout unit; with 1, the units are leaky ReLUs.

    Raises:
        ValueError: for no width.
    """

    def __init__(
        self, shape: Sequence[int], widths: Sequence[int], norm: Norm = "none", packed: int = 1, pieces: int = 1
    ) -> None:
        activation = nn.LeakyReLU(0.2) if pieces == 1 else Maxout(pieces)
        super().__init__(nn.Flatten(), *_layers([packed * math.prod(shape), *widths], norm, activation, pieces))
        self.features = widths[-1]
        norm_weights(norm, self)


class Decoder(nn.Sequential):
    """Latents (B, latent_dim) to raw outputs (B, *shape). `widths` runs from the latents to the data."""

    def __init__(self, latent_dim: int, shape: Sequence[int], widths: Sequence[int], norm: Norm = "none") -> None:
        super().__init__(
            *_layers([latent_dim, *widths], norm, nn.ReLU()),
            nn.Linear(widths[-1], math.prod(shape)),
            nn.Unflatten(1, tuple(shape)),
        )
        norm_weights(norm, self)


class Maxout(nn.Module):
    """The largest of `pieces` neighbours, (B, features * pieces) -> (B, features). Goodfellow et al. 2013, sec. 3."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.pieces)).amax(-1)


class Skip(nn.Module):
    """net(x) + A x: the last layer of the network sees its input too. (B, inputs) -> (B, outputs)."""

    def __init__(self, net: nn.Module, inputs: int, outputs: int) -> None:
        super().__init__()
        self.net, self.skip = net, nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x) + self.skip(x)
        return out


def _layers(widths: Sequence[int], norm: Norm, activation: nn.Module, pieces: int = 1) -> list[nn.Module]:
    if len(widths) < 2:
        raise ValueError("widths is empty; expected at least one hidden layer")
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b * pieces, bias=norm != "batch"), norm1d(norm, b * pieces), activation]
    return layers
