"""Fields: networks of an example and a time, (B, *shape) and (B,) -> (B, *shape), for flow matching and diffusion."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Field(nn.Module):
    """A U-Net for images, a perceptron with three hidden layers for points.

    The U-Net is Ho et al.'s (2020, app. B) without attention and with one residual block for each resolution: group norm, SiLU,
    the time's embedding added between the two convolutions of a block.

    Args:
        shape: of an example.
        width: the channels of the first resolution, or the units of a hidden layer.
    """

    def __init__(self, shape: Sequence[int], width: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(TimeEmbedding(width), nn.Linear(width, 4 * width), nn.SiLU())
        self.body = _Level(shape, width) if len(shape) == 3 else _Perceptron(shape[0], width)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """t: times in [0, 1], (B,)."""
        out: Tensor = self.body(x, self.embed(t))
        return out


class TimeEmbedding(nn.Module):
    """(B,) -> (B, width): sines and cosines of 1,000 t at geometric frequencies. Vaswani et al. 2017, sec. 3.5."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, t: Tensor) -> Tensor:
        half = self.width // 2
        frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / max(half - 1, 1))
        angles = 1000 * t[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], -1)


class _Perceptron(nn.Module):
    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.first, self.time = nn.Linear(dim, width), nn.Linear(4 * width, width)
        hidden = [layer for _ in range(2) for layer in (nn.SiLU(), nn.Linear(width, width))]
        self.rest = nn.Sequential(*hidden, nn.SiLU(), nn.Linear(width, dim))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        out: Tensor = self.rest(self.first(x) + self.time(time))
        return out


class _Level(nn.Module):
    """A U-Net: a block at each resolution on the way down and on the way up, joined by a skip.

    The sides are halved while they are even and above 4; the second and later resolutions have twice the channels of the first.
    """

    def __init__(self, shape: Sequence[int], width: int) -> None:
        super().__init__()
        c, h, w = shape
        self.inside = nn.Conv2d(c, width, 3, padding=1)
        halvings = 0
        while h % 2 == w % 2 == 0 and min(h, w) > 4:
            h, w, halvings = h // 2, w // 2, halvings + 1
        channels = [width] + [2 * width] * halvings
        self.down = nn.ModuleList(_Block(n, n, width) for n in channels)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(channels))
        self.middle = _Block(channels[-1], channels[-1], width)
        self.up = nn.ModuleList(_Block(2 * n, n, width) for n in reversed(channels))
        self.enlarge = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(b, a, 3, padding=1))
            for a, b in reversed(list(pairwise(channels)))
        )
        self.out = nn.Sequential(nn.GroupNorm(_groups(width), width), nn.SiLU(), nn.Conv2d(width, c, 3, padding=1))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        x = self.inside(x)
        skips = []
        for i, block in enumerate(self.down):
            x = self.shrink[i - 1](x) if i else x
            x = block(x, time)
            skips.append(x)
        x = self.middle(x, time)
        for i, block in enumerate(self.up):
            x = self.enlarge[i - 1](x) if i else x
            x = block(torch.cat([x, skips.pop()], 1), time)
        out: Tensor = self.out(x)
        return out


class _Block(nn.Module):
    def __init__(self, a: int, b: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(_groups(a), a), nn.SiLU(), nn.Conv2d(a, b, 3, padding=1))
        self.time = nn.Linear(4 * width, b)
        self.second = nn.Sequential(nn.GroupNorm(_groups(b), b), nn.SiLU(), nn.Conv2d(b, b, 3, padding=1))
        self.skip = nn.Identity() if a == b else nn.Conv2d(a, b, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inner = self.first(x) + self.time(time)[:, :, None, None]
        out: Tensor = self.skip(x) + self.second(inner)
        return out


def _groups(channels: int) -> int:
    """At most 8 groups of four channels or more: a group of one channel would take away what the time adds to it."""
    return math.gcd(8, max(channels // 4, 1))
