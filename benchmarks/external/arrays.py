"""Arrays that others wrote, from .npy and .npz: each header is checked before any value is read, and nothing is unpickled."""

import ast
import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError, one_line
from benchmarks.records.files import open_regular

# of a file, and of the arrays that are read from it: 50,000 colour images of 64 pixels in float32
MOST_BYTES = 5 * 2**29
# of a header; numpy writes 128 bytes for an array of numbers
MOST_HEADER = 2**12
READ_AT_ONCE = 2**24
# what a sole array, or the first of numpy.savez(FILE, array), is called
UNNAMED = "arr_0"
DO = "write the file again, with numpy.save or numpy.savez"


def read_arrays(path: Path, known: Collection[str]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The arrays of a .npz by name, those of other names left out; the array of a .npy under the first known name.

    An array without a name (`arr_0`) stands for the first known name, if no array has that name.

    Args:
        path: of the file. A link is refused.
        known: the names to read.

    Returns:
        The arrays, and the names of the arrays that were left out.

    Raises:
        UserError: for a damaged or truncated file, an array of objects or of other values than numbers, a file that unpacks
            to more than `MOST_BYTES`, or a file without any array to read.
    """
    first = next(iter(known))
    try:
        with open_regular(path, MOST_BYTES) as stream:
            if path.suffix.lower() == ".npy":
                return {first: _read_array(stream, path.stat().st_size, path.name)}, []
            return _read_archive(stream, path, known, first)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; set samples to a folder of images, a .npz or a .npy") from error
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)[:160]}); {DO}") from error
    except Exception as error:  # zlib.error, and what a parser of headers raises for text of any kind
        raise UserError(f"{path} is damaged ({one_line(error)[:160]}); {DO}") from error


def _read_archive(
    stream: IO[bytes], path: Path, known: Collection[str], first: str
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    with zipfile.ZipFile(stream) as archive:
        entries: dict[str, zipfile.ZipInfo] = {}
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name in entries:
                raise ValueError(f"it has two arrays {name!r}")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("its compression is not one of numpy's")
            entries[name] = entry
        if first not in entries and UNNAMED in entries:
            entries[first] = entries.pop(UNNAMED)
        wanted = {name: entries[name] for name in known if name in entries}
        if first not in wanted:
            names = ", ".join(sorted(entries)[:8]) or "no array"
            raise UserError(f"{path} has no array {first!r} (it has {names}); {DO}: numpy.savez(FILE, {first}=...)")
        unpacked = sum(entry.file_size for entry in wanted.values())
        if unpacked > MOST_BYTES:
            raise ValueError(f"it unpacks to {unpacked:,} bytes; at most {MOST_BYTES:,} are expected: use uint8")
        arrays = {}
        for name, entry in wanted.items():
            with archive.open(entry) as member:
                arrays[name] = _read_array(member, entry.file_size, f"the array {name!r}")
        return arrays, sorted(entries.keys() - wanted.keys())


def _read_array(stream: IO[bytes], size: int, what: str) -> NDArray[Any]:
    """The array of a stream of `size` bytes, whose header is checked first.

    Raises:
        ValueError: for another stream, or for an array of anything but numbers.
    """
    dtype, shape, is_fortran, offset = _read_header(stream, what)
    if dtype.hasobject:
        raise ValueError(f"{what} is an array of Python objects, and nothing is unpickled; store numbers")
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ValueError(f"{what} has the type {dtype}; expected uint8 or float")
    expected = dtype.itemsize * math.prod(shape)
    if offset + expected != size:
        raise ValueError(
            f"{what} is truncated or too long: shape {shape} and type {dtype} need {offset + expected:,} bytes, "
            f"and it has {size:,}"
        )
    if expected > MOST_BYTES:
        raise ValueError(f"{what} has {expected:,} bytes; at most {MOST_BYTES:,} are expected: use uint8")
    buffer = bytearray()
    while len(buffer) < expected:
        part = stream.read(min(READ_AT_ONCE, expected - len(buffer)))
        if not part:
            raise ValueError(f"{what} is truncated: {expected:,} bytes are expected, and it has {len(buffer):,}")
        buffer += part
    if stream.read(1):  # reaches the end of a member of an archive, where its checksum is compared
        raise ValueError(f"{what} has more bytes than its header says")
    array = np.frombuffer(buffer, dtype)
    return array.reshape(shape[::-1]).T if is_fortran else array.reshape(shape)


def _read_header(stream: IO[bytes], what: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """The type, shape and order of a .npy, and the place where its values begin.

    https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    magic = stream.read(8)
    if magic[:6] != b"\x93NUMPY" or magic[6:7] not in (b"\x01", b"\x02"):
        raise ValueError(f"{what} is not an array of numpy's format")
    width = 2 if magic[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > MOST_HEADER:
        raise ValueError(f"{what} has a header of {length:,} bytes")
    facts = ast.literal_eval(stream.read(length).decode("latin1").strip())
    if not isinstance(facts, dict) or facts.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError(f"{what} has a damaged header")
    shape, descr = facts["shape"], facts["descr"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape) or not 1 <= len(shape) <= 4:
        raise ValueError(f"{what} has the shape {shape}; expected one to four dimensions")
    if not isinstance(descr, str):
        raise ValueError(f"{what} has fields; expected plain numbers")
    return np.dtype(descr), shape, bool(facts["fortran_order"]), 8 + width + length
