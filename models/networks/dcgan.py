"""The convolutional pair of Lucic et al. 2018, table 6 of the appendix: InfoGAN's networks for 28 and 32 pixels.

Discriminator: conv 64, conv 128, fc 1024; generator: fc 1024, fc 128·7·7, deconv 64, deconv out. Kernels of 4, strides
of 2, weights drawn from N(0, 0.02²) (Radford et al. 2016, sec. 4). `width` scales every layer: 64 is the paper's.
Differs from the paper: `norm` chooses the normalisation (none by default, never in the trunk's first layer), and there is
no bias before batch norm.
"""

from collections.abc import Sequence

from torch import nn

from models.networks.norm import Norm, norm1d, norm2d, norm_weights

INIT_STD = 0.02


class Trunk(nn.Sequential):
    """Images (B, C, H, W) to features (B, 16·width); with `packed` images in one, (B, packed·C, H, W).

    Raises:
        ValueError: for a shape that is not (C, H, W) with H and W multiples of 4.
    """

    def __init__(self, shape: Sequence[int], width: int = 64, norm: Norm = "none", packed: int = 1) -> None:
        c, h, w = image_shape(shape, multiple=4, network="dcgan")
        bias = norm != "batch"
        super().__init__(
            nn.Conv2d(packed * c, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=bias),
            norm2d(norm, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * width * (h // 4) * (w // 4), 16 * width, bias=bias),
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
        small = (2 * width, h // 4, w // 4)
        flat = small[0] * small[1] * small[2]
        super().__init__(
            nn.Linear(latent_dim, 16 * width, bias=bias),
            norm1d(norm, 16 * width),
            nn.ReLU(),
            nn.Linear(16 * width, flat, bias=bias),
            norm1d(norm, flat),
            nn.ReLU(),
            nn.Unflatten(1, small),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=bias),
            norm2d(norm, width),
            nn.ReLU(),
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


def init_normal(module: nn.Module) -> None:
    """Weights from N(0, 0.02²), biases at 0; norms keep their defaults. Radford et al. 2016, sec. 4."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(m.weight, std=INIT_STD)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
