"""Equal parts of records in one piece of memory: the runs of a sweep have the same protocol, packages and units."""

import sys
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
# the name, the unit and the detail of a score
Head = tuple[str, str, dict[str, Any]]

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


def shared_head(name: str, unit: str, detail: dict[str, Any]) -> Head | None:
    """What a score has besides its value, if an equal head was kept before: it has been checked, too. Nobody may change it."""
    return _known.get(_encode((name, unit, detail)))


def keep_head(name: str, unit: str, detail: dict[str, Any]) -> Head:
    """Keeps a head that has been checked. It is shared as a whole; names and units are shared alone too."""
    return _keep(_encode((name, unit, detail)), (sys.intern(name), sys.intern(unit), detail))


def _keep(key: bytes, part: T) -> T:
    if len(_known) >= _MOST:
        _known.clear()
    kept: T = _known.setdefault(key, part)
    return kept
