"""A submission: the samples of a model from elsewhere, and what else of it was submitted, read from a file or a folder."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.external.arrays import MOST_BYTES, read_arrays
from benchmarks.external.images import read_images
from benchmarks.external.shapes import Fitted, Range, fit
from benchmarks.records.files import open_regular

# of a .npz; of the test split in the order of the data, but for the first
SAMPLES, RECONSTRUCTIONS, LATENTS, LATENT_DRAWS = KEYS = ("samples", "reconstructions", "latents", "latent_draws")
SUFFIXES = (".npz", ".npy")
MOST_LATENTS = 2**16


@dataclass(frozen=True)
class Submission:
    """The arrays of one file or folder, in the form of the data.

    Args:
        name: of the file or folder.
        sha256: of its content.
        samples: (N, ...), uint8 or float32 in [0, 1]; float32 points.
        reconstructions: (M, ...) of the reference split; None without.
        latents: (M, Z), the codes of the reference split; None without.
        latent_draws: (M, Z), one draw of q(z|x) each; None if q(z|x) is a point.
        layout, range: of the samples, as they were stored.
        remarks: what a reader of a table should know.
    """

    name: str
    sha256: str
    samples: NDArray[Any]
    reconstructions: NDArray[Any] | None = None
    latents: NDArray[np.float32] | None = None
    latent_draws: NDArray[np.float32] | None = None
    layout: str | None = None
    range: str | None = None
    remarks: tuple[str, ...] = ()


def read_submission(
    path: Path, shape: Sequence[int], layout: str | None = None, stated: Range | None = None
) -> Submission:
    """Reads a .npz, a .npy, or a folder of images.

    A folder of images has the samples alone, or the sub-folders `samples` and `reconstructions`. What is submitted beside the
    samples is of the test split, in its order: images sort by name.

    Args:
        path: of the file or folder. A link is refused.
        shape: of the data.
        layout: NCHW, NHWC or NHW; None finds it.
        stated: the values of black and white; None finds them.

    Raises:
        UserError: for a file that cannot be read, or arrays that do not fit the data.
    """
    if path.is_symlink():
        raise UserError(f"{path} is a link; name the file or folder itself")
    if path.is_dir():
        return _of_folder(path, shape)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is no folder, .npz or .npy; expected one of these")
    arrays, others = read_arrays(path, KEYS)
    samples = fit(arrays[SAMPLES], f"{path}: {SAMPLES}", shape, layout, stated)
    restored = None
    if RECONSTRUCTIONS in arrays:
        # reconstructions alone may not reach below 0 where samples do
        same = samples.bounds if arrays[RECONSTRUCTIONS].dtype == arrays[SAMPLES].dtype else None
        restored = fit(arrays[RECONSTRUCTIONS], f"{path}: {RECONSTRUCTIONS}", shape, layout, stated or same)
    codes, draws = (_codes(arrays.get(key), f"{path}: {key}") for key in (LATENTS, LATENT_DRAWS))
    if draws is not None and (codes is None or codes.shape != draws.shape):
        raise UserError(f"{path}: {LATENT_DRAWS} needs {LATENTS} of the same shape {draws.shape}; submit both")
    if codes is not None and restored is not None and len(codes) != len(restored.array):
        raise UserError(f"{path}: {len(codes)} {LATENTS} and {len(restored.array)} {RECONSTRUCTIONS}; expected as many")
    unread = (f"the arrays {', '.join(others)[:80]} of the file were not read",) if others else ()
    return _made(path, _checksum(path), samples, restored, codes, draws, unread)


def _of_folder(path: Path, shape: Sequence[int]) -> Submission:
    if len(shape) == 1:
        raise UserError(f"{path} is a folder, and the data are points; submit a .npz or .npy")
    parts = [path / name for name in (SAMPLES, RECONSTRUCTIONS)]
    if links := [part for part in parts if part.is_symlink()]:
        raise UserError(f"{links[0]} is a link; name the folder itself")
    has_parts = parts[0].is_dir()
    images, sha256, remarks = read_images(parts[0] if has_parts else path, shape)
    samples = Fitted(images, None, "0 to 255, image files", remarks=tuple(remarks))
    restored = None
    if has_parts and parts[1].is_dir():
        images, other, _ = read_images(parts[1], shape)
        restored = Fitted(images, None, None)
        sha256 = hashlib.sha256(f"{sha256}{other}".encode()).hexdigest()
    return _made(path, sha256, samples, restored)


def _made(
    path: Path,
    sha256: str,
    samples: Fitted,
    restored: Fitted | None,
    codes: NDArray[np.float32] | None = None,
    draws: NDArray[np.float32] | None = None,
    remarks: tuple[str, ...] = (),
) -> Submission:
    remarks = (*samples.remarks, *(restored.remarks if restored else ()), *remarks)
    array = restored.array if restored is not None else None
    name = path.resolve().name
    return Submission(name, sha256, samples.array, array, codes, draws, samples.layout, samples.range, remarks)


def _codes(array: NDArray[Any] | None, what: str) -> NDArray[np.float32] | None:
    if array is None:
        return None
    if array.ndim != 2 or array.dtype.kind != "f" or not 0 < array.shape[1] <= MOST_LATENTS:
        raise UserError(f"{what} has shape {array.shape} and type {array.dtype}; expected floats (M, Z)")
    return fit(array, what, array.shape[1:]).array


def _checksum(path: Path) -> str:
    with open_regular(path, MOST_BYTES) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
