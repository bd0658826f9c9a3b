"""Scores that an earlier sheet of the same run has already: those of metrics with the same settings and the same version."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.errors import warn
from benchmarks.metrics.base import Column
from benchmarks.records.examples import Examples, open_examples
from benchmarks.records.runs import Score, ScoreSheet, read_sheets

# the parts of a protocol that are of single metrics, or decide no number
_APART = {"name", "metrics", "versions", "encoder_weights"}


class Known(NamedTuple):
    """The scores of some columns, with their values by example."""

    scores: Sequence[Score]
    examples: Mapping[str, Examples]


class Earlier:
    """The sheets of a run, for a protocol that measures the same run again.

    Args:
        run: its folder; None for none.
        described: the protocol, as its sheets hold it.
    """

    def __init__(self, run: Path | None, described: Mapping[str, Any]) -> None:
        self.run, self.described = run, described
        self.sheets = [] if run is None else list(self._alike(read_sheets(run)))

    def known(self, metric: str, columns: Sequence[Column]) -> Known | None:
        """The scores of a metric's columns, if a sheet has them all; measured by the same code in the same way."""
        for sheet in self.sheets:
            if any(
                _of(sheet.protocol, part, metric) != _of(self.described, part, metric)
                for part in ("metrics", "versions")
            ):
                continue
            by_name = {score.name: score for score in sheet.scores}
            scores = [by_name[column.name] for column in columns if column.name in by_name]
            if len(scores) == len(columns) and not any("broke_down" in score.detail for score in scores):
                return Known(scores, dict(self._examples(sheet, scores)))
        return None

    def _alike(self, sheets: Sequence[ScoreSheet]) -> Iterator[ScoreSheet]:
        """The sheets of protocols that differ in their metrics alone."""
        keys = self.described.keys() - _APART
        for sheet in sheets:
            if sheet.status == "scored" and all(sheet.protocol.get(key) == self.described[key] for key in keys):
                yield sheet

    def _examples(self, sheet: ScoreSheet, scores: Sequence[Score]) -> Iterator[tuple[str, Examples]]:
        """The values by example of some scores. Damaged values cost a line: the scores are reused without them."""
        assert self.run is not None
        file = open_examples(self.run, sheet.filename)  # says itself if the whole file is damaged
        lost = [score.name for score in scores if score.name in file and file.values(score.name) is None]
        if lost:
            warn(
                f"{self.run}: the values by example of {', '.join(lost)} under {sheet.filename} are damaged, and the new sheet "
                "has the scores without them; reuse=false measures them anew"
            )
        for score in scores:
            values = file.values(score.name)
            if values is not None:
                yield score.name, values


def _of(protocol: Mapping[str, Any], part: str, metric: str) -> Any:
    return (protocol.get(part) or {}).get(metric)
