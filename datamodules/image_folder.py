"""Any folder of images, resized once into a memory-mapped uint8 file, grey or in colour. Sub-folders may be classes."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import Split, split_off
from datamodules.errors import DataError
from datamodules.labelled import LabelledDataModule
from datamodules.resized import Resizing

# the splits that a folder may have, and how others name them
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SPLIT_NAMES = {*SPLITS, "training", "valid", "validation", "dev", "eval", "testing"}

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}


class ImageFolder(LabelledDataModule):
    """Every image below `folder`, cropped to its central square and resized with Lanczos' filter, which antialiases.

    If `folder/train` and `folder/test` exist, they are the splits. Validation is `folder/val`, or else a pinned tenth of `train`.
    Without these folders a pinned tenth each is held out for validation and test.

    If every image lies in a sub-folder of `folder`, or of its splits, the sub-folders are classes. They are numbered in the
    order of their names, from 0.

    Links to folders are followed. Hidden files and folders, and `__MACOSX`, are not read.

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
            DataError: for images without classes, a single class, or a class of `test` or `val` that `train` lacks.
        """
        classes = {split: set(names) for split, (_, names) in self._parts.items()}
        every = {name for names in classes.values() for name in names if name is not None}
        hint = "put the images of each class into a sub-folder of its own"
        if any(None in names for names in classes.values()):
            raise DataError(f"{self.folder} has images outside of sub-folders, so its images have no classes; {hint}")
        if len(every) < 2:
            raise DataError(f"{self.folder} has the single class {_listed(sorted(every))}; {hint}")
        given: list[Split] = [split for split in SPLITS[1:] if self._has(split)]
        known = classes["train"] | (set() if "val" in given else classes["val"])
        for split in given:
            if unknown := classes[split] - known:
                raise DataError(
                    f"{self.folder / split} has the classes {_listed(sorted(map(str, unknown)))}, train lacks them"
                )
        return sorted(every)

    def _has(self, split: Split) -> bool:
        """Whether a sub-folder of the folder is a split."""
        return all((self.folder / name).is_dir() for name in {"train", "test", split})

    @cached_property
    def _parts(self) -> Mapping[Split, tuple[NDArray[np.uint8], list[str | None]]]:
        """Images and the names of their classes, by split; None for an image in no sub-folder."""
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is not a folder; set datamodule.folder to the folder that holds the images")
        if self._has("val"):
            (train,), (val,), (test,) = (self._cut(self.folder / split, 0) for split in SPLITS)
        elif self._has("test"):
            val, train = self._cut(self.folder / "train", 1)
            (test,) = self._cut(self.folder / "test", 0)
        else:
            self._refuse_other_splits()
            val, test, train = self._cut(self.folder, 2)
        return {"train": train, "val": val, "test": test}

    def _refuse_other_splits(self) -> None:
        """Refuses a folder whose sub-folders are splits under other names: they would be mixed, and taken for classes.

        Raises:
            DataError: for such a folder.
        """
        names = sorted(path.name for path in self.folder.iterdir() if path.is_dir() and not _is_hidden(path.name))
        if names and all(name.lower() in SPLIT_NAMES for name in names):
            raise DataError(
                f"{self.folder} has the sub-folders {', '.join(names)}, which look like splits; name them train, test and, "
                f"if there is one, val, or set datamodule.folder to {self.folder / names[0]}"
            )

    def _cut(self, folder: Path, held_out: int) -> list[tuple[NDArray[np.uint8], list[str | None]]]:
        """`held_out` tenths of the folder's images, and the rest: slices of one file, in this order."""
        files = sorted(_files(folder))
        if not files:
            raise DataError(f"{folder} holds no images; expected files ending in {', '.join(sorted(SUFFIXES))}")
        if len(files) <= held_out:
            raise DataError(f"{folder} holds too few images, {len(files)}; expected {held_out + 1} or more")
        parts = split_off(len(files), *[max(len(files) // 10, 1)] * held_out)
        ordered = [[files[i] for i in part] for part in parts]
        mapped = self.resizing.images(folder, [file for part in ordered for file in part])
        cuts = np.split(mapped, np.cumsum([len(part) for part in parts])[:-1])
        return [
            (images, [_class_of(file, folder) for file in part]) for images, part in zip(cuts, ordered, strict=True)
        ]


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The images below a folder. A link to a folder above is not followed: there would be no end."""
    own = folder.resolve()
    if own in above:
        return
    for path in folder.iterdir():
        if _is_hidden(path.name):
            continue
        if path.is_dir():
            yield from _files(path, (*above, own))
        elif path.suffix.lower() in SUFFIXES and path.is_file():
            yield path


def _is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the user's: macOS puts `._` files and `__MACOSX` into archives."""
    return name.startswith(".") or name == "__MACOSX"


def _class_of(file: Path, folder: Path) -> str | None:
    first, *rest = file.relative_to(folder).parts
    return first if rest else None


def _listed(names: list[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
