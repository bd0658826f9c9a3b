"""Street View House Numbers (Netzer et al. 2011), cropped digits: 32x32 pixels in colour, 73,257 and 26,032 images."""

import numpy as np
import torchvision
from scipy.io import loadmat

from datamodules.labelled import LabelledImages, OfficialSplits
from datamodules.torchvision_data import ensure_urls


class SVHN(OfficialSplits):
    """`val_size` of the official training images are held out for validation, with a pinned seed; test is official.

    The 531,131 images of the "extra" part are not used.

    Args:
        data_dir: the folder that holds (or will hold) `train_32x32.mat` and `test_32x32.mat`, where torchvision has them.
        val_size: the size of the validation split.
        **options: as `LabelledDataModule`.
    """

    image_shape = (3, 32, 32)

    def official(self) -> tuple[LabelledImages, LabelledImages]:
        parts = {part: torchvision.datasets.SVHN.split_list[part] for part in ("train", "test")}
        ensure_urls("SVHN", self.data_dir, {file: (url, md5) for url, file, md5 in parts.values()})

        def read(part: str) -> LabelledImages:
            content = loadmat(self.data_dir / parts[part][1])
            images = np.ascontiguousarray(content["X"].transpose(3, 2, 0, 1))
            return images, content["y"].ravel().astype(np.int64) % 10  # the file calls the digit 0 class 10

        return read("train"), read("test")
