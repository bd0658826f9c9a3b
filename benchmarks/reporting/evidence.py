"""The evidence for a claim: the values of its sides, from the rows of a table or from the trials of a search."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.records.columns import COST, columns_in
from benchmarks.records.examples import ExampleFile, open_examples
from benchmarks.records.facts import Facts, differences
from benchmarks.records.runs import Run
from benchmarks.records.searches import Search
from benchmarks.reporting.alone import MACHINE, MOST_NEIGHBOURS, SPEEDS, TIMES, TRAINED, measured_together
from benchmarks.reporting.claims import Claim, Side, Specification
from benchmarks.reporting.quantities import evaluate, example_values, in_words, names_in
from benchmarks.reporting.seed_statistics import Array
from benchmarks.reporting.table import Row, Table

NOT_RECORDED = "not recorded"
COSTS = frozenset(column.name for column in columns_in(COST))


@dataclass(frozen=True, eq=False)
class Group:
    """The values of one side of a claim, one a run.

    Args:
        label: of the row.
        values: one a run.
        runs: their folders.
        lost: the number of runs without a value: runs that diverged or failed, or whose score has no number.
        facts: what the row is besides its method. Rows with other facts are not compared.
        examples: the quantity by example, (examples,), its mean over the runs that have such values; None if the quantity is no
            mean over examples.
        of: the number of examples that the mean is over.
        floor: why the row cannot be tested: it has learned too little, or its times were measured beside other work; empty if
            it can.
    """

    label: str
    values: Array
    runs: tuple[Path, ...]
    lost: int = 0
    facts: Facts = field(default_factory=dict)
    examples: Array | None = None
    of: int = 0
    floor: str = ""


class Asked(NamedTuple):
    """What a claim asks of a row under a specification: its quantity, the quantity as the claim has it, and the row's floors."""

    quantity: str
    as_written: str
    floors: tuple[tuple[str, str], ...]
    least: tuple[str, float] | None


# by whether the side is on the right, and by the side: one group for each row that the side names
Groups = dict[tuple[bool, Side], list[Group]]


class RowGroups:
    """The groups of the rows of some tables, each made once: many claims and specifications ask for the same quantity.

    The groups of a row are made together, because the values by example of its runs are then read once.
    """

    def __init__(self, claims: Sequence[Claim], tables: Sequence[Table]) -> None:
        self._groups: dict[tuple[int, Asked], Group] = {}
        self._rows: dict[tuple[int, Side], list[Row]] = {}
        self._asked: dict[Side, dict[Asked, None]] = {}
        for claim in claims:
            for specification in claim.specifications if claim.over == "seeds" else ():
                for is_right, side in claim.sides:
                    self._asked.setdefault(side, {})[_asked(claim, specification, is_right)] = None
        self._tables = tables  # so that the ids of the tables and of their rows stay theirs
        for table in tables:
            measured = {
                side: [each for each in asked if names_in(each.quantity) <= table.measured]
                for side, asked in self._asked.items()
            }
            for row in table.rows:
                files = _files(row, table)
                for side, asked in measured.items():
                    if side.matches(row):
                        self._rows.setdefault((id(table), side), []).append(row)
                        for each in asked:
                            self._groups[id(row), each] = _row_group(row, each, table, files)

    def of(self, claim: Claim, specification: Specification, table: Table) -> Groups:
        """The groups of a claim on a table, under one specification.

        A row without any number counts if another row of its side has numbers, or if one of its runs did not finish.

        A run without a number for the claim as written is in no test of the claim: what has not converged with all temperatures
        has not converged with a quarter of them.
        """
        groups: Groups = {}
        for is_right, side in claim.sides:
            asked = _asked(claim, specification, is_right)
            if not names_in(asked.quantity) <= table.measured:
                continue
            rows = self._rows.get((id(table), side), ())
            of_rows = [self._groups[id(row), asked] for row in rows]
            applies = any(len(group.values) for group in of_rows)  # otherwise the score may not apply to the model
            if found := [group for row, group in zip(rows, of_rows, strict=True) if applies or not _all_finished(row)]:
                groups.setdefault((is_right, side), []).extend(found)
        return groups


def answering_tables(claim: Claim, tables: Sequence[Table], rows: RowGroups) -> list[list[Table]]:
    """The tables that answer a claim, in groups: the tables of one data set and protocol differ in their network only.

    A run costs the same under every protocol, so a claim on costs is answered only on the table with the most values,
    among the tables of one data set and network.
    """
    tables = [table for table in tables if not claim.datamodules or table.datamodule in claim.datamodules]
    if claim.scores <= COSTS:
        largest: dict[tuple[str, str, str], tuple[tuple[int, int], Table]] = {}
        for table in tables:
            place = (table.datamodule, table.data["id"], table.network)
            size = _size(rows.of(claim, claim.specifications[0], table))
            if place not in largest or size > largest[place][0]:
                largest[place] = (size, table)
        by_data: dict[tuple[str, ...], list[Table]] = {}
        for place, (_, table) in largest.items():
            by_data.setdefault(place[:2], []).append(table)
        return list(by_data.values())
    grouped: dict[tuple[str, ...], list[Table]] = {}
    for table in tables:
        grouped.setdefault((table.datamodule, table.data["id"], table.protocol_id), []).append(table)
    return list(grouped.values())


def trial_groups(claim: Claim, search: Search, runs: Mapping[Path, Run]) -> Groups:
    """The groups of a claim over the trials of a search: one for each model, of the trials that have a value.

    Args:
        claim: over trials.
        search: its trials.
        runs: by resolved path; the runs of the trials are among them.
    """
    groups: Groups = {}
    (specification,) = claim.specifications
    for is_right, side in claim.sides:
        quantity = specification.quantity_of(is_right)
        values, paths = list[float](), list[Path]()
        for trial in search.trials.get(side.model, []):
            run = runs.get((search.runs_dir / trial.run).resolve())
            sheets = [sheet for sheet in run.sheets if sheet.protocol_id == search.record["protocol_id"]] if run else []
            for sheet in sheets:
                value = evaluate(quantity, {s.name: s.value for s in sheet.scores if s.value is not None})
                if value is not None and run is not None and run.path not in paths:
                    values.append(value)
                    paths.append(run.path)
        if values:
            lost = len(search.trials[side.model]) - len(values)
            label = f"{side.name} ({len(values)} trials)"
            groups[is_right, side] = [Group(label, np.array(values), tuple(paths), lost)]
    applies = not claim.datamodules or search.record["datamodule"] in claim.datamodules
    return groups if applies else {}


def matched(a: Group, b: Group | float) -> bool:
    """Whether two rows are the same in everything besides their method."""
    return not isinstance(b, Group) or not differences(a.facts, b.facts)


def why_unmatched(left: Sequence[Group], right: Sequence[Group]) -> str:
    """What the most similar rows of two sides differ in besides their method."""
    pairs = ((differences(a.facts, b.facts), a, b) for a in left for b in right)
    titles, a, b = min(pairs, key=lambda pair: len(pair[0]))
    shown = [
        f"{title} ({a.facts.get(title, NOT_RECORDED)} against {b.facts.get(title, NOT_RECORDED)})"
        for title in titles[:3]
    ]
    return f"{a.label} and {b.label} differ in {', '.join(shown)}"


def _asked(claim: Claim, specification: Specification, is_right: bool) -> Asked:
    quantity, as_written = specification.quantity_of(is_right), claim.quantity_of(is_right)
    return Asked(quantity, as_written, specification.floors, specification.least)


def _files(row: Row, table: Table) -> Callable[[int], ExampleFile]:
    """By seed, the values by example of a row; each file is opened when it is asked for."""
    return cache(lambda seed: open_examples(row.paths[seed], table.sheet_name))


def _row_group(row: Row, asked: Asked, table: Table, files: Callable[[int], ExampleFile]) -> Group:
    quantity, as_written = asked.quantity, asked.as_written
    by_seed = {seed: evaluate(quantity, scores) for seed, scores in row.measured.items()}
    values = {
        seed: value
        for seed, value in by_seed.items()
        if value is not None and (quantity == as_written or evaluate(as_written, row.measured[seed]) is not None)
    }
    runs = tuple(row.paths[seed] for seed in values)
    examples, of = example_values(quantity, map(files, values), [row.measured[seed] for seed in values])
    return Group(
        label=row.label,
        values=np.array(list(values.values())),
        runs=runs,
        lost=len(row.runs) - len(values),
        facts={**row.facts, **(_machine(row, as_written) if _depends_on_machine(row, as_written) else {})},
        examples=None if examples is None else examples.mean(0),
        of=of,
        floor=_below_floor(row, asked, table) or _beside_others(row, as_written),
    )


def _all_finished(row: Row) -> bool:
    return all(row.ended(run) == "finished" for run in row.runs)


def _depends_on_machine(row: Row, quantity: str) -> bool:
    """Whether a faster machine gives other values: costs, and every score after a budget of seconds."""
    return names_in(quantity) <= COSTS or row.facts.get("budget", "").endswith(" seconds")


def _machine(row: Row, quantity: str) -> dict[str, str]:
    """The machine of a row: a cost on one machine says nothing of a cost on another. A row whose seeds ran on several machines
    is like no other row, and neither is a row whose speeds are from several measurements."""
    names = names_in(quantity)
    measured = [run.costs["environment"] for run in row.runs if run.costs is not None] if names & SPEEDS else []
    # speeds of a measurement do not depend on where the runs were trained, lost runs among them
    trained = [
        run.record.get("environment")
        for run in row.runs
        if not measured or names - SPEEDS or (run.costs is None and run.status == "finished")
    ]
    facts = {
        key: {str(env[key]) for env in (*measured, *trained) if isinstance(env, Mapping) and key in env}  # type: ignore[literal-required]
        for key in MACHINE
    }
    if measured:
        facts["measurement of speeds"] = {id or "during training" for id in measured_together(row)}
    return {
        key: next(iter(values)) if len(values) == 1 else f"{' or '.join(sorted(values))} in {row.label}"
        for key, values in facts.items()
        if values
    }


def _beside_others(row: Row, quantity: str) -> str:
    """Why times of a row are no times of a run alone; empty if other programs left the machine to it, or if nobody knows, or if
    speeds were measured in turns."""
    names = names_in(quantity)
    times, others = names & TIMES, names - TIMES
    if times & SPEEDS and not measured_together(row) <= {""}:
        times -= SPEEDS
    is_timed = bool(times) or (bool(others) and row.facts.get("budget", "").endswith(" seconds"))
    busiest = max(row.values("neighbours"), default=0.0) if is_timed else 0.0
    if busiest <= MOST_NEIGHBOURS:
        return ""
    advice = "; python -m benchmarks.costs measures speeds" if times & SPEEDS else ""
    environments = (run.record.get("environment") for run in row.runs)
    seeds = max((env.get("seeds_together", 1) for env in environments if isinstance(env, Mapping)), default=1)
    if seeds > 1:  # whatever else the machine did
        return f"{row.label}{TRAINED}{seeds} seeds at a time{advice}"
    return f"{row.label}{TRAINED}beside other work, which kept up to {busiest:.1f} processors busy{advice}"


def _below_floor(row: Row, asked: Asked, table: Table) -> str:
    """Why a row has learned too little to be in a test; empty if it has learned enough."""
    if asked.least is not None:
        score, number = asked.least
        values = row.values(score)
        if values and sum(values) / len(values) <= number:
            return f"the {in_words(score)} of {row.label} is not above {number:g}"
    known = [floor for floor in asked.floors if floor[1] in table.baselines]
    reasons = (_not_above(row, score, name, table) for score, name in known or asked.floors)
    return next((reason for reason in reasons if reason), "")


def _not_above(row: Row, score: str, name: str, table: Table) -> str:
    baseline = table.baselines.get(name)
    column = next((column for column in table.columns if column.name == score), None)
    cells = [of.cells.get(score) for of in (row, baseline) if of is not None]
    means = [cell.mean for cell in cells if cell is not None and cell.mean is not None]
    if column is None or column.higher_is_better is None or len(means) < 2:
        return f"the {in_words(score)} of {row.label} cannot be compared with the row {name!r}"
    is_better = means[0] > means[1] if column.higher_is_better else means[0] < means[1]
    return "" if is_better else f"the {in_words(score)} of {row.label} is not better than that of the row {name!r}"


def _size(groups: Groups) -> tuple[int, int]:
    """The number of sides that have values, and the number of values."""
    return len(groups), sum(len(group.values) for side_groups in groups.values() for group in side_groups)
