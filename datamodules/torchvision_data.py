"""The files of torchvision's data sets: checksums, the download, and errors that say what to do."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets.utils import download_url

from datamodules.errors import DataError


def ensure_files(
    name: str, folder: Path, md5: Mapping[str, str], download: Callable[[], object], source: str = ""
) -> None:
    """Checks that every file exists and is the published one. Downloads the files if any is missing.

    Existing files are never deleted or overwritten.

    Args:
        name: of the data set, for messages.
        folder: of the files.
        md5: the checksum of each file, by its name.
        download: brings the files.
        source: the address of the files, for messages.

    Raises:
        DataError: for a file with another checksum, or a missing file that cannot be downloaded.
    """
    missing = [file for file in md5 if not (folder / file).is_file()]
    _check(folder, {file: digest for file, digest in md5.items() if file not in missing})
    if not missing:
        return
    try:
        download()
    except Exception as error:  # torchvision raises whatever its transport raises
        raise DataError(
            _how_to_get(name, folder, md5, f"could not be downloaded ({_one_line(error)})", source)
        ) from error
    if any(not (folder / file).is_file() for file in md5):
        raise DataError(_how_to_get(name, folder, md5, "is not complete after the download", source))
    _check(folder, md5)


def ensure_urls(name: str, folder: Path, published: Mapping[str, tuple[str, str]]) -> None:
    """As `ensure_files`, for files that lie beside each other at addresses of their own.

    Args:
        name: of the data set, for messages.
        folder: of the files.
        published: the address and the MD5 of each file, by its name.

    Raises:
        DataError: as `ensure_files`.
    """

    def download() -> None:
        for file, (url, md5) in published.items():
            if not (folder / file).is_file():
                download_url(url, str(folder), file, md5)

    checksums = {file: md5 for file, (_, md5) in published.items()}
    first, _ = next(iter(published.values()))
    ensure_files(name, folder, checksums, download, first.rpartition("/")[0])


def read_idx(content: bytes) -> NDArray[np.uint8]:
    """An array of bytes in LeCun's format: two zeros, 8, the number of dimensions, each as four bytes, the data.

    Raises:
        DataError: for another format or another length.
    """
    n = content[3] if content[:3] == bytes([0, 0, 8]) else 0
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(n)]
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * n) if n else np.empty(0, np.uint8)
    if not n or data.size != np.prod(shape):
        raise DataError("a file is not in the idx format of MNIST; download it again")
    return data.reshape(shape)


def _check(folder: Path, md5: Mapping[str, str]) -> None:
    for file, expected in md5.items():
        path = folder / file
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "md5").hexdigest()
        if digest != expected:
            raise DataError(
                f"{path} is damaged: {path.stat().st_size} bytes with MD5 {digest}, expected {expected}; "
                "move it away and run again to download it again"
            )


def _how_to_get(name: str, folder: Path, md5: Mapping[str, str], what: str, source: str) -> str:
    origin = f" (from {source})" if source else ""
    return (
        f"{name} is not in {folder} and {what}; put {', '.join(md5)}{origin} there, "
        "or set DATA_DIR (or data_dir=...) to the folder that holds it"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
