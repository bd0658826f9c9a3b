"""Reads the runs of a large report in two processes. What the fork has read is sent as numbers and as parts that runs share."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.records.files import RecordError
from benchmarks.records.runs import Run, RunOrError, Score, ScoreSheet, read_each
from benchmarks.records.schemas import MeasuredCosts
from benchmarks.reporting.cores import are_many, beside

# the name, unit, direction, number of examples and detail of a score
_Head = tuple[str, str, bool | None, int, dict[str, Any]]


class _PackedSheet(NamedTuple):
    """A score sheet; the heads of its scores are at a place in a list of all heads, and apart from the values."""

    protocol: dict[str, Any]
    protocol_id: str
    status: Any
    heads: int
    values: list[float | None]


class _Packed(NamedTuple):
    """What was read: for each folder a record with sheets and costs, an error in words, or None; and the heads of all sheets."""

    runs: list[tuple[dict[str, Any], list[_PackedSheet], MeasuredCosts | None] | str | None]
    heads: list[list[_Head]]


def read_beside(paths: Sequence[Path]) -> Iterator[tuple[Path, RunOrError]]:
    """As `read_each`. Of many runs, a fork reads the second half."""
    if not are_many(len(paths)):
        yield from read_each(paths)
        return
    half = len(paths) // 2
    with beside(lambda: _packed(paths[half:]), pays=True) as packed:
        first = list(read_each(paths[:half]))
    yield from first
    yield from _unpacked(paths[half:], packed[0])


def _packed(paths: Sequence[Path]) -> _Packed:
    packed = _Packed([], [])
    places: dict[tuple[object, ...], int] = {}

    def place(scores: Sequence[Score]) -> int:
        """Of the heads of some scores; most sheets have the same."""
        key = tuple([(s.name, s.unit, s.higher_is_better, s.n, id(s.detail)) for s in scores])  # equal details are one
        if key not in places:
            places[key] = len(packed.heads)
            packed.heads.append([(s.name, s.unit, s.higher_is_better, s.n, s.detail) for s in scores])
        return places[key]

    for _, read in read_each(paths):
        if isinstance(read, Run):
            sheets = [
                _PackedSheet(of.protocol, of.protocol_id, of.status, place(of.scores), [s.value for s in of.scores])
                for of in read.sheets
            ]
            packed.runs.append((read.record, sheets, read.costs))
        else:
            packed.runs.append(None if read is None else str(read))
    return packed


def _unpacked(paths: Sequence[Path], packed: _Packed) -> Iterator[tuple[Path, RunOrError]]:
    for path, read in zip(paths, packed.runs, strict=True):
        if isinstance(read, tuple):
            record, sheets, costs = read
            yield path, Run(path, record, [_sheet(sheet, packed.heads[sheet.heads]) for sheet in sheets], costs)
        else:
            yield path, None if read is None else RecordError(read)


def _sheet(packed: _PackedSheet, heads: Sequence[_Head]) -> ScoreSheet:
    scores = [Score(head[0], value, *head[1:]) for head, value in zip(heads, packed.values, strict=True)]
    return ScoreSheet(packed.protocol, packed.protocol_id, packed.status, scores)
