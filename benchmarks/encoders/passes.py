"""Passes through small convolutional networks without gradients, in less time than by the layers that train."""

from collections.abc import Callable

import torch
from torch import Tensor

# pixels of the images that go through a network together on a CPU: their feature maps fit its caches. Fifty images of 28x28 took
# half the time of 250
PIXELS = 40_000


def in_pieces(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The outputs of a network that treats each image alone, on a CPU in pieces that fit its caches. (B, C, H, W) -> (B, ...)."""
    if images.device.type != "cpu":
        return network(images)
    size = max(1, PIXELS // images[0, 0].numel())
    return torch.cat([network(part) for part in images.split(size)])


def halved(x: Tensor) -> Tensor:
    """The maxima of blocks of 2x2 pixels, as `max_pool2d(x, 2)`, which takes several times as long on a CPU. No image has NaN.

    (B, C, H, W) -> (B, C, H // 2, W // 2)
    """
    h, w = (2 * (side // 2) for side in x.shape[2:])
    rows = torch.maximum(x[:, :, 0:h:2], x[:, :, 1:h:2])
    return torch.maximum(rows[..., 0:w:2], rows[..., 1:w:2])
