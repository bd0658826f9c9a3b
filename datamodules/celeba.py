"""CelebA (Liu et al. 2015), aligned and cropped: 202,599 faces of 178x218 pixels, resized to a square."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from numpy.typing import NDArray

from datamodules.base import DataModule, Split
from datamodules.errors import DataError
from datamodules.resized import Resizing
from datamodules.torchvision_data import ensure_files

IMAGES, PARTITION = "img_align_celeba", "list_eval_partition.txt"
SPLITS: tuple[Split, ...] = ("train", "val", "test")  # 0, 1 and 2 in the file


class CelebA(DataModule):
    """The official splits of 162,770, 19,867 and 19,962 images, without classes.

    Args:
        data_dir: the folder that holds (or will hold) `celeba/img_align_celeba` and `celeba/list_eval_partition.txt`.
        cache_dir: the folder of the resized images, as in `Resizing`; 2.5 GB at 64 pixels.
        size: pixels per side.
        crop: the side of the central square that is resized; 140 is that of Tolstikhin et al. 2018 (WAE), app. C.
        **options: as `DataModule`.

    Raises:
        ValueError: for a size or a crop out of range.
    """

    def __init__(self, data_dir: str, cache_dir: str, size: int = 64, crop: int = 140, **options: Any) -> None:
        self.resizing = Resizing(Path(cache_dir), (3, size, size), crop)
        super().__init__(shape=(3, size, size), **options)
        self.folder = Path(data_dir) / "celeba"

    def load(self) -> Mapping[Split, NDArray[Any]]:
        dataset = torchvision.datasets.CelebA
        md5 = {file: digest for _, digest, file in dataset.file_list}
        ensure_files(
            "CelebA",
            self.folder,
            {PARTITION: md5[PARTITION]},
            lambda: dataset(str(self.folder.parent), download=True),
            "mmlab.ie.cuhk.edu.hk/projects/CelebA.html, with the folder img_align_celeba",
        )
        rows = [line.split() for line in (self.folder / PARTITION).read_text(encoding="ascii").splitlines()]
        files = {
            split: [self.folder / IMAGES / name for name, number in rows if number == str(i)]
            for i, split in enumerate(SPLITS)
        }
        every = [file for part in files.values() for file in part]
        missing = [file for file in every if not file.is_file()]
        if missing:
            raise DataError(
                f"{missing[0]} and {len(missing) - 1:,} other images of CelebA are missing; unpack img_align_celeba.zip into "
                f"{self.folder}"
            )
        mapped = self.resizing.images(self.folder / IMAGES, every)
        cuts = np.split(mapped, np.cumsum([len(files[split]) for split in SPLITS])[:-1])
        return dict(zip(SPLITS, cuts, strict=True))
