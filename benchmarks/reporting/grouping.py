"""Which runs share a table: those of one data set, one network and one protocol."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from benchmarks.records.facts import UNKNOWN_NETWORK
from benchmarks.records.runs import Run, ScoreSheet

# a run, and its scores under the table's protocol or None
Member = tuple[Run, ScoreSheet | None]
# data module, id of the data, network, id of the protocol
Key = tuple[str, str, str, str]


def group_runs(runs: Sequence[Run]) -> list[list[Member]]:
    """The runs of each table, in the order of tables.

    Runs without scores stand in every table of their data and network, or in their own. Rows from elsewhere whose network is not
    known stand in every table of their data and protocol, or in their own.
    """
    groups: dict[Key, list[Member]] = defaultdict(list)
    unscored = []
    for run in runs:
        if run.is_trial:
            continue
        for sheet in run.sheets:
            if not run.was_trial or sheet.protocol["split"] == "test":
                groups[_key(run, sheet.protocol_id)].append((run, sheet))
        if not run.sheets:
            unscored.append(run)
    _add_external(groups)
    _add_unscored(groups, runs)
    for run in unscored:
        same_data = [key for key in groups if key[:3] == _key(run, "")[:3]] or [_key(run, "none")]
        for key in same_data:
            groups[key].append((run, None))
    return [members for _, members in sorted(groups.items(), key=lambda item: item[0])]


def _add_external(groups: dict[Key, list[Member]]) -> None:
    """Moves rows from elsewhere whose network is not known into the tables of the same data and protocol, if there are any."""
    for key in [key for key in groups if key[2] == UNKNOWN_NETWORK]:
        others = [other for other in groups if other != key and (*other[:2], other[3]) == (*key[:2], key[3])]
        for other in others:
            groups[other] += groups[key]
        if others:
            del groups[key]


def _add_unscored(groups: Mapping[Key, list[Member]], runs: Sequence[Run]) -> None:
    """Adds to each table the seeds of its rows that have only sheets of other protocols: they count as seeds without a value."""
    by_row: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        if run.sheets and not run.was_trial:
            by_row[(*_key(run, "")[:2], *_row_of(run))].append(run)
    for key, members in groups.items():
        present = {run.path for run, _ in members}
        for row in dict.fromkeys(_row_of(run) for run, _ in members):
            members += [(run, None) for run in by_row.get((*key[:2], *row), []) if run.path not in present]


def _row_of(run: Run) -> tuple[str, str, str]:
    names = run.record["names"]
    return names["network"], names["model"], run.record["config_id"]


def _key(run: Run, protocol_id: str) -> Key:
    names = run.record["names"]
    return names["datamodule"], run.record["data"]["id"], names["network"], protocol_id
