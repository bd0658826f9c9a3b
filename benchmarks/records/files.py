"""Atomic files, bounded reading, and the error of records that cannot be read."""

import errno
import glob
import hashlib
import io
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from benchmarks.errors import UserError

# raised when older versions of genbench could no longer read a new record
SCHEMA = 1
# by the suffix of a file: a hundred times what an honest file has
LARGEST = {".json": 2**24, ".yaml": 2**20, ".csv": 2**18, ".npz": 2**24, ".png": 2**26}
# of a record; a sheet of every metric has less than 100 kilobytes
MOST_BYTES = LARGEST[".json"]


# a temporary file, with the number of its process
_TEMPORARY = re.compile(r"\..+\.([0-9]{1,9})-[a-z0-9_]+")


class RecordError(UserError):
    """A record that cannot be read. The message names the file and says what to do."""


def digest(value: Any) -> str:
    """The first eight hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def file_name(text: str) -> str:
    """The text with letters, digits, dashes and underscores alone: it names a file and no folder."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in text)


@contextmanager
def replacing(path: Path, is_precious: bool = True) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`. After the block, the temporary file replaces `path`.

    If the block raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: the file to write or replace. Missing parent folders are made.
        is_precious: sync the file to the disk before the rename. Files that can be made again from records skip the sync.
    """
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}-")
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
    except OSError as error:
        # a write names no file, and a writer may go through a folder of its own
        through = "" if error.filename in (None, name, str(path)) else f" (through {error.filename})"
        error.filename = f"{path}{through}"
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def scratch(folder: Path) -> Iterator[TextIO]:
    """A text file in a folder, which is made if it is missing. The file has no name, and goes with the block."""
    make_folder(folder)
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="", buffering=2**20, dir=folder) as stream:
        yield stream


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it, if they are missing.

    Raises:
        UserError: for a folder where the file system takes none.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:  # this process's own folder was removed, or the file system takes no folders
        raise UserError(f"the folder {folder} cannot be made; choose another one") from error


def remove_leftovers(folder: Path, names: Sequence[str]) -> None:
    """Removes temporary files of `replacing` that a killed process left in a folder. No other process may write there."""
    for name in names:
        for leftover in folder.glob(f".{glob.escape(name)}.*"):
            leftover.unlink(missing_ok=True)


def remove_dead_leftovers(*folders: Path) -> None:
    """Removes temporary files of `replacing` in some folders whose process is dead; others may be at work there."""
    for folder in folders:
        for leftover in folder.glob(".*"):
            named = _TEMPORARY.fullmatch(leftover.name)
            if named is not None and not _is_alive(int(named[1])):
                leftover.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's process, or no number of one
        return True
    return True


def write_text(path: Path, text: str, is_precious: bool = True) -> None:
    """Writes UTF-8 text atomically."""
    with replacing(path, is_precious) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_pieces(path: Path, pieces: Iterable[str], is_precious: bool = True) -> None:
    """Writes the pieces of a UTF-8 text atomically; they need not be in memory together."""
    with replacing(path, is_precious) as temporary, temporary.open("w", encoding="utf-8", buffering=2**20) as stream:
        stream.writelines(pieces)


def write_json(path: Path, value: Any) -> None:
    """Writes strict JSON atomically.

    Raises:
        ValueError: for NaN and infinities, which other JSON readers refuse.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def most_bytes(path: Path) -> int:
    """The most bytes of a file of a run, by its kind. A checkpoint has the size of its model."""
    return LARGEST.get(path.suffix, 2**40)


def read_bytes(path: Path | str, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        OSError: as `open_regular`.
    """
    handle, size = _opened(path, most)
    try:
        return os.read(handle, size)
    finally:
        os.close(handle)


def open_regular(path: Path, most: int) -> io.FileIO:
    """Opens a regular file of at most `most` bytes for reading, without a buffer.

    Raises:
        OSError: for a file that is larger, or that is none: a pipe would be waited for without end, and a link could name any
            file of the reader's machine.
    """
    return open(_opened(path, most)[0], "rb", buffering=0)


def _opened(path: Path | str, most: int) -> tuple[int, int]:
    """A handle of a regular file, and its size. A report opens tens of thousands of files."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError("it is a link") from error
        raise
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > most:
        os.close(handle)
        is_large = stat.S_ISREG(facts.st_mode)
        raise OSError(
            f"it has {facts.st_size:,} bytes; at most {most:,} are expected" if is_large else "it is not a regular file"
        )
    return handle, facts.st_size


def finite_or_none(value: float) -> float | None:
    """The value, or None for NaN and infinities."""
    return value if math.isfinite(value) else None
