"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017): 28x28 pixels, 60,000 and 10,000 images."""

from typing import Any, Literal

import torchvision
from torchvision.datasets.mnist import read_image_file, read_label_file

from datamodules.labelled import LabelledImages, OfficialSplits
from datamodules.torchvision_data import ensure_files

# MD5 sums of the unpacked files, so that a folder prepared by hand is checked too
MD5 = {
    "MNIST": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}

# where torchvision fetches the packed files
SOURCE = {
    "MNIST": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "FashionMNIST": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}


class MNIST(OfficialSplits):
    """`val_size` of the official training images are held out for validation, with a pinned seed; test is official.

    Args:
        data_dir: the folder that holds (or will hold) `MNIST/raw` or `FashionMNIST/raw`.
        dataset: which of the two.
        val_size: the size of the validation split; 5,000 leaves the 55,000 that are common in the field.
        **options: as `LabelledDataModule`.
    """

    image_shape = (1, 28, 28)

    def __init__(
        self, data_dir: str, dataset: Literal["MNIST", "FashionMNIST"], val_size: int = 5000, **options: Any
    ) -> None:
        super().__init__(data_dir, val_size, **options)
        self.dataset = dataset

    def official(self) -> tuple[LabelledImages, LabelledImages]:
        dataset = getattr(torchvision.datasets, self.dataset)
        raw = self.data_dir / self.dataset / "raw"
        ensure_files(
            self.dataset, raw, MD5[self.dataset], lambda: dataset(self.data_dir, download=True), SOURCE[self.dataset]
        )

        def read(part: str) -> LabelledImages:
            # reads the checked files; torchvision's class would prefer an unchecked `processed/` folder
            images = read_image_file(str(raw / f"{part}-images-idx3-ubyte")).numpy()
            return images[:, None], read_label_file(str(raw / f"{part}-labels-idx1-ubyte")).numpy()

        return read("train"), read("t10k")
