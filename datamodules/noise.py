"""Uniform noise of any size: data that are always at hand, for measurements of speed and for checks of a machine."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import DataModule, Split


class Noise(DataModule):
    """Each pixel is one of 256 grey values, drawn with a seed of its own for each split.

    Args:
        shape: (C, H, W).
        size: the number of training images; validation and test have a sixth each.
        **options: as `DataModule`.
    """

    def __init__(self, shape: Sequence[int], size: int, **options: Any) -> None:
        super().__init__(shape=shape, **options)
        self.size = size

    def load(self) -> Mapping[Split, NDArray[Any]]:
        def draw(n: int, seed: int) -> NDArray[np.uint8]:
            return np.random.default_rng(seed).integers(0, 256, (n, *self.shape), np.uint8)

        held_out = max(1, self.size // 6)
        return {"train": draw(self.size, 0), "val": draw(held_out, 1), "test": draw(held_out, 2)}
