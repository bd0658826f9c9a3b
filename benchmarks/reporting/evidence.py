"""The evidence for a claim: the values of its sides, from the rows of a table or from the trials of a search."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.records.columns import COST, columns_in
from benchmarks.records.runs import Run
from benchmarks.records.searches import Search
from benchmarks.reporting.claims import Claim, Side, evaluate
from benchmarks.reporting.seed_statistics import Array
from benchmarks.reporting.table import Table, budget_text

COSTS = frozenset(column.name for column in columns_in(COST))


@dataclass(frozen=True)
class Group:
    """The values of one side of a claim, one a run.

    Args:
        label: of the row.
        values: one a run.
        runs: their folders.
        lost: the number of runs without a value: seeds that diverged, or trials without a value for any reason.
        budget: of each run, in words. Rows with different budgets are not compared.
    """

    label: str
    values: Array
    runs: tuple[Path, ...]
    lost: int = 0
    budget: str | None = None


# by whether the side is on the right, and by the side: one group for each row that the side names
Groups = dict[tuple[bool, Side], list[Group]]


def table_groups(claim: Claim, tables: Sequence[Table]) -> list[tuple[Table, Groups]]:
    """The groups of a claim on each table.

    A run costs the same under every protocol, so a claim on costs is answered only on the table with the most values,
    among the tables of one data set and network.
    """
    grouped = [(table, _row_groups(claim, table)) for table in tables]
    if not claim.scores <= COSTS:
        return grouped
    largest: dict[tuple[str, str, str], tuple[Table, Groups]] = {}
    for table, groups in grouped:
        place = (table.datamodule, table.network, table.data["id"])
        if place not in largest or _size(groups) > _size(largest[place][1]):
            largest[place] = (table, groups)
    return list(largest.values())


def trial_groups(claim: Claim, search: Search, runs: Mapping[Path, Run]) -> Groups:
    """The groups of a claim over the trials of a search: one for each model, of the trials that have a value.

    Args:
        claim: over trials.
        search: its trials.
        runs: by resolved path; the runs of the trials are among them.
    """
    groups: Groups = {}
    for is_right, side in claim.sides:
        quantity = claim.quantity_of(is_right)
        values, paths = [], []
        for trial in search.trials.get(side.model, []):
            run = runs.get((search.runs_dir / trial.run).resolve())
            sheets = [sheet for sheet in run.sheets if sheet.protocol_id == search.record["protocol_id"]] if run else []
            for sheet in sheets:
                value = evaluate(quantity, {s.name: s.value for s in sheet.scores if s.value is not None})
                if value is not None and run is not None:
                    values.append(value)
                    paths.append(run.path)
        if values:
            lost = len(search.trials[side.model]) - len(values)
            label = f"{side.name} ({len(values)} trials)"
            groups[is_right, side] = [Group(label, np.array(values), tuple(paths), lost)]
    return groups if _applies(claim, search.record["datamodule"]) else {}


def distinct_groups(pairs: Iterable[tuple[Group, Group | float]]) -> list[Group]:
    """The groups of some pairs, each once."""
    return list({id(group): group for pair in pairs for group in pair if isinstance(group, Group)}.values())


def missing_sides(
    claim: Claim, groups: Groups, same_budget: Sequence[tuple[Group, Group | float]], tested: Sequence[Group]
) -> Iterator[str]:
    """The models that a claim names and that no test includes, each with the reason.

    Args:
        claim: the claim.
        groups: all its groups.
        same_budget: the pairs with equal budgets.
        tested: the groups with enough values.
    """
    tested_ids, comparable_ids = ({id(group) for group in part} for part in (tested, distinct_groups(same_budget)))
    for is_right, side in claim.sides:
        side_ids = {id(group) for group in groups.get((is_right, side), [])}
        if not side_ids:
            yield f"{side.name}, which has no such scores"
        elif not side_ids & comparable_ids:
            yield f"{side.name}, which has had another budget"
        elif not side_ids & tested_ids:
            yield f"{side.name}, which has too few {'trials' if claim.over == 'trials' else 'seeds'}"


def _row_groups(claim: Claim, table: Table) -> Groups:
    groups: Groups = {}
    for is_right, side in claim.sides:
        quantity = claim.quantity_of(is_right)
        for row in table.rows:
            if not side.matches(row):
                continue
            paths = {int(run.record["seed"]): run.path for run in row.runs}
            by_seed = {seed: evaluate(quantity, scores) for seed, scores in row.measured.items()}
            values = {seed: value for seed, value in by_seed.items() if value is not None}
            if values:
                runs = tuple(paths[seed] for seed in values)
                lost = sum(row.ended(run) == "diverged" for run in row.runs if int(run.record["seed"]) not in values)
                budget = budget_text(row.runs[0].record)
                group = Group(row.label, np.array(list(values.values())), runs, lost, budget)
                groups.setdefault((is_right, side), []).append(group)
    return groups if _applies(claim, table.datamodule) else {}


def _size(groups: Groups) -> tuple[int, int]:
    """The number of sides that have values, and the number of values."""
    return len(groups), sum(len(group.values) for side_groups in groups.values() for group in side_groups)


def _applies(claim: Claim, datamodule: str) -> bool:
    return not claim.datamodules or datamodule in claim.datamodules
