"""Image files, cropped to a square and resized once into a memory-mapped uint8 file with a checksum."""

import hashlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.progress import track

from datamodules.errors import DataError

# Pillow reads other formats with other programs, PostScript with Ghostscript; a name ending in .png says nothing of the content
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")

REPAIR = "repair it or move it away"
# bad images after which no more are looked for
MOST_ERRORS = 20

# per side; images of this size fill a disk soon enough
MOST_PIXELS = 2048


@dataclass(frozen=True)
class Resizing:
    """The central square of an image, resized with Lanczos' filter, which antialiases.

    Args:
        cache_dir: the folder of the resized images, one file per content of a folder, size, number of channels and crop, each
            with its checksum. A damaged file is made again, with a warning.
        shape: (C, H, W), C 1 (grey) or 3 (colour), H = W.
        crop: the side of the square in pixels; None for the shorter side of each image.

    Raises:
        ValueError: for a size, crop or number of channels out of range.
    """

    cache_dir: Path
    shape: tuple[int, int, int]
    crop: int | None = None

    def __post_init__(self) -> None:
        channels, size, _ = self.shape
        if channels not in (1, 3):
            raise ValueError(f"datamodule.channels is {channels}; expected 1 (grey) or 3 (colour)")
        if not 4 <= size <= MOST_PIXELS:
            raise ValueError(f"datamodule.size is {size}; expected 4 to {MOST_PIXELS} pixels")
        if self.crop is not None and self.crop < 1:
            raise ValueError(f"datamodule.crop is {self.crop}; expected 1 pixel or more")

    def images(self, folder: Path, files: Sequence[Path]) -> NDArray[np.uint8]:
        """The resized images, memory-mapped, (N, C, H, W) in the order of the files.

        Args:
            folder: the folder that the files lie below; the cache is named after it.
            files: of images. Their order follows from their names.

        Raises:
            DataError: for a file that is no image, or a cache that cannot be written.
        """
        path = self.cache_dir / f"{folder.name}-{self._key(folder, files)}.npy"
        mapped = self._cached(path, len(files)) if path.exists() else None
        if mapped is None:
            self._write(path, files)
            mapped = np.load(path, mmap_mode="r")
        return mapped

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
        crop = f" {self.crop}" if self.crop is not None else ""
        digest = hashlib.sha256(os.fsencode(f"{self.shape}{crop} {folder.resolve()}\n"))
        for file in sorted(files):
            stat = file.stat()
            # a name need not be UTF-8
            digest.update(os.fsencode(f"{file.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
        return digest.hexdigest()[:16]

    def _write(self, path: Path, files: Sequence[Path]) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            out = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(files), *self.shape))
            errors = list[DataError]()
            for i, file in enumerate(track(files, f"resizing {len(files)} images", transient=True)):
                try:
                    out[i] = self.read(file)
                except DataError as error:  # all are named at once: each try reads every image
                    errors.append(error)
                    if len(errors) == MOST_ERRORS:
                        break
            if errors:
                raise _together(errors)
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

    def read(self, file: Path) -> NDArray[np.uint8]:
        """One image, (C, H, W).

        Raises:
            DataError: for a file that is no image, or an image smaller than the crop.
        """
        channels, height, width = self.shape
        try:
            with Image.open(file, formats=FORMATS) as opened:
                image = ImageOps.exif_transpose(opened)
                if image.mode in ("F", "I"):  # Pillow would clip them to 0 to 255
                    raise ValueError("it has 32 bits a pixel; save it with 8 or 16")
                if image.mode.startswith("I;16"):  # Pillow would clip 16 bits instead of scaling them
                    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
                image = image.convert("L" if channels == 1 else "RGB")
                # cropped before resizing, so that the filter sees only the square
                side = self.crop or min(image.size)
                if side > min(image.size):
                    raise ValueError(f"it has {image.size[0]}x{image.size[1]} pixels, less than the crop of {side}")
                left, top = ((extent - side) // 2 for extent in image.size)
                image = image.crop((left, top, left + side, top + side))
                image = image.resize((width, height), Image.Resampling.LANCZOS)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{file} cannot be read as an image ({error}); {REPAIR}") from error
        pixels = np.asarray(image, np.uint8)
        return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _together(errors: Sequence[DataError]) -> DataError:
    """One error of several images."""
    if len(errors) == 1:
        return errors[0]
    reasons = "; ".join(str(error).removesuffix(f"; {REPAIR}") for error in errors)
    return DataError(
        f"{len(errors)}{' or more' * (len(errors) == MOST_ERRORS)} images cannot be read: {reasons}; repair them"
    )


def _checksum_path(cache: Path) -> Path:
    return cache.with_suffix(".sha256")


def _checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
