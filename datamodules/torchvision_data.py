"""The files of torchvision's data sets: checksums, the download, and errors that say what to do."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from datamodules.errors import DataError


def ensure_files(name: str, folder: Path, md5: Mapping[str, str], download: Callable[[], object]) -> None:
    """Checks that every file exists and is the published one. Downloads the files if any is missing.

    Existing files are never deleted or overwritten.

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
        raise DataError(_how_to_get(name, folder, md5, f"could not be downloaded ({_one_line(error)})")) from error
    if any(not (folder / file).is_file() for file in md5):
        raise DataError(_how_to_get(name, folder, md5, "is not complete after the download"))
    _check(folder, md5)


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


def _how_to_get(name: str, folder: Path, md5: Mapping[str, str], what: str) -> str:
    return (
        f"{name} is not in {folder} and {what}; put {', '.join(md5)} there, "
        "or set DATA_DIR (or data_dir=...) to the folder that holds it"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
