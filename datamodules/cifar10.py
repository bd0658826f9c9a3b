"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 32x32 pixels in colour, 50,000 and 10,000 images."""

from typing import Any, ClassVar

import numpy as np
import torchvision
from numpy.typing import NDArray

from datamodules.labelled import LabelledImages, OfficialSplits
from datamodules.torchvision_data import ensure_files


class CIFAR10(OfficialSplits):
    """`val_size` of the official training images are held out for validation, with a pinned seed; test is official.

    Args:
        data_dir: the folder that holds (or will hold) `cifar-10-batches-py`.
        val_size: the size of the validation split; 5,000 leaves the 45,000 that are common in the field.
        **options: as `LabelledDataModule`.
    """

    title: ClassVar[str] = "CIFAR-10"
    dataset: ClassVar[Any] = torchvision.datasets.CIFAR10

    image_shape = (3, 32, 32)

    def official(self) -> tuple[LabelledImages, LabelledImages]:
        dataset = self.dataset
        # the files are pickles, which can run code: only files with the published checksums are read
        ensure_files(
            self.title,
            self.data_dir / dataset.base_folder,
            {file: str(md5) for file, md5 in [*dataset.train_list, *dataset.test_list]}
            | {dataset.meta["filename"]: dataset.meta["md5"]},
            lambda: dataset(str(self.data_dir), download=True),
            dataset.url,
        )
        official, test = (_read(dataset(str(self.data_dir), train=train)) for train in (True, False))
        return official, test


class CIFAR100(CIFAR10):
    """As `CIFAR10`, with 100 classes, in `cifar-100-python`."""

    title = "CIFAR-100"
    dataset = torchvision.datasets.CIFAR100


def _read(split: Any) -> LabelledImages:
    images: NDArray[np.uint8] = np.ascontiguousarray(split.data.transpose(0, 3, 1, 2))
    return images, np.array(split.targets)
