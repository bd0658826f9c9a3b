"""Residual networks: those of Gulrajani et al. 2017, app. F, table 4 (CIFAR-10), for 32 pixels and any multiple of 8 below.

Images of more than 32 pixels have the networks of Miyato et al. 2018, app. B.4 (ImageNet, 128 pixels). With n = width/2: blocks
down to n, 2n, 4n, ... at most 16n channels until 4 to 7 pixels are left, and a level block; the decoder has as many blocks up,
from at most 16n channels to n. At 64 pixels there is one block less on each side.

Differs from the papers: `width` scales every layer (128 is the papers'), and the trunk ends in the mean over positions at
every size, where Miyato et al. have the sum.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.dcgan import SMALL, halvings, image_shape
from models.networks.norm import Norm, norm2d, norm_weights

Resample = Literal["up", "down", "none"]


class Block(nn.Module):
    """norm, ReLU, conv 3x3, norm, ReLU, conv 3x3, plus a shortcut. The critic's first block works on pixels and skips the
    first norm and ReLU."""

    def __init__(self, c_in: int, c_out: int, resample: Resample, norm: Norm, first: bool = False) -> None:
        super().__init__()
        self.resample, self.first = resample, first
        self.norm1 = nn.Identity() if first else norm2d(norm, c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm2 = norm2d(norm, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.shortcut = nn.Identity() if c_in == c_out and resample == "none" else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.first else self.norm1(x).relu()
        h = self.conv1(F.interpolate(h, scale_factor=2) if self.resample == "up" else h)
        h = self.conv2(self.norm2(h).relu())
        if self.resample == "down":
            h = F.avg_pool2d(h, 2)
            # pooling and a 1x1 convolution commute; pooling first does a quarter of the work
            return h + self.shortcut(F.avg_pool2d(x, 2))
        return h + self.shortcut(F.interpolate(x, scale_factor=2) if self.resample == "up" else x)


class Trunk(nn.Sequential):
    """Images (B, C, H, W) to features, and their global mean: two blocks down, two level, (B, width); more for large images.

    With `packed` images in one, (B, packed·C, H, W).

    Raises:
        ValueError: for a shape that is not (C, H, W) with H and W multiples of 8, or that `dcgan.halvings` refuses.
    """

    def __init__(self, shape: Sequence[int], width: int = 128, norm: Norm = "none", packed: int = 1) -> None:
        c, _, _ = image_shape(shape, multiple=8, network="resnet")
        down, level = ([width] * 2, 2) if _is_small(shape) else (_doubling(shape, width), 1)
        super().__init__(
            Block(packed * c, down[0], "down", norm, first=True),
            *(Block(a, b, "down", norm) for a, b in pairwise(down)),
            *(Block(down[-1], down[-1], "none", norm) for _ in range(level)),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.features = down[-1]
        norm_weights(norm, self)


class Decoder(nn.Sequential):
    """Latents (B, latent_dim) to raw outputs (B, C, H, W): a linear layer and three blocks up; more for large images.

    Raises:
        ValueError: as the trunk.
    """

    def __init__(self, latent_dim: int, shape: Sequence[int], width: int = 128, norm: Norm = "none") -> None:
        c, h, w = image_shape(shape, multiple=8, network="resnet")
        # from the latents on, the widths before and after each block up
        channels = [width] * 4 if _is_small(shape) else _doubling(shape, width, 1)[::-1]
        small = (channels[0], h >> len(channels) - 1, w >> len(channels) - 1)
        super().__init__(
            nn.Linear(latent_dim, small[0] * small[1] * small[2]),
            nn.Unflatten(1, small),
            *(Block(a, b, "up", norm) for a, b in pairwise(channels)),
            norm2d(norm, channels[-1]),
            nn.ReLU(),
            nn.Conv2d(channels[-1], c, 3, padding=1),
        )
        norm_weights(norm, self)


def _is_small(shape: Sequence[int]) -> bool:
    return min(shape[1:]) <= SMALL


def _doubling(shape: Sequence[int], width: int, more: int = 0) -> list[int]:
    """n, 2n, 4n, ... up to 16n, one for each halving of the image and `more`."""
    n = max(1, width // 2)
    return [n * min(2**i, 16) for i in range(halvings(shape, "resnet") + more)]
