"""Atomic files, strict JSON, and the errors of records that cannot be read."""

import glob
import hashlib
import json
import math
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError, one_line

# raised when older versions of genbench could no longer read a new record
SCHEMA = 1
# of a record; a sheet of every metric has less than 100 kilobytes
MOST_BYTES = 2**24


class RecordError(UserError):
    """A record that cannot be read. The message names the file and says what to do."""


def digest(value: Any) -> str:
    """The first eight hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


@contextmanager
def replacing(path: Path, is_precious: bool = True) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`. After the block, the temporary file replaces `path`.

    If the block raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: the file to write or replace. Missing parent folders are made.
        is_precious: sync the file to the disk before the rename. Files that can be made again from records skip the sync.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if is_precious:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, names: Sequence[str]) -> None:
    """Removes temporary files of `replacing` that a killed process left in a folder. No other process may write there."""
    for name in names:
        for leftover in folder.glob(f".{glob.escape(name)}.*"):
            leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str, is_precious: bool = True) -> None:
    """Writes UTF-8 text atomically."""
    with replacing(path, is_precious) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes strict JSON atomically.

    Raises:
        ValueError: for NaN and infinities, which other JSON readers refuse.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        OSError: for a file that is larger, or that is none (a pipe would be waited for without end).
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise OSError("it is not a regular file")
    if facts.st_size > most:
        raise OSError(f"it has {facts.st_size:,} bytes; at most {most:,} are expected")
    return path.read_bytes()


def read_json(path: Path, need: tuple[str, ...]) -> dict[str, Any]:
    """Reads a record and checks that it has the keys of `need`.

    Raises:
        RecordError: for a damaged file, a file that is not a record, or a record of a newer schema.
    """
    try:
        value = json.loads(read_bytes(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path} is damaged ({one_line(error)}); restore it or move it away") from error
    if not isinstance(value, dict) or not isinstance(value.get("schema"), int):
        raise RecordError(f"{path} is not a genbench record; move it away")
    if value["schema"] > SCHEMA:
        raise RecordError(
            f"{path} has schema {value['schema']}, and this genbench reads schemas up to {SCHEMA}: install a newer genbench"
        )
    missing = [key for key in need if key not in value]
    if missing:
        raise RecordError(f"{path} lacks {', '.join(missing)}; restore it or move it away")
    return value


def finite_or_none(value: float) -> float | None:
    """The value, or None for NaN and infinities."""
    return value if math.isfinite(value) else None
