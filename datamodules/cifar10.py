"""CIFAR-10 (Krizhevsky 2009): 32x32 pixels in colour, 50,000 and 10,000 images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from numpy.typing import NDArray

from datamodules.base import Split, split_off
from datamodules.labelled import LabelledDataModule
from datamodules.torchvision_data import ensure_files


class CIFAR10(LabelledDataModule):
    """`val_size` of the official training images are held out for validation, with a pinned seed; test is official.

    Args:
        data_dir: the folder that holds (or will hold) `cifar-10-batches-py`.
        val_size: the size of the validation split; 5,000 leaves the 45,000 that are common in the field.
        **options: as `LabelledDataModule`.
    """

    def __init__(self, data_dir: str, val_size: int = 5000, **options: Any) -> None:
        super().__init__(shape=(3, 32, 32), **options)
        self.data_dir, self.val_size = Path(data_dir), val_size

    def labelled(self) -> Mapping[Split, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Images and their classes 0..9, by split.

        Raises:
            DataError: for a damaged file, or a missing file that cannot be downloaded.
        """
        dataset = torchvision.datasets.CIFAR10
        ensure_files(
            "CIFAR-10",
            self.data_dir / dataset.base_folder,
            {file: str(md5) for file, md5 in [*dataset.train_list, *dataset.test_list]}
            | {dataset.meta["filename"]: dataset.meta["md5"]},
            lambda: dataset(str(self.data_dir), download=True),
        )
        official, test = (dataset(str(self.data_dir), train=train) for train in (True, False))
        images, labels = _channels_first(official.data), np.array(official.targets)
        val, train = split_off(len(images), self.val_size)
        return {
            "train": (images[train], labels[train]),
            "val": (images[val], labels[val]),
            "test": (_channels_first(test.data), np.array(test.targets)),
        }


def _channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
