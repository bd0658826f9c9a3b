"""Any folder of images, resized once into a memory-mapped uint8 file, grey or in colour. Sub-folders may be classes."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import Split, split_off
from datamodules.errors import DataError
from datamodules.labelled import LabelledDataModule
from datamodules.resized import Resizing

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}


class ImageFolder(LabelledDataModule):
    """Every image below `folder`, cropped to its central square and resized with Lanczos' filter, which antialiases.

    If `folder/train` and `folder/test` exist, they are the splits, and a pinned tenth of `train` is held out for validation.
    Otherwise a pinned tenth each is held out for validation and test.

    If every image lies in a sub-folder of `folder`, or of `folder/train` and `folder/test`, the sub-folders are classes. They are
    numbered in the order of their names, from 0.

    Args:
        folder: the images, in sub-folders or not.
        cache_dir: the folder of the resized images, as in `Resizing`.
        size: pixels per side.
        channels: 1 (grey) or 3 (colour).
        leave_out: the name or the number of a class that is removed from every split.
        **options: as `DataModule`.

    Raises:
        ValueError: for no folder, or a size or number of channels out of range.
    """

    def __init__(
        self,
        folder: str | None,
        cache_dir: str,
        size: int = 32,
        channels: int = 3,
        leave_out: int | str | None = None,
        **options: Any,
    ) -> None:
        if not folder:
            raise ValueError("datamodule=image_folder needs datamodule.folder=PATH, the folder that holds the images")
        shape = (channels, size, size)
        self.resizing = Resizing(Path(cache_dir), shape)
        super().__init__(shape=shape, **options)
        self.folder, self.without = Path(folder), leave_out

    def load(self) -> Mapping[Split, NDArray[Any]]:
        if self.without is None:
            return {split: images for split, (images, _) in self._parts.items()}
        names, asked = self.class_names, str(self.without)
        # a name comes first: folders 1, 2 and 10 are in another order than their numbers
        number = names.index(asked) if asked in names else self.without
        if not isinstance(number, int) or not 0 <= number < len(names):
            raise DataError(f"datamodule.leave_out is {self.without!r}; {self.folder} has the classes {_listed(names)}")
        self.leave_out = number
        return super().load()

    def labelled(self) -> Mapping[Split, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Images and the numbers of their classes, by split, every class included.

        Raises:
            DataError: as `class_names`, or for images that cannot be read.
        """
        numbers = {name: i for i, name in enumerate(self.class_names)}
        return {
            split: (images, np.array([numbers[str(name)] for name in classes], np.int64))
            for split, (images, classes) in self._parts.items()
        }

    @cached_property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their numbers.

        Raises:
            DataError: for images without classes, a single class, or a class of `test` that `train` lacks.
        """
        classes = {split: set(names) for split, (_, names) in self._parts.items()}
        every = {name for names in classes.values() for name in names if name is not None}
        hint = "put the images of each class into a sub-folder of its own"
        if any(None in names for names in classes.values()):
            raise DataError(f"{self.folder} has images outside of sub-folders, so its images have no classes; {hint}")
        if len(every) < 2:
            raise DataError(f"{self.folder} has the single class {_listed(sorted(every))}; {hint}")
        if self._has_test and (unknown := every - classes["train"] - classes["val"]):
            raise DataError(
                f"{self.folder / 'test'} has the classes {_listed(sorted(map(str, unknown)))}, train lacks them"
            )
        return sorted(every)

    @property
    def _has_test(self) -> bool:
        return (self.folder / "train").is_dir() and (self.folder / "test").is_dir()

    @cached_property
    def _parts(self) -> Mapping[Split, tuple[NDArray[np.uint8], list[str | None]]]:
        """Images and the names of their classes, by split; None for an image in no sub-folder."""
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is not a folder; set datamodule.folder to the folder that holds the images")
        if self._has_test:
            val, train = self._cut(self.folder / "train", 1)
            (test,) = self._cut(self.folder / "test", 0)
        else:
            val, test, train = self._cut(self.folder, 2)
        return {"train": train, "val": val, "test": test}

    def _cut(self, folder: Path, held_out: int) -> list[tuple[NDArray[np.uint8], list[str | None]]]:
        """`held_out` tenths of the folder's images, and the rest: slices of one file, in this order."""
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not files:
            raise DataError(f"{folder} holds no images; expected files ending in {', '.join(sorted(SUFFIXES))}")
        parts = split_off(len(files), *[max(len(files) // 10, 1)] * held_out)
        ordered = [[files[i] for i in part] for part in parts]
        mapped = self.resizing.images(folder, [file for part in ordered for file in part])
        cuts = np.split(mapped, np.cumsum([len(part) for part in parts])[:-1])
        return [
            (images, [_class_of(file, folder) for file in part]) for images, part in zip(cuts, ordered, strict=True)
        ]


def _class_of(file: Path, folder: Path) -> str | None:
    first, *rest = file.relative_to(folder).parts
    return first if rest else None


def _listed(names: list[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
