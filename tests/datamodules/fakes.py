"""Invented arrays, files and folders, which the tests of data modules share."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datamodules.base import DataModule, Split
from datamodules.digits import Digits
from datamodules.errors import DataError
from datamodules.image_folder import ImageFolder
from datamodules.loader import Blocks, Sampler, Store
from datamodules.mixtures import GaussianMixture, ring

CPU = torch.device("cpu")


SPLITS: tuple[Split, ...] = ("train", "val", "test")


OPTIONS: list[dict[str, Any]] = [{}, {"binarize": "dynamic"}, {"binarize": "fixed"}, {"dequantize": True}]


NOISY: list[dict[str, Any]] = [{"binarize": "dynamic"}, {"dequantize": True}]


# every grey value once
GREYS = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)


class Given(DataModule):
    """The arrays it is given."""

    def __init__(self, arrays: Mapping[Split, NDArray[Any]], **options: Any) -> None:
        defaults = {"name": "given", "batch_size": 8, "block_size": 4}
        super().__init__(shape=arrays["train"].shape[1:], **(defaults | options))
        self.arrays = arrays

    def load(self) -> Mapping[Split, NDArray[Any]]:
        return self.arrays


def pictures() -> dict[Split, NDArray[np.uint8]]:
    """50, 20 and 30 random images of 4x4 pixels, all different."""
    images = np.random.default_rng(7).integers(0, 256, (100, 1, 4, 4), dtype=np.uint8)
    train, val, test = np.split(images, [50, 70])
    return {"train": train, "val": val, "test": test}


def all_greys(copies: int = 1) -> dict[Split, NDArray[np.uint8]]:
    array = np.repeat(GREYS, copies, 0)
    return {"train": array, "val": array, "test": array}


def digits(**options: Any) -> Digits:
    return Digits(**{"name": "digits", "batch_size": 64, **options})


def blocks(data: DataModule, seed: int = 0, resident: bool = True) -> Blocks:
    array = data.splits["train"]
    store = Store(array, CPU, 2**31 if resident else 0)
    assert store.is_resident == resident
    return Blocks(data._plan, store, Sampler(len(array), data.batch_size, seed), data._to_float)


def training(data: DataModule, minibatches: int, seed: int = 0, resident: bool = True) -> Tensor:
    """Every minibatch of a plan, (minibatches, B, ...)."""
    data.plan(seed, minibatches)
    return torch.cat(list(blocks(data, seed, resident)))


def scored(data: DataModule, split: Split, batch_size: int = 16) -> Tensor:
    return torch.cat(list(data.batches(split, batch_size)))


def rows(array: NDArray[Any]) -> list[bytes]:
    return [row.tobytes() for row in array]


def loaded_by(rank: int, world_size: int, **options: Any) -> Tensor:
    """Twelve minibatches of `train_dataloader` in one process of several."""
    data = Given(pictures(), **options)
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=CPU), global_rank=rank, world_size=world_size)
    data.trainer = trainer
    data.plan(0, 12)
    return torch.cat(list(data.train_dataloader()))


def mixture(**options: Any) -> GaussianMixture:
    defaults = {"name": "ring", "means": ring(8, 1.0), "sigma": 0.01, "batch_size": 10}
    return GaussianMixture(**{**defaults, "train_size": 4000, "held_out": 500, **options})


def random_images(n: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8)


def folder_of_images(folder: Path, n: int, *shape: int) -> Path:
    """A new folder with n random images (height, width, 3) as PNG."""
    folder.mkdir()
    for i, image in enumerate(random_images(n, *shape)):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def idx_file(array: NDArray[np.uint8]) -> bytes:
    """LeCun's format: two zeros, 8 for unsigned bytes, the number of dimensions, each as four bytes, the data."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class Official:
    """A small official data set: its files, and what they hold. The first pixel of an image is its label."""

    def __init__(self, folder: Path, files: dict[str, bytes], shape: tuple[int, ...]) -> None:
        self.folder, self.files, self.shape = folder, files, shape
        self.make: Callable[..., DataModule]
        self.train, self.test = (labelled_images(n, shape) for n in (60, 20))

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files.items():
            (self.folder / name).write_bytes(data)


def labelled_images(n: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    images = random_images(n, *shape)
    images[:, 0, 0, 0] = np.arange(n) % 10
    return images


def message_of(data: DataModule) -> str:
    """Of the one-line DataError that loading ends in."""
    with pytest.raises(DataError) as caught:
        _ = data.splits
    assert "\n" not in str(caught.value)
    return str(caught.value)


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def greys(folder: Path, values: range) -> None:
    """One image of each grey value."""
    for value in values:
        picture(folder / f"{value:03}.png", (value, value, value))


def image_folder(folder: Path | str | None, **options: Any) -> ImageFolder:
    near = Path(folder).parent if folder else Path()
    defaults = {"name": "image_folder", "batch_size": 4, "cache_dir": str(near / "cache"), "size": 8, "channels": 1}
    return ImageFolder(folder=str(folder) if folder else None, **(defaults | options))


def caches(tmp_path: Path) -> list[Path]:
    """Whatever there is, hidden and temporary files as well, without the checksums of caches."""
    files = sorted((tmp_path / "cache").rglob("*")) if (tmp_path / "cache").exists() else []
    return [path for path in files if not path.with_suffix(".npy").is_file() or path.suffix != ".sha256"]


def values_in(array: NDArray[Any]) -> list[int]:
    """The grey values of images of one grey value each."""
    assert (array == array[:, :1, :1, :1]).all()
    return [int(x) for x in array[:, 0, 0, 0]]
