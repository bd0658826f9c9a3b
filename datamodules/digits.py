"""The 1,797 handwritten digits of 8x8 pixels inside scikit-learn, without a download.

They are the test part of the UCI set (Alpaydin & Kaynak 1998), which has no official split; genbench pins a split.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from datamodules.base import Split, split_off
from datamodules.labelled import LabelledDataModule

VAL, TEST = 247, 450


class Digits(LabelledDataModule):
    """1,100 training, 247 validation and 450 test images, (1, 8, 8), the 17 grey values spread over 0..255."""

    def __init__(self, **options: Any) -> None:
        super().__init__(shape=(1, 8, 8), **options)

    def labelled(self) -> Mapping[Split, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Images and their classes 0..9, by split."""
        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
        val, test, train = split_off(len(images), VAL, TEST)
        parts: dict[Split, NDArray[np.int64]] = {"train": train, "val": val, "test": test}
        return {split: (images[index], digits.target[index]) for split, index in parts.items()}
