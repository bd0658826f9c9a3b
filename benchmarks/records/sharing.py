"""Equal parts of records in one piece of memory: the runs of a sweep have the same protocol, packages and units."""

import sys
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

# parts that differ in every run fill the memory of known parts in vain; it is emptied at this size
_MOST = 2**14
_encode = msgspec.json.Encoder().encode
_known: dict[bytes, Any] = {}


def shared(part: T) -> T:
    """The part, or an equal part that was read before. Nobody may change it.

    Args:
        part: of JSON. Parts are equal if their JSON is: 1 and 1.0 are two parts.
    """
    return _keep(_encode(part), part)


def shared_head(name: str, unit: str, detail: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """What a score has besides its value, shared as a whole; names and units are shared alone too. Nobody may change it."""
    key = _encode((name, unit, detail))
    known: tuple[str, str, dict[str, Any]] | None = _known.get(key)
    return known or _keep(key, (sys.intern(name), sys.intern(unit), detail))


def _keep(key: bytes, part: T) -> T:
    if len(_known) >= _MOST:
        _known.clear()
    kept: T = _known.setdefault(key, part)
    return kept
