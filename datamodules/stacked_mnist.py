"""Stacked MNIST: three digits in the channels of one image make 1,000 modes that a classifier can count.

Metz et al. 2017 (unrolled GANs), sec. 3.3; in the settings of Lin et al. 2018 (PacGAN), sec. 4.2.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import SPLIT_SEED, DataModule, Split
from datamodules.mnist import MNIST

CHANNELS, CLASSES = 3, 10


class StackedMNIST(DataModule):
    """Three random digits of one split of MNIST, drawn with a pinned seed, (3, 28, 28).

    Args:
        data_dir: the folder that holds (or will hold) `MNIST/raw`.
        train_size: the number of stacks in the training split; 128,000 is PacGAN's.
        held_out: the number of stacks in the validation split and in the test split.
        **options: as `DataModule`.
    """

    def __init__(self, data_dir: str, train_size: int = 128_000, held_out: int = 10_000, **options: Any) -> None:
        super().__init__(shape=(CHANNELS, 28, 28), **options)
        self.sizes: dict[Split, int] = {"train": train_size, "val": held_out, "test": held_out}
        self._digits = MNIST(data_dir, "MNIST", name="mnist", batch_size=1)

    def load(self) -> Mapping[Split, NDArray[Any]]:
        rng = np.random.default_rng(SPLIT_SEED)
        stacked = {}
        for split, size in self.sizes.items():
            images, _ = self._labelled[split]
            stacked[split] = images[rng.integers(len(images), size=(size, CHANNELS)), 0]
        return stacked

    def stack_probabilities(self) -> NDArray[np.float64]:
        """The probabilities of the numbers 000 to 999, (1000,): independent digits with the training split's shares."""
        shares = np.bincount(self._labelled["train"][1], minlength=CLASSES) / len(self._labelled["train"][1])
        return np.einsum("i,j,k->ijk", shares, shares, shares).ravel()

    @cached_property
    def _labelled(self) -> Mapping[Split, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        return self._digits.labelled()
