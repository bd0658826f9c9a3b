"""Affine coupling layers, stacked over checkerboards and channels: an invertible network with a cheap Jacobian.

Dinh et al. 2017. Differs from the paper: no batch norm between layers, as many channels at each scale, two-layer perceptrons
for points.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Coupling(nn.Module):
    """y = b ⊙ x + (1 - b) ⊙ (x ⊙ exp(s(b ⊙ x)) + t(b ⊙ x)). Dinh et al. 2017, eq. 9.

    Args:
        mask: b, 0 or 1, of the shape of an example.
        net: the map from examples, (B, *shape), to s before its tanh and t, (B, 2·C, ...).
    """

    mask: Tensor

    def __init__(self, mask: Tensor, net: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mask", mask.clone(memory_format=torch.contiguous_format))
        self.net = net
        # not 0: s is a product of two factors, and if both started at 0 neither would ever have a gradient
        self.scale = nn.Parameter(torch.ones(len(mask), *[1] * (mask.dim() - 1)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, *shape) -> y, (B, *shape), and log |det ∂y/∂x|, (B,)."""
        s, t = self._scale_and_shift(x)
        return x * s.exp() + t, s.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        s, t = self._scale_and_shift(y)
        return (y - t) * (-s).exp()

    def _scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s and t, 0 where b is 1. s is a learned scale for each channel times a tanh (sec. 4.1)."""
        s, t = self.net(self.mask * x).chunk(2, dim=1)
        return (1 - self.mask) * self.scale * s.tanh(), (1 - self.mask) * t


class RealNVPFlow(nn.Module):
    """Examples (B, *shape) to latents (B, D) and back, D the dimensions of an example.

    Points pass `layers` couplings with alternating halves. Images pass three couplings over checkerboards and, with the pixels of
    2x2 squares as channels, three over channels; half of the channels are then latents, and the others go on (sec. 3.6). The
    last scale has four couplings over checkerboards.

    Args:
        shape: of an example: (D,) or (C, H, W) with even H and W.
        width: of hidden layers, or channels.
        blocks: residual blocks of each network of an image coupling.
        scales: of images.
        layers: couplings for points.

    Raises:
        ValueError: for images whose sides cannot be halved `scales - 1` times.
    """

    def __init__(self, shape: Sequence[int], width: int, blocks: int = 2, scales: int = 2, layers: int = 8) -> None:
        super().__init__()
        self.shape, self.dim = tuple(shape), math.prod(shape)
        if len(self.shape) == 1:
            halves = (torch.arange(self.dim) % 2).float()
            masks = [halves if i % 2 else 1 - halves for i in range(layers)]
            self.first = nn.ModuleList(Coupling(mask, _mlp(self.dim, width)) for mask in masks)
            self.rest: RealNVPFlow | None = None
            return
        c, h, w = self.shape
        if scales > 1 and (h % 2 or w % 2):
            raise ValueError(
                f"model.flow.scales is {scales}, and images of {h}x{w} pixels cannot be halved; set model.flow.scales=1"
            )
        board = ((torch.arange(h)[:, None] + torch.arange(w)) % 2).float().expand(c, h, w)
        boards = [board if i % 2 else 1 - board for i in range(3 if scales > 1 else 4)]
        self.first = nn.ModuleList(Coupling(mask, _conv(c, width, blocks)) for mask in boards)
        self.second = nn.ModuleList()
        self.rest = None
        if scales > 1:
            channels = (torch.arange(4 * c) < 2 * c).float()[:, None, None].expand(4 * c, h // 2, w // 2)
            turns = [channels if i % 2 else 1 - channels for i in range(3)]
            self.second.extend(Coupling(mask, _conv(4 * c, width, blocks)) for mask in turns)
            self.rest = RealNVPFlow((2 * c, h // 2, w // 2), width, blocks, scales - 1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, *shape) -> latents (B, D), and log |det ∂z/∂x| (B,)."""
        x, log_det = _through(self.first, x)
        if self.rest is None:
            return x.flatten(1), log_det
        x, more = _through(self.second, F.pixel_unshuffle(x, 2))
        out, kept = x.chunk(2, dim=1)
        z, rest = self.rest.encode(kept)
        return torch.cat([out.flatten(1), z], 1), log_det + more + rest

    def forward(self, z: Tensor) -> Tensor:
        """Latents (B, D) -> examples (B, *shape): the inverse of `encode`."""
        if self.rest is None:
            x = z.unflatten(1, self.shape)
        else:
            out, z = z.split([self.dim - self.rest.dim, self.rest.dim], dim=1)
            c, h, w = self.rest.shape
            x = torch.cat([out.unflatten(1, (c, h, w)), self.rest(z)], 1)
            for coupling in reversed(self.second):
                x = coupling.inverse(x)  # type: ignore[operator]
            x = F.pixel_shuffle(x, 2)
        for coupling in reversed(self.first):
            x = coupling.inverse(x)  # type: ignore[operator]
        return x


def _through(couplings: nn.ModuleList, x: Tensor) -> tuple[Tensor, Tensor]:
    total = x.new_zeros(len(x))
    for coupling in couplings:
        x, log_det = coupling(x)
        total = total + log_det
    return x, total


def _mlp(dim: int, width: int) -> nn.Module:
    last = nn.Linear(width, 2 * dim)
    return nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), _start_at_zero(last))


def _conv(channels: int, width: int, blocks: int) -> nn.Module:
    body = [_Residual(width) for _ in range(blocks)]
    last = nn.Conv2d(width, 2 * channels, 1)
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), *body, nn.ReLU(), _start_at_zero(last))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(width, width, 3, padding=1) for _ in range(2)]
        self.body = nn.Sequential(nn.ReLU(), convolutions[0], nn.ReLU(), convolutions[1])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def _start_at_zero(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """A new flow is the identity: s = t = 0."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
