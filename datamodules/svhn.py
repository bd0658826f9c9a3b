"""Street View House Numbers (Netzer et al. 2011), cropped digits: 32x32 pixels in colour, 73,257 and 26,032 images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from scipy.io import loadmat

from datamodules.base import Split
from datamodules.labelled import LabelledDataModule, LabelledImages, with_validation
from datamodules.torchvision_data import ensure_urls


class SVHN(LabelledDataModule):
    """`val_size` of the official training images are held out for validation, with a pinned seed; test is official.

    The 531,131 images of the "extra" part are not used.

    Args:
        data_dir: the folder that holds (or will hold) `train_32x32.mat` and `test_32x32.mat`, where torchvision has them.
        val_size: the size of the validation split.
        **options: as `LabelledDataModule`.
    """

    def __init__(self, data_dir: str, val_size: int = 5000, **options: Any) -> None:
        super().__init__(shape=(3, 32, 32), **options)
        self.data_dir, self.val_size = Path(data_dir), val_size

    def labelled(self) -> Mapping[Split, LabelledImages]:
        """Images and their classes 0..9, by split.

        Raises:
            DataError: for a damaged file, or a missing file that cannot be downloaded.
        """
        parts = {part: torchvision.datasets.SVHN.split_list[part] for part in ("train", "test")}
        ensure_urls("SVHN", self.data_dir, {file: (url, md5) for url, file, md5 in parts.values()})

        def read(part: str) -> LabelledImages:
            content = loadmat(self.data_dir / parts[part][1])
            images = np.ascontiguousarray(content["X"].transpose(3, 2, 0, 1))
            return images, content["y"].ravel().astype(np.int64) % 10  # the file calls the digit 0 class 10

        return with_validation(read("train"), read("test"), self.val_size)
