"""Reading the arrays of a .npz file that numpy wrote, from memory: a report reads tens of thousands of such small files.

`numpy.load` and `zipfile` take five times as long. The layout is that of PKWARE's APPNOTE.TXT, sec. 4.3, without the parts that
large archives need. Nothing is unpickled, and nothing unpacks to more than it declares.
"""

import io
import struct
import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# signature, ..., number of entries, size and place of the directory, length of the comment
_END = struct.Struct("<4s6xHLLH")
# signature, ..., method, ..., checksum, sizes packed and unpacked, lengths of name, extra field and comment, ..., place
_ENTRY = struct.Struct("<4s6xH4xLLLHHH8xL")
# signature, ..., lengths of name and extra field
_LOCAL = struct.Struct("<4s22xHH")
_STORED, _DEFLATED = 0, 8


class Npz:
    """The arrays of a .npz file.

    Args:
        content: of the file.
        most: the most bytes that the arrays may have together.

    Raises:
        Exception: of many kinds, for another file.
    """

    def __init__(self, content: bytes, most: int) -> None:
        self._content = content
        # by name: place, method, packed and unpacked size, checksum
        self._entries: dict[str, tuple[int, int, int, int, int]] = {}
        signature, count, _, at, comment = _END.unpack_from(content, len(content) - _END.size)
        if signature != b"PK\5\6" or comment:
            raise ValueError("it is not a file of arrays, or it is not whole")
        for _ in range(count):
            signature, method, checksum, packed, size, *lengths, place = _ENTRY.unpack_from(content, at)
            name = content[at + _ENTRY.size : at + _ENTRY.size + lengths[0]].decode()
            if signature != b"PK\1\2" or method not in (_STORED, _DEFLATED):
                raise ValueError("its directory is damaged")
            self._entries[name.removesuffix(".npy")] = place, method, packed, size, checksum
            at += _ENTRY.size + sum(lengths)
        if sum(size for *_, size, _ in self._entries.values()) > most:  # a small file may unpack to any size
            raise OSError(f"it unpacks to more than {most:,} bytes")

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def content(self, name: str) -> bytes:
        """The content of an array's .npy file."""
        place, method, packed, size, checksum = self._entries[name]
        signature, *lengths = _LOCAL.unpack_from(self._content, place)
        start = place + _LOCAL.size + sum(lengths)
        content = self._content[start : start + packed]
        if method == _DEFLATED:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size)
        if signature != b"PK\3\4" or len(content) != size or zlib.crc32(content) != checksum:
            raise ValueError(f"{name} is damaged")
        return content

    def array(self, name: str) -> NDArray[Any]:
        """An array. It cannot be changed.

        Raises:
            Exception: of many kinds, for a damaged array, or for one of objects, which would be unpickled.
        """
        return array_of(self.content(name))


def array_of(content: bytes) -> NDArray[Any]:
    """The array of a .npy file. Files have few different headers, and to parse one takes longer than all the rest.

    Raises:
        ValueError: for another file, or for an array of objects, which would be unpickled.
    """
    end = 10 + int.from_bytes(content[8:10], "little")  # of the header of version 1
    layout = _layout(content[:end])
    if layout is None:
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    dtype, count = layout
    return np.frombuffer(content, dtype, count, end)


@lru_cache(maxsize=256)
def _layout(header: bytes) -> tuple[np.dtype[Any], int] | None:
    """The type and the number of values of a list of numbers or texts; None for every other array."""
    stream = io.BytesIO(header)
    if np.lib.format.read_magic(stream) != (1, 0):
        return None
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return None if dtype.hasobject or len(shape) != 1 else (dtype, shape[0])
