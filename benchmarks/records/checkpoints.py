"""The checkpoints of a run on disk: the last two checkpoints, and checksums that reveal damage.

`checkpoints/last.ckpt` and `checkpoints/previous.ckpt` are rotated. `checkpoints/checksums.json` lists the SHA-256 of the
newest checkpoints; it is written before the rotation, so that every complete file is listed, whenever the process is killed.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.records.files import SCHEMA, RecordError, replacing, write_json
from benchmarks.records.json_files import read_json
from benchmarks.records.paths import checkpoint_path
from benchmarks.records.schemas import Checksums

# the checksums that are kept: a process that is killed after the list was written leaves one that no file has
LISTED = 1000


def previous_path(path: Path) -> Path:
    """The checkpoint before the one at `path`."""
    return path.with_name("previous.ckpt")


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def rotate(path: Path, write: Callable[[Path], None]) -> str:
    """Writes a new checkpoint at `path`, and keeps the checkpoint that was there as the previous one.

    Args:
        path: the path of the last checkpoint.
        write: writes the new checkpoint to the path that it gets.

    Returns:
        The checksum of the new checkpoint.
    """
    with replacing(path) as temporary:
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())  # a full disk is found before anything is replaced
        digest = checksum(temporary)
        is_last_whole = path.is_file() and why_damaged(path) is None
        earlier = listed(path)
        if earlier is None:  # runs of earlier versions have no list; their checkpoint becomes the previous one
            earlier = [checksum(path)] if path.is_file() else []
        write_json(_list_path(path), {"schema": SCHEMA, "sha256": [digest, *earlier][:LISTED]})
        if is_last_whole:  # a damaged checkpoint never takes the place of the one before it
            os.replace(path, previous_path(path))
    return digest


def listed(path: Path) -> list[str] | None:
    """The checksums of the newest checkpoints; None for runs of earlier versions, which listed none.

    Raises:
        RecordError: for a damaged list.
    """
    if not os.path.lexists(_list_path(path)):
        return None
    return read_json(_list_path(path), Checksums)["sha256"]


def why_damaged(path: Path) -> str | None:
    """Why a checkpoint of a run's folder is damaged; None if its checksum is listed, or if there is no list."""
    checksums = listed(path)
    if checksums is None or checksum(path) in checksums:
        return None
    return "its checksum is not the one that was written"


def find_checkpoint(run: Path, sha256: str | None) -> Path:
    """The checkpoint whose SHA-256 is `sha256`; the last one if `sha256` is None.

    Raises:
        RecordError: if no checkpoint has the checksum. The message says what to do.
    """
    path = checkpoint_path(run)
    if sha256 is None:
        if path.is_file() and (reason := why_damaged(path)) is not None:
            raise RecordError(f"{path} is damaged ({reason}); move the run away and train it again")
        return path
    candidates = [candidate for candidate in (path, previous_path(path)) if candidate.is_file()]
    if not candidates:
        raise RecordError(f"{path} is missing; train the run again")
    for candidate in candidates:
        if checksum(candidate) == sha256:
            return candidate
    raise RecordError(
        f"{path} is not the checkpoint that the record of the run was made with (SHA-256 {sha256[:12]}): it is damaged, or "
        "another process replaced it; move the run away and train it again"
    )


def _list_path(path: Path) -> Path:
    return path.with_name("checksums.json")
