"""The base of data sets whose images have classes. One class can be left out."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.base import DataModule, Split, split_off
from datamodules.errors import DataError

# images (N, C, H, W) and their classes (N,)
LabelledImages = tuple[NDArray[np.uint8], NDArray[np.int64]]


class LabelledDataModule(DataModule):
    """Base of data sets whose images have classes. A data set adds `labelled`.

    Args:
        leave_out: a class that is removed from every split, to measure how a model treats a class that it never saw.
        **options: as `DataModule`.
    """

    def __init__(self, leave_out: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.leave_out = leave_out

    @abstractmethod
    def labelled(self) -> Mapping[Split, LabelledImages]:
        """Images and their classes, by split, every class included.

        Raises:
            DataError: for data that are missing or damaged.
        """

    def load(self) -> Mapping[Split, NDArray[Any]]:
        if self.leave_out is None:
            return {split: images for split, (images, _) in self._labelled.items()}
        classes = {int(label) for _, labels in self._labelled.values() for label in np.unique(labels)}
        if self.leave_out not in classes:
            raise DataError(
                f"datamodule.leave_out is {self.leave_out!r}; {self.name} has the classes {min(classes)} to {max(classes)}"
            )
        return {split: images[labels != self.leave_out] for split, (images, labels) in self._labelled.items()}

    def left_out(self, split: Split, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        """The first `limit` examples of the left-out class of a split, in the form of `batches`, (B, C, H, W)."""
        images, labels = self._labelled[split]
        yield from self._scored(self._binarized(images[labels == self.leave_out], split), split, batch_size, limit)

    @cached_property
    def _labelled(self) -> Mapping[Split, LabelledImages]:
        return self.labelled()


class OfficialSplits(LabelledDataModule):
    """Base of data sets with official training and test images. A data set adds `image_shape` and `official`.

    `val_size` of the official training images are held out for validation, with a pinned seed; test is official.

    Args:
        data_dir: the folder that holds (or will hold) the files of the data set.
        val_size: the size of the validation split.
        **options: as `LabelledDataModule`.
    """

    image_shape: ClassVar[tuple[int, int, int]]

    def __init__(self, data_dir: str, val_size: int = 5000, **options: Any) -> None:
        super().__init__(shape=self.image_shape, **options)
        self.data_dir, self.val_size = Path(data_dir), val_size

    @abstractmethod
    def official(self) -> tuple[LabelledImages, LabelledImages]:
        """Images and their classes of the official training part and of the official test part.

        Raises:
            DataError: for a damaged file, or a missing file that cannot be downloaded.
        """

    def labelled(self) -> Mapping[Split, LabelledImages]:
        (images, labels), test = self.official()
        val, train = split_off(len(images), self.val_size)
        return {"train": (images[train], labels[train]), "val": (images[val], labels[val]), "test": test}
