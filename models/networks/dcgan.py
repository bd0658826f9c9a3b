"""The convolutional pair of Lucic et al. 2018, table 6 of the appendix: InfoGAN's networks for 28 and 32 pixels.

Discriminator: conv 64, conv 128, fc 1024; generator: fc 1024, fc 128·7·7, deconv 64, deconv out. Kernels of 4, strides
of 2, weights drawn from N(0, 0.02²) (Radford et al. 2016, sec. 4). `width` scales every layer: 64 is the paper's.
Differs from the paper: `norm` chooses the normalisation (none by default, never in the trunk's first layer), and there is
no bias before batch norm.

Images of more than 32 pixels have the convolutions of DCGAN (Radford et al. 2016, fig. 1, for 64 pixels): each halving has twice
the channels of the one before, up to 8·width, until 4 to 7 pixels are left. Differs from that paper: as above; the dense layers
stay, so that there are as many features at every size; the widths are half of the paper's, which are those of `width` 128.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from models.networks.norm import Norm, norm1d, norm2d, norm_weights

INIT_STD = 0.02
# images of up to so many pixels a side have the networks that papers made for 32 pixels
SMALL = 32


class Trunk(nn.Sequential):
    """Images (B, C, H, W) to features (B, 16·width); with `packed` images in one, (B, packed·C, H, W).

    Raises:
        ValueError: for a shape that is not (C, H, W) with H and W multiples of 4, or that `halvings` refuses.
    """

    def __init__(self, shape: Sequence[int], width: int = 64, norm: Norm = "none", packed: int = 1) -> None:
        c, h, w = image_shape(shape, multiple=4, network="dcgan")
        bias = norm != "batch"
        channels = _channels(shape, width)
        super().__init__(
            nn.Conv2d(packed * c, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            *(
                layer
                for a, b in pairwise(channels)
                for layer in (nn.Conv2d(a, b, 4, 2, 1, bias=bias), norm2d(norm, b), nn.LeakyReLU(0.2))
            ),
            nn.Flatten(),
            nn.Linear(_flat(channels, h, w), 16 * width, bias=bias),
            norm1d(norm, 16 * width),
            nn.LeakyReLU(0.2),
        )
        self.features = 16 * width
        init_normal(self)
        norm_weights(norm, self)


class Decoder(nn.Sequential):
    """Latents (B, latent_dim) to raw outputs (B, C, H, W).

    Raises:
        ValueError: as the trunk.
    """

    def __init__(self, latent_dim: int, shape: Sequence[int], width: int = 64, norm: Norm = "none") -> None:
        c, h, w = image_shape(shape, multiple=4, network="dcgan")
        bias = norm != "batch"
        channels = _channels(shape, width)
        flat = _flat(channels, h, w)
        super().__init__(
            nn.Linear(latent_dim, 16 * width, bias=bias),
            norm1d(norm, 16 * width),
            nn.ReLU(),
            nn.Linear(16 * width, flat, bias=bias),
            norm1d(norm, flat),
            nn.ReLU(),
            nn.Unflatten(1, (channels[-1], h >> len(channels), w >> len(channels))),
            *(
                layer
                for a, b in pairwise(reversed(channels))
                for layer in (nn.ConvTranspose2d(a, b, 4, 2, 1, bias=bias), norm2d(norm, b), nn.ReLU())
            ),
            nn.ConvTranspose2d(width, c, 4, 2, 1),
        )
        init_normal(self)
        norm_weights(norm, self)


def image_shape(shape: Sequence[int], multiple: int, network: str) -> tuple[int, int, int]:
    """Checks that a network can take a shape, and returns the shape as (C, H, W).

    Raises:
        ValueError: if it cannot. The message names the network, the shape, and a network that fits.
    """
    if len(shape) != 3:
        raise ValueError(
            f"network={network} takes images, and the data are points of shape {tuple(shape)}: use network=mlp"
        )
    c, h, w = shape
    if h % multiple or w % multiple or min(h, w) < multiple:
        raise ValueError(
            f"network={network} takes images whose height and width are multiples of {multiple} pixels, "
            f"and the data are {h}x{w}: use network=mlp, or resize the data"
        )
    return c, h, w


def halvings(shape: Sequence[int], network: str) -> int:
    """How often an image of more than 32 pixels is halved: until its smaller side has 4 to 7 pixels.

    Raises:
        ValueError: for sides that cannot be halved so often. The message names sizes that can.
    """
    _, h, w = shape
    times = (min(h, w) // 4).bit_length() - 1
    if h % 2**times or w % 2**times:
        # the nearest sizes below and above, for a square
        below, above = ((min(h, w) >> times << times) + extra for extra in (0, 2**times))
        raise ValueError(
            f"network={network} halves images of more than {SMALL} pixels {times} times, to 4 to 7 pixels, "
            f"and the data are {h}x{w}: resize the data, for example to {below} or {above} pixels, or use network=mlp"
        )
    return times


def _channels(shape: Sequence[int], width: int) -> list[int]:
    """The channels of the convolutions, from the image on."""
    times = 2 if min(shape[1:]) <= SMALL else halvings(shape, "dcgan")
    return [width * min(2**i, 8) for i in range(times)]


def _flat(channels: Sequence[int], h: int, w: int) -> int:
    return channels[-1] * (h >> len(channels)) * (w >> len(channels))


def init_normal(module: nn.Module) -> None:
    """Weights from N(0, 0.02²), biases at 0; norms keep their defaults. Radford et al. 2016, sec. 4."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(m.weight, std=INIT_STD)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
