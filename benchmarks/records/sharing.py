"""Equal parts of records in one piece of memory: the runs of a sweep have the same protocol, packages and units."""

from typing import TypeVar

import msgspec

T = TypeVar("T")

# parts that differ in every run fill the memory of known parts in vain; it is emptied at this size
_MOST = 2**14
_encode = msgspec.json.Encoder().encode
_known: dict[bytes, object] = {}


def shared(part: T) -> T:
    """The part, or an equal part that was read before. Nobody may change it.

    Args:
        part: of JSON. Parts are equal if their JSON is: 1 and 1.0 are two parts.
    """
    if len(_known) >= _MOST:
        _known.clear()
    return _known.setdefault(_encode(part), part)  # type: ignore[return-value]
