"""Any folder of images, resized once into a memory-mapped uint8 file, grey or in colour."""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
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

# per side; images of this size fill a disk soon enough
MOST_PIXELS = 2048


class ImageFolder(DataModule):
    """Every image below `folder`, cropped to its central square and resized with Lanczos' filter, which antialiases.

    If `folder/train` and `folder/test` exist, they are the splits, and a pinned tenth of `train` is held out for validation.
    Otherwise a pinned tenth each is held out for validation and test.

    Args:
        folder: the images, in sub-folders or not.
        cache_dir: the folder of the resized images, one file per folder content, size and number of channels, each with
            its checksum. A damaged file is made again, with a warning.
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
        if not 4 <= size <= MOST_PIXELS:
            raise ValueError(f"datamodule.size is {size}; expected 4 to {MOST_PIXELS} pixels")
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
        mapped = self._cached(path, len(files)) if path.exists() else None
        if mapped is None:
            self._write(path, in_order)
            mapped = np.load(path, mmap_mode="r")
        return np.split(mapped, np.cumsum([len(part) for part in parts])[:-1])

    def _cached(self, path: Path, n: int) -> NDArray[np.uint8] | None:
        """The resized images in the cache; None, with a warning, for a file that is not the one that was written."""
        try:
            if not path.is_file():
                raise OSError("it is not a regular file")
            mapped = np.load(path, mmap_mode="r")
            if not isinstance(mapped, np.memmap) or (mapped.shape, mapped.dtype) != ((n, *self.shape), np.uint8):
                raise ValueError("it has another shape or type")
            if _checksum(path) != _checksum_path(path).read_text(encoding="utf-8"):
                raise ValueError("its checksum is not the one that was written")
        except Exception as error:  # a damaged file raises many kinds of errors
            reason = " ".join(str(error).split())[:160]
            print(f"warning: the cache {path} is damaged ({reason}); resizing the images again", file=sys.stderr)
            return None
        return mapped

    def _key(self, folder: Path, files: Sequence[Path]) -> str:
        digest = hashlib.sha256(os.fsencode(f"{self.shape} {folder.resolve()}\n"))
        for file in files:
            stat = file.stat()
            # a name need not be UTF-8
            digest.update(os.fsencode(f"{file.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
        return digest.hexdigest()[:16]

    def _write(self, path: Path, files: Sequence[Path]) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            out = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(files), *self.shape))
            for i, file in enumerate(track(files, f"resizing {len(files)} images", transient=True)):
                out[i] = _read(file, *self.shape)
            out.flush()
            checksum = _checksum(temporary)
            os.replace(temporary, path)
            temporary.write_text(checksum, encoding="utf-8")
            os.replace(temporary, _checksum_path(path))
        except OSError as error:
            raise DataError(
                f"{path} cannot be written ({error}); free the place, or set another folder of caches"
            ) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _checksum_path(cache: Path) -> Path:
    return cache.with_suffix(".sha256")


def _checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
