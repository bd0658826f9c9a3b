"""A table of the leaderboard: its rows, its columns, its cells."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.records.columns import BY_NAME, OTHER, PARTS
from benchmarks.records.facts import Facts, run_facts
from benchmarks.records.files import file_name
from benchmarks.records.runs import Run, ScoreSheet, Status
from benchmarks.reporting.alone import SPEEDS, incomparable, with_speeds
from benchmarks.reporting.cells import Cell
from benchmarks.reporting.numbers import number
from benchmarks.reporting.seed_statistics import MIN_SEEDS, Difference

ARROWS = {True: "↑", False: "↓", None: ""}


@dataclass(frozen=True)
class ColumnHead:
    """The header of a column. `title` also names what the numbers depend on, for example the feature encoder."""

    name: str
    title: str
    unit: str
    higher_is_better: bool | None

    @property
    def heading(self) -> str:
        """The title, unit and direction."""
        unit = f" [{self.unit}]" if self.unit else ""
        return f"{self.title}{unit} {ARROWS[self.higher_is_better]}".rstrip()


@dataclass(frozen=True)
class Row:
    """One configuration of a model over its seeds, or a baseline row, which has no seeds.

    Args:
        label: unique within the table.
        model: the family; a baseline's own name.
        config_id: of the configuration; empty for a baseline.
        runs: one a seed.
        cells: by column.
        is_baseline: whether the row is real data or noise.
        diverged: runs that finished training but whose samples are not finite.
        measured: by the seed of each finished run, the scores and costs that have a number.
        known_facts: the facts of its first run, if they have been read before.
    """

    label: str
    model: str
    config_id: str
    runs: Sequence[Run] = ()
    cells: Mapping[str, Cell] = field(default_factory=dict)
    is_baseline: bool = False
    diverged: frozenset[Path] = frozenset()
    measured: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    known_facts: Facts | None = None

    def values(self, column: str) -> list[float]:
        """The numbers of a column, one a seed."""
        return self._by_column.get(column, [])

    @cached_property
    def facts(self) -> Facts:
        """What the row is besides its method; nothing for a baseline, and for a configuration that cannot be read."""
        if self.known_facts is not None:
            return self.known_facts
        return run_facts(self.runs[0]) if self.runs else {}

    @cached_property
    def paths(self) -> dict[int, Path]:
        """The folders of its runs by seed."""
        return {int(run.record["seed"]): run.path for run in self.runs}

    @cached_property
    def _by_column(self) -> dict[str, list[float]]:
        return values_by_column(self.measured)

    def ended(self, run: Run) -> Status:
        """How a run of the row ended. A run whose samples are not finite diverged, whatever its losses were."""
        return "diverged" if run.path in self.diverged else run.status

    def count(self, status: Status) -> int:
        """The number of seeds that ended with this status."""
        return sum(self.ended(run) == status for run in self.runs)

    def why_not(self, column: str) -> str:
        """Why a column has no number."""
        cell = self.cells.get(column)
        if cell is not None and cell.reason:
            return cell.reason
        if self.runs and not self.count("finished"):
            return f"no seed finished ({self.seeds.removeprefix('0, ')})"
        return "was not measured"

    def has_any(self, columns: Sequence[ColumnHead]) -> bool:
        """Whether any of the columns has a number."""
        return any(self.cells[c.name].mean is not None for c in columns if c.name in self.cells)

    @cached_property
    def seeds(self) -> str:
        """The number of finished seeds, and of seeds that diverged or failed."""
        if self.is_baseline:
            return "—"
        counts = Counter(map(self.ended, self.runs))
        lost = [f"{n} {status}" for status in ("diverged", "failed") if (n := counts[status])]
        return ", ".join([str(counts["finished"]), *lost])


@dataclass(frozen=True)
class Comparison:
    """Two rows on one column, a less b. `adjusted_p` is corrected over the pairs of the column (Holm)."""

    column: str
    a: str
    b: str
    difference: Difference
    adjusted_p: float


@dataclass(frozen=True)
class Table:
    """Rows that may be compared: one data set, one network, one protocol.

    Args:
        datamodule, network: their names.
        data: the record's facts about the data.
        protocol, protocol_id: of every score.
        columns: that have a number in any row, in the order of the page.
        rows: models, then baselines.
        comparisons: of pairs of rows with enough seeds.
        min_seeds: rows with fewer finished seeds have no intervals, ranks and comparisons.
    """

    datamodule: str
    network: str
    data: Mapping[str, Any]
    protocol: Mapping[str, Any]
    protocol_id: str
    columns: Sequence[ColumnHead]
    rows: Sequence[Row]
    comparisons: Sequence[Comparison] = ()
    min_seeds: int = MIN_SEEDS

    @cached_property
    def measured(self) -> frozenset[str]:
        """The scores and costs that have a number in any row of a model."""
        return frozenset(name for row in self.rows for scores in row.measured.values() for name in scores)

    @property
    def sheet_name(self) -> str:
        """The name of the table's score sheets in the folder of a run."""
        return ScoreSheet(dict(self.protocol), self.protocol_id, "scored", []).filename

    @property
    def models(self) -> list[Row]:
        """The rows without the baselines."""
        return [row for row in self.rows if not row.is_baseline]

    @cached_property
    def baselines(self) -> dict[str, Row]:
        """The baseline rows by label."""
        return {row.label: row for row in self.rows if row.is_baseline}

    @property
    def parts(self) -> list[tuple[str, list[ColumnHead], list[Row]]]:
        """The table in parts that fit a page. A part has the baselines that have a number in it."""
        if not self.columns:  # no run has a score, but the table still shows how the runs ended
            return [("Runs", [], list(self.rows))]
        parts = []
        for part in PARTS:
            columns = [column for column in self.columns if _part(column.name) == part]
            rows = [row for row in self.rows if not row.is_baseline or row.has_any(columns)]
            parts.append((part, columns, rows))
        return [part for part in parts if part[1]]

    @property
    def is_points(self) -> bool:
        """Whether the examples are points and not images."""
        return len(self.data.get("shape", ())) == 1

    @property
    def title(self) -> str:
        return f"{self.datamodule} · {self.network}"

    @property
    def slug(self) -> str:
        """A name for files and keys: letters, digits, dashes and underscores."""
        return file_name("-".join([self.datamodule, self.network, self.data["id"], self.protocol_id]))

    @cached_property
    def notes(self) -> str:
        """What the numbers depend on."""
        protocol, data = self.protocol, self.data
        facts = [f"protocol {protocol['name']} ({self.protocol_id})", f"{protocol['split']} split"]
        if protocol.get("encoder"):
            reference = min(data["sizes"][protocol["split"]], protocol.get("examples") or math.inf)
            facts.append(f"{protocol['samples']:,} samples against {reference:,} real images")
        facts.append(f"data {data['id']}")
        if data.get("leave_out") is not None:
            facts.append(f"class {data['leave_out']} left out")
        if data["binarize"] != "none":
            facts.append(f"{data['binarize']} binarisation")
        if data["dequantize"]:
            facts.append("dequantised")
        budgets = {budget_text(run.record) for row in self.models for run in row.runs} - {None}
        if budgets:
            different = "the rows have DIFFERENT budgets: best, †, ranks and p-values are among rows of one budget"
            facts.append(f"budget {budgets.pop()} each" if len(budgets) == 1 else different)
        return ", ".join(facts)

    @cached_property
    def remarks(self) -> list[str]:
        """What a reader should know: a line for each remark on a row from elsewhere, with its seeds; where speeds come from; why
        a baseline has no number at all."""
        seeds: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in self.models:
            for run in row.runs:
                for remark in (run.record.get("external") or {}).get("remarks") or ():
                    seeds[row.label, remark].append(str(run.record["seed"]))
        of_rows = [f"{label} (seed {', '.join(own)}): {remark}" for (label, remark), own in seeds.items()]
        return [*of_rows, *self._origin_of_speeds(), *self._missing_baselines()]

    def _origin_of_speeds(self) -> list[str]:
        """How speeds were measured, if they are not those of the training."""
        runs = [run for row in self.models for run in with_speeds(row)]
        ids = [run.costs["together"] for run in runs if run.costs is not None]
        if not ids:
            return []
        said = "speeds of training and sampling were measured after training, in turns (python -m benchmarks.costs)"
        if SPEEDS.isdisjoint(incomparable(self.models)):
            return [said]
        n = len(set(ids))
        where = f"for {len(ids)} of {len(runs)} runs, in {n} measurement{'' if n == 1 else 's'}"
        if len(ids) == len(runs) and n == 1:
            where = "on different devices, processors or numbers of threads"
        return [f"{said}, {where}; speeds are not compared"]

    def _missing_baselines(self) -> list[str]:
        """The baselines without any number, which no part of the table shows."""
        of_samples = [column.name for column in self.columns if _part(column.name) == PARTS[0]]
        missing = [row for row in self.baselines.values() if of_samples and not row.has_any(self.columns)]
        return [f"{row.label} is missing: {row.why_not(of_samples[0])}" for row in missing]

    @cached_property
    def too_few(self) -> str | None:
        """Names the rows that have too few seeds for statistics; None if there is no such row."""
        counts = [(row, row.count("finished")) for row in self.models]
        few = [f"{row.label} ({count})" for row, count in counts if count < self.min_seeds]
        if not few:
            return None
        more = f" and {len(few) - 8} more rows" if len(few) > 8 else ""
        return (
            f"Too few seeds for intervals, ranks and comparisons ({self.min_seeds} finished seeds are needed): "
            f"{', '.join(few[:8])}{more}."
        )


def values_by_column(measured: Mapping[int, Mapping[str, float]]) -> dict[str, list[float]]:
    """From the scores of each seed to the values of each score, in order of the seeds."""
    seeds = list(measured.values())
    if seeds and all(scores.keys() == seeds[0].keys() for scores in seeds[1:]):  # as most rows; a fifth of the time
        return {column: [scores[column] for scores in seeds] for column in seeds[0]}
    columns: dict[str, list[float]] = defaultdict(list)
    for scores in seeds:
        for column, value in scores.items():
            columns[column].append(value)
    return dict(columns)


def budget_text(record: Mapping[str, Any]) -> str | None:
    """The budget of a run in words; None if the record has none."""
    budget = record.get("budget")
    return f"{number(budget['amount'])} {budget['unit']}" if budget else None


def _part(column: str) -> str:
    return BY_NAME[column].part if column in BY_NAME else OTHER
