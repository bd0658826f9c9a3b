"""A folder of images that others made, as they are: nothing is resized, cropped or turned grey silently."""

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from benchmarks.errors import UserError, one_line
from benchmarks.records.files import read_bytes

# Pillow reads other formats with other programs, PostScript with Ghostscript
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX")
ORIENTATION = 0x0112  # of EXIF; 1 is upright
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MOST_FILES = 2**20
MOST_BYTES_OF_IMAGE = 2**24


def read_images(folder: Path, shape: Sequence[int]) -> tuple[NDArray[np.uint8], str, list[str]]:
    """Every image in a folder, in order of names.

    Args:
        folder: without sub-folders of images.
        shape: (C, H, W) of the data. A grey image in a file of three equal channels is grey.

    Returns:
        The images, uint8 (N, C, H, W); the SHA-256 of their names and contents; remarks.

    Raises:
        UserError: for a folder without images, a link, a file that is no image, or an image of another size or of colours where
            grey is expected.
    """
    with os.scandir(folder) as entries:
        seen = {entry.name: entry.is_dir() for entry in entries if not entry.name.startswith(".")}
    names = sorted(name for name in seen if name.lower().endswith(SUFFIXES))
    others = sorted(f"{name}/" if seen[name] else name for name in seen.keys() - set(names))
    if not names:
        hint = f" and no sub-folders (it has {', '.join(others)[:80]})" if others else ""
        raise UserError(f"{folder} holds no images; expected files ending in {', '.join(SUFFIXES)}{hint}")
    if len(names) > MOST_FILES:
        raise UserError(f"{folder} holds {len(names):,} images; at most {MOST_FILES:,} are expected")
    images = np.empty((len(names), *shape), np.uint8)
    digest, is_lossy = hashlib.sha256(), False
    for i, name in enumerate(names):
        path = folder / name
        try:
            content = read_bytes(path, MOST_BYTES_OF_IMAGE)
            images[i], file_format = _pixels(content, shape)
        except Exception as error:  # Pillow raises errors of many kinds
            is_known = not isinstance(error, UnidentifiedImageError)
            why = one_line(error)[:160] if is_known else f"it is no {', '.join(FORMATS)}"
            raise UserError(f"{path} cannot be taken ({why}); mend it or move it away") from error
        is_lossy |= file_format in ("JPEG", "WEBP")
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode("utf-8", "surrogateescape"))
    remarks = []
    if is_lossy:
        remarks.append(
            "images are JPEG or WebP: lossy compression changes FID (Parmar et al. 2022); submit PNG or .npz"
        )
    if others:
        remarks.append(f"{len(others):,} other entries of the folder were not read: {', '.join(others)[:80]}")
    return images, digest.hexdigest(), remarks


def _pixels(content: bytes, shape: Sequence[int]) -> tuple[NDArray[np.uint8], str]:
    """The pixels of an image, (C, H, W), and its format."""
    channels, height, width = shape
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if (image.height, image.width) != (height, width):  # before anything is unpacked
            raise ValueError(f"it has {image.width}x{image.height} pixels; expected {width}x{height}")
        raw = str(image.tile[0][3]) if image.tile else ""  # Pillow drops the lower half of RGB of 16 bits
        if image.mode not in MODES or ";16" in raw:
            raise ValueError(
                f"it has pixels of kind {raw if ';16' in raw else image.mode}; expected grey or RGB of 8 bits"
            )
        if getattr(image, "n_frames", 1) > 1:
            raise ValueError("it has several frames or pages; expected one image a file")
        if image.getexif().get(ORIENTATION, 1) != 1:
            raise ValueError("its EXIF orientation turns it; save it upright")
        file_format, has_alpha = str(image.format), "A" in image.mode or "transparency" in image.info
        pixels = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    if has_alpha and (pixels[..., 3] != 255).any():
        raise ValueError("it is transparent in places; expected opaque images")
    pixels = pixels[..., :3].transpose(2, 0, 1)
    if channels == 1:
        if (pixels != pixels[:1]).any():
            raise ValueError("it has colours; expected grey images")
        pixels = pixels[:1]
    return pixels, file_format
