"""Kuzushiji-MNIST (Clanuwat et al. 2018) and EMNIST (Cohen et al. 2017): 28x28 pixels, read from the published archives.

torchvision pins checksums of the archives, not of what it unpacks from them, so the archives themselves are read.
"""

import gzip
import zipfile
from typing import Any

import numpy as np
import torchvision

from datamodules.labelled import LabelledImages, OfficialSplits
from datamodules.torchvision_data import ensure_urls, read_idx


class KMNIST(OfficialSplits):
    """Ten characters of cursive Japanese; 60,000 and 10,000 images.

    `val_size` of the official training images are held out for validation, with a pinned seed; test is official.

    Args:
        data_dir: the folder that holds (or will hold) `KMNIST/raw` with the four files ending in .gz.
        val_size: the size of the validation split.
        **options: as `LabelledDataModule`.
    """

    image_shape = (1, 28, 28)

    def official(self) -> tuple[LabelledImages, LabelledImages]:
        dataset, raw = torchvision.datasets.KMNIST, self.data_dir / "KMNIST" / "raw"
        ensure_urls("KMNIST", raw, {file: (f"{dataset.mirrors[0]}{file}", md5) for file, md5 in dataset.resources})

        def read(part: str) -> LabelledImages:
            with (
                gzip.open(raw / f"{part}-images-idx3-ubyte.gz") as images,
                gzip.open(raw / f"{part}-labels-idx1-ubyte.gz") as labels,
            ):
                return read_idx(images.read())[:, None], read_idx(labels.read()).astype(np.int64)

        return read("train"), read("t10k")


class EMNIST(OfficialSplits):
    """Handwritten digits and letters, upright: the published files have rows and columns exchanged.

    Args:
        data_dir: the folder that holds (or will hold) `EMNIST/raw/gzip.zip`.
        subset: "balanced" (47 classes, 112,800 and 18,800 images), "byclass", "bymerge", "digits", "letters" (classes 1 to 26)
            or "mnist".
        val_size: the size of the validation split, which is held out of the official training images.
        **options: as `LabelledDataModule`.

    Raises:
        ValueError: for another subset.
    """

    image_shape = (1, 28, 28)

    def __init__(self, data_dir: str, subset: str = "balanced", val_size: int = 5000, **options: Any) -> None:
        if subset not in torchvision.datasets.EMNIST.splits:
            expected = ", ".join(torchvision.datasets.EMNIST.splits)
            raise ValueError(f"datamodule.subset is {subset!r}; expected one of {expected}")
        super().__init__(data_dir, val_size, **options)
        self.subset = subset

    def official(self) -> tuple[LabelledImages, LabelledImages]:
        dataset, raw = torchvision.datasets.EMNIST, self.data_dir / "EMNIST" / "raw"
        ensure_urls("EMNIST", raw, {"gzip.zip": (dataset.url, dataset.md5)})
        with zipfile.ZipFile(raw / "gzip.zip") as archive:

            def read(part: str) -> LabelledImages:
                name = f"gzip/emnist-{self.subset}-{part}"
                with (
                    gzip.open(archive.open(f"{name}-images-idx3-ubyte.gz")) as images,
                    gzip.open(archive.open(f"{name}-labels-idx1-ubyte.gz")) as labels,
                ):
                    return read_idx(images.read()).transpose(0, 2, 1)[:, None], read_idx(labels.read()).astype(np.int64)

            return read("train"), read("test")
