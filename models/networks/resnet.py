"""The residual networks of Gulrajani et al. 2017, app. F, table 4 (CIFAR-10), for 32 pixels and any multiple of 8.

Differs from the paper: `width` scales every layer (128 is the paper's).
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.dcgan import image_shape
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
    """Images (B, C, H, W) to features (B, width): two blocks down, two level, global mean.

    With `packed` images in one, (B, packed·C, H, W).

    Raises:
        ValueError: for a shape that is not (C, H, W) with H and W multiples of 8.
    """

    def __init__(self, shape: Sequence[int], width: int = 128, norm: Norm = "none", packed: int = 1) -> None:
        c, _, _ = image_shape(shape, multiple=8, network="resnet")
        super().__init__(
            Block(packed * c, width, "down", norm, first=True),
            Block(width, width, "down", norm),
            Block(width, width, "none", norm),
            Block(width, width, "none", norm),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.features = width
        norm_weights(norm, self)


class Decoder(nn.Sequential):
    """Latents (B, latent_dim) to raw outputs (B, C, H, W): a linear layer and three blocks up.

    Raises:
        ValueError: as the trunk.
    """

    def __init__(self, latent_dim: int, shape: Sequence[int], width: int = 128, norm: Norm = "none") -> None:
        c, h, w = image_shape(shape, multiple=8, network="resnet")
        small = (width, h // 8, w // 8)
        super().__init__(
            nn.Linear(latent_dim, small[0] * small[1] * small[2]),
            nn.Unflatten(1, small),
            *(Block(width, width, "up", norm) for _ in range(3)),
            norm2d(norm, width),
            nn.ReLU(),
            nn.Conv2d(width, c, 3, padding=1),
        )
        norm_weights(norm, self)
