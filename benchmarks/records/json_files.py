"""Reading JSON against a declared type of `benchmarks.records.schemas`: one line names the file, the key and what is expected."""

import re
import reprlib
from collections.abc import Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from benchmarks.errors import one_line
from benchmarks.records.files import MOST_BYTES, SCHEMA, RecordError, read_bytes

T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T:
    """Reads a record with its schema, checked against its declared type of `benchmarks.records.schemas`.

    Raises:
        RecordError: for a damaged file, a file that is not a record, a record of a newer schema, or values of other types.
    """
    content = _content(path)
    value = _decoded(path, content, kind, of_schema=True)
    if (schema := value["schema"]) > SCHEMA:  # type: ignore[index]
        raise _newer(path, schema)
    return value


def read_plain_json(path: Path, kind: type[T]) -> T:
    """Reads JSON that has no schema, checked against its declared type.

    Raises:
        RecordError: for a damaged file, or values of other types.
    """
    return _decoded(path, _content(path), kind, of_schema=False)


def check_kind(path: Path, value: Any, kind: Any, at: str = "") -> None:
    """Checks a part of a record, which lies at the dotted key `at`, against a declared type.

    Raises:
        RecordError: for values of other types.
    """
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _wrong(path, value, error, at) from error


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is damaged ({one_line(error)}); restore it or move it away") from error


def _decoded(path: Path, content: bytes, kind: type[T], of_schema: bool) -> T:
    try:
        decoded: T = _decoder(cast(Hashable, kind)).decode(content)
        return decoded
    except msgspec.ValidationError as error:
        try:
            value = msgspec.json.decode(content)
        except (ValueError, RecursionError):  # what follows the wrong value is damaged too
            value = {}
        else:
            _check_schema(path, value, of_schema)
        missing = [key for key in getattr(kind, "__required_keys__", ()) if key not in value]
        if value and missing:
            in_order = [key for key in kind.__annotations__ if key in missing]
            raise RecordError(f"{path} lacks {', '.join(in_order)}; restore it or move it away") from error
        raise _wrong(path, value, error) from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is damaged ({one_line(error)}); restore it or move it away") from error


@lru_cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast(Any, kind))


def _check_schema(path: Path, value: Any, of_schema: bool) -> None:
    schema = value.get("schema", 0 if not of_schema else None) if isinstance(value, dict) else None
    if type(schema) is not int:
        raise RecordError(f"{path} is not a genbench record; move it away")
    if of_schema and schema > SCHEMA:
        raise _newer(path, schema)


def _newer(path: Path, schema: Any) -> RecordError:
    return RecordError(
        f"{path} has schema {str(schema)[:40]}, and this genbench reads schemas up to {SCHEMA}: install a newer genbench"
    )


def _wrong(path: Path, value: Any, error: msgspec.ValidationError, at: str = "") -> RecordError:
    """The error for a value of another type: names the file, the key, the value, and what is expected."""
    what, _, place = str(error).partition(" - at `$")
    key = (at + place.removesuffix("`")).removeprefix(".")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", what):
        key = f"{key}.{missing[1]}".removeprefix(".")
        return RecordError(f"{path} lacks {key}; restore the record or move it away")
    shown = reprlib.repr(_value_at(value, place.removesuffix("`")))
    expected = what.replace("`", "").replace("Expected ", "expected ").partition(", got")[0]
    expected = expected if expected.startswith("expected ") else f"{expected.lower()}; expected a finite number"
    return RecordError(f"{path} has {key or 'the value'} {shown}: {expected}; restore the record or move it away")


def _value_at(value: Any, place: str) -> Any:
    """The value at a path of msgspec, `.data.sizes`; the nearest value above it where the path names no key, `[...]`."""
    for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", place.partition("[...]")[0]):
        try:
            value = value[key] if key else value[int(index)]
        except (LookupError, TypeError):
            return value
    return value
