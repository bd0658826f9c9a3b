"""Any folder of images, resized once into a memory-mapped uint8 file, grey or in colour."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.progress import track

from datamodules.base import DataModule, Split, split_off
from datamodules.errors import DataError

# Pillow reads other formats with other programs, PostScript with Ghostscript; a name ending in .png says nothing of the content
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}


class ImageFolder(DataModule):
    """Every image below `folder`, cropped to its central square and resized with Lanczos' filter, which antialiases.

    If `folder/train` and `folder/test` exist, they are the splits, and a pinned tenth of `train` is held out for validation.
    Otherwise a pinned tenth each is held out for validation and test.

    Args:
        folder: the images, in sub-folders or not.
        cache_dir: the folder of the resized images, one file per folder content, size and number of channels.
        size: pixels per side.
        channels: 1 (grey) or 3 (colour).
        **options: as `DataModule`.

    Raises:
        ValueError: for no folder, or a size or number of channels out of range.
    """

    def __init__(self, folder: str | None, cache_dir: str, size: int = 32, channels: int = 3, **options: Any) -> None:
        if not folder:
            raise ValueError("datamodule=image_folder needs datamodule.folder=PATH, the folder that holds the images")
        if channels not in (1, 3):
            raise ValueError(f"datamodule.channels is {channels}; expected 1 (grey) or 3 (colour)")
        if size < 4:
            raise ValueError(f"datamodule.size is {size}; expected 4 pixels or more")
        super().__init__(shape=(channels, size, size), **options)
        self.folder, self.cache_dir = Path(folder), Path(cache_dir)

    def load(self) -> Mapping[Split, NDArray[Any]]:
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is not a folder; set datamodule.folder to the folder that holds the images")
        if (self.folder / "train").is_dir() and (self.folder / "test").is_dir():
            val, train = self._parts(self.folder / "train", 1)
            (test,) = self._parts(self.folder / "test", 0)
        else:
            val, test, train = self._parts(self.folder, 2)
        return {"train": train, "val": val, "test": test}

    def _parts(self, folder: Path, held_out: int) -> list[NDArray[np.uint8]]:
        """`held_out` tenths of the folder's images, and the rest: slices of one file, in this order."""
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not files:
            raise DataError(f"{folder} holds no images; expected files ending in {', '.join(sorted(SUFFIXES))}")
        parts = split_off(len(files), *[max(len(files) // 10, 1)] * held_out)
        path = self.cache_dir / f"{folder.name}-{self._key(folder, files)}.npy"
        in_order = [files[i] for part in parts for i in part]
        if not path.is_file():
            self._write(path, in_order)
        try:
            mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r")
        except ValueError:  # truncated by a full disk or an interrupted copy; genbench owns the file and makes it again
            self._write(path, in_order)
            mapped = np.load(path, mmap_mode="r")
        return np.split(mapped, np.cumsum([len(part) for part in parts])[:-1])

    def _key(self, folder: Path, files: Sequence[Path]) -> str:
        digest = hashlib.sha256(f"{self.shape} {folder.resolve()}\n".encode())
        for file in files:
            stat = file.stat()
            digest.update(f"{file.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:16]

    def _write(self, path: Path, files: Sequence[Path]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            out = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(files), *self.shape))
            for i, file in enumerate(track(files, f"resizing {len(files)} images", transient=True)):
                out[i] = _read(file, *self.shape)
            out.flush()
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _read(file: Path, channels: int, height: int, width: int) -> NDArray[np.uint8]:
    try:
        with Image.open(file, formats=FORMATS) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):  # Pillow would clip 16 bits instead of scaling them
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert("L" if channels == 1 else "RGB")
            # cropped before resizing, so that the filter sees only the square
            side = min(image.size)
            left, top = ((extent - side) // 2 for extent in image.size)
            image = image.crop((left, top, left + side, top + side))
            image = image.resize((width, height), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image ({error}); repair it or move it away") from error
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
