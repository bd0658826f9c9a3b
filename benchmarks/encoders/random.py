"""A convolutional encoder of pinned random weights: a feature space that no class and no image has shaped.

Features of a trained classifier see what tells its classes apart. Features of a random network are a second opinion that
costs nothing (Naeem et al. 2020, sec. 5.2, find them sound where ImageNet's features are not). The weights follow from
a seed; their checksum is pinned.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.encoders.passes import halved, in_pieces
from benchmarks.errors import UserError

NAME = "random-cnn"
SEED = 20
# channels of the two stages; pixels to which each stage is pooled; features
WIDTHS, GRIDS, DIM = (16, 32), (4, 2), 64
# images of up to so many channels
CHANNELS = 4
# over the weights below, as float32
SHA256 = "ad3f7b78144eb8f265a101a85e47335019e4c0b672e6180db9515a0b2fe1df7e"


def random_weights() -> list[NDArray[np.float32]]:
    """The weights before scaling, N(0, 1): two convolutions a stage, (out, in, 3, 3), and a projection to the features."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    first, second = WIDTHS
    shapes = [(first, CHANNELS, 3, 3), (first, first, 3, 3), (second, first, 3, 3), (second, second, 3, 3)]
    pooled = sum(width * grid**2 for width, grid in zip(WIDTHS, GRIDS, strict=True))
    return [rng.standard_normal(shape, np.float32) for shape in [*shapes, (DIM, pooled)]]


class RandomEncoder:
    """Two stages of two 3x3 convolutions; each stage is pooled to a small grid, and both grids are projected to 64 features.

    Raises:
        UserError: if this numpy draws other numbers than the pinned ones.
    """

    name, dim, resizing = NAME, DIM, "none"

    def __init__(self, device: torch.device) -> None:
        weights = random_weights()
        self.checksum = hashlib.sha256(b"".join(array.tobytes() for array in weights)).hexdigest()
        if self.checksum != SHA256:
            raise UserError(
                f"numpy {np.__version__} draws other random numbers than those of the encoder {NAME}: scores by it would not "
                "be comparable; install another numpy"
            )
        # a variance of 2 over the inputs keeps the scale of activations through ReLUs (He et al. 2015, eq. 10)
        self._convolutions = [torch.from_numpy(w * np.float32((2 / w[0].size) ** 0.5)).to(device) for w in weights[:4]]
        self._projection = torch.from_numpy(weights[4] * np.float32(weights[4].shape[1] ** -0.5)).to(device)
        self.device = device

    def why_not(self, shape: tuple[int, ...]) -> str | None:
        if shape[0] <= CHANNELS and min(shape[1:]) >= 8:
            return None
        return f"encoder {NAME} takes images of 8 pixels or more with up to {CHANNELS} channels, not {shape}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            return in_pieces(self._features, images.to(self.device)).cpu()

    def _features(self, images: Tensor) -> Tensor:
        x = images.float() / 127.5 - 1
        first, *others = self._convolutions
        channels = x.shape[1]
        convolutions = [first[:, :channels] * (CHANNELS / channels) ** 0.5, *others]
        pooled = []
        for stage, grid in enumerate(GRIDS):
            for weight in convolutions[2 * stage : 2 * stage + 2]:
                x = F.conv2d(x, weight, padding=1).relu_()
            pooled.append(F.adaptive_avg_pool2d(x, grid).flatten(1))
            if stage + 1 < len(GRIDS):
                x = halved(x)
        return torch.cat(pooled, 1) @ self._projection.T
