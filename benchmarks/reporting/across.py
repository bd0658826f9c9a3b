"""What a report says across data sets: how families rank, how often a run of one is better than a run of another, which share of
their runs is how good, and which rows no other row dominates."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from benchmarks.records.columns import BY_NAME
from benchmarks.records.files import digest
from benchmarks.reporting.across_statistics import (
    Draws,
    Estimate,
    draw_runs,
    mean_ranks,
    probability_of_improvement,
    profile,
)
from benchmarks.reporting.alone import TIMES, incomparable
from benchmarks.reporting.fronts import Front, fronts_of
from benchmarks.reporting.labels import written
from benchmarks.reporting.maps import LOG_FROM
from benchmarks.reporting.opening import UP, best_rows, comparable_rows, first_column
from benchmarks.reporting.questions import QUESTIONS
from benchmarks.reporting.seed_statistics import Array
from benchmarks.reporting.table import ColumnHead, Row, Table

# what differs between the protocols of two data sets that are scored alike
OF_THE_DATA = ("name", "encoder", "encoder_checksum", "encoder_weights")
# families that are compared; of more, no reader finds a pair
MOST_FAMILIES = 8
# the normalised scores at which a profile is drawn
THRESHOLDS = 101
NOISE, REAL = ("pixel noise", "uniform noise"), "real train"


@dataclass(frozen=True)
class Pair:
    """How often a run of one family is better than a run of another. The better family is the first."""

    better: str
    other: str
    probability: Estimate


@dataclass(frozen=True)
class Compared:
    """The families on one column.

    Args:
        question: that the column answers.
        column: of the first data set; the titles of others may name other encoders.
        ranks: the mean rank over data sets of each family.
        pairs: of families, the surest first.
        thresholds, profiles: normalised scores (T,), and the share of each family's runs above each; empty without baselines.
        is_log: whether the scores are normalised on a logarithmic scale.
    """

    question: str
    column: ColumnHead
    ranks: Mapping[str, Estimate]
    pairs: Sequence[Pair]
    thresholds: Sequence[float]
    profiles: Mapping[str, Sequence[Estimate]]
    is_log: bool = False


@dataclass(frozen=True)
class Across:
    """Data sets that were scored alike, with the families that were trained on each.

    Args:
        tables: one a data set.
        families: that are compared.
        compared: by column.
        fronts: by data set and pair of columns.
        notes: what the reader has to know of what was left out, and of the choice of rows.
    """

    tables: Sequence[Table]
    families: Sequence[str]
    compared: Sequence[Compared]
    fronts: Sequence[Front]
    notes: Sequence[str]

    @property
    def data_sets(self) -> list[str]:
        """The names of the data sets, with the ids of the data where two have one name."""
        counts = Counter(table.datamodule for table in self.tables)
        return [f"{t.datamodule} ({t.data['id']})" if counts[t.datamodule] > 1 else t.datamodule for t in self.tables]


def across_data_sets(tables: Sequence[Table], min_seeds: int) -> list[Across]:
    """One for each network and protocol with two data sets or more.

    Args:
        tables: of the report.
        min_seeds: families with fewer runs on a data set are left out.
    """
    made = [_across(group, min_seeds) for group in _groups(tables)]
    return [across for across in made if across.compared or across.fronts]


def _groups(tables: Sequence[Table]) -> list[list[Table]]:
    """The tables of each network and protocol, one a data set, if there are two or more."""
    alike: dict[tuple[str, str], list[Table]] = defaultdict(list)
    for table in tables:
        if table.protocol["split"] == "test" and table.models and table.columns:
            protocol = digest({key: value for key, value in table.protocol.items() if key not in OF_THE_DATA})
            alike[table.network, protocol].append(table)
    groups: list[list[Table]] = []
    for members in alike.values():
        counts = Counter(map(_data_of, members))
        data_of_encoder: dict[str | None, set[tuple[str, str]]] = defaultdict(set)
        for table in members:
            data_of_encoder[table.protocol.get("encoder")].add(_data_of(table))
        by_encoder: dict[str | None, dict[tuple[str, str], Table]] = defaultdict(dict)
        for table in members:
            # where a data set was scored under several encoders, those that several data sets share belong together
            encoder = table.protocol.get("encoder")
            is_shared = max(counts.values()) > 1 and len(data_of_encoder[encoder]) > 1
            by_encoder[encoder if is_shared else None].setdefault(_data_of(table), table)
        groups += [list(group.values()) for group in by_encoder.values() if len(group) > 1]
    return groups


def _data_of(table: Table) -> tuple[str, str]:
    return table.datamodule, table.data["id"]


def _across(tables: Sequence[Table], min_seeds: int) -> Across:
    rows = [comparable_rows(table) for table in tables]
    chosen = [
        {row.model: row for row in best_rows(own, first_column(UP, table, own))}
        for table, own in zip(tables, rows, strict=True)
    ]
    everywhere = [family for family in chosen[0] if all(family in families for families in chosen)]
    few = [f for f in everywhere if min(len(families[f].runs) for families in chosen) < min_seeds]
    families = [family for family in everywhere if family not in few][:MOST_FAMILIES]
    compared, notes = list[Compared](), list[str]()
    if any(len(own) > len(best) for own, best in zip(rows, chosen, strict=True)):
        notes.append("Of each family, the row with the best mean FID of a data set stands for the family on it.")
    if missing := sorted({f for own in chosen for f in own} - set(everywhere)):
        notes.append(f"Not on every data set, and left out: {', '.join(map(written, missing))}.")
    if few:
        notes.append(f"Fewer than {min_seeds} seeds on a data set, and left out: {', '.join(map(written, few))}.")
    if len(families) > 1:
        draws = draw_runs([[len(own[family].runs) for family in families] for own in chosen])
        for question in QUESTIONS:
            found = _compared(question.title, question.columns, tables, families, chosen, draws)
            if isinstance(found, Compared):
                compared.append(found)
            elif found:
                notes.append(found)
    fronts = [front for table, own in zip(tables, rows, strict=True) for front in fronts_of(table, own)]
    return Across(tables, families, compared, fronts, notes)


def _compared(
    question: str,
    names: Sequence[str],
    tables: Sequence[Table],
    families: Sequence[str],
    chosen: Sequence[Mapping[str, Row]],
    draws: Sequence[Sequence[Draws]],
) -> Compared | str | None:
    """The families on the first column of a question that every run has; why there is none; None if nothing was measured."""
    heads = [{column.name: column for column in table.columns} for table in tables]
    reasons = []
    for name in names:
        title = BY_NAME[name].heading if name in BY_NAME else name
        if absent := [table.datamodule for table, head in zip(tables, heads, strict=True) if name not in head]:
            if len(absent) < len(tables):
                reasons.append(f"{title} is left out: no number on {', '.join(absent)}.")
            continue
        if name in TIMES and any(name in incomparable(own.values()) for own in chosen):
            reasons.append(
                f"{title} is left out: some runs were trained beside other work, or measured at different times."
            )
            continue
        columns = [head[name] for head in heads]
        costs = [[_costs(own[family], columns[0]) for family in families] for own in chosen]
        without = [f for own in costs for f, values in zip(families, own, strict=True) if values is None]
        if without:
            families_without = ", ".join(written(f) for f in dict.fromkeys(without))
            reasons.append(f"{title} is left out: some finished runs of {families_without} have no number.")
            continue
        known = [[values for values in own if values is not None] for own in costs]
        by_family, draws_of = (dict(zip(families, zip(*each, strict=True), strict=True)) for each in (known, draws))
        ranks = dict(zip(families, mean_ranks(known, draws), strict=True))
        pairs = [
            _pair(a, b, probability_of_improvement(by_family[a], by_family[b], draws_of[a], draws_of[b]))
            for a, b in combinations(families, 2)
        ]
        pairs.sort(key=lambda pair: -pair.probability.value)
        ends = _ends(tables, columns[0])
        # the FID of noise is arbitrarily large, so that on a linear scale every model would be next to real data
        is_log = bool(ends) and all(0 < real * LOG_FROM < noise for real, noise in ends)
        thresholds, profiles = _profiles(by_family, draws_of, ends, is_log)
        return Compared(question, columns[0], ranks, pairs, thresholds, profiles, is_log)
    return reasons[0] if reasons else None


def _costs(row: Row, column: ColumnHead) -> Array | None:
    """The costs of a row's runs, infinity for a run that is lost; None if a finished run has no number."""
    sign = -1.0 if column.higher_is_better else 1.0
    costs = []
    for run in row.runs:
        if row.ended(run) != "finished":
            costs.append(np.inf)
            continue
        value = row.measured.get(int(run.record["seed"]), {}).get(column.name)
        if value is None:
            return None
        costs.append(sign * value)
    return np.array(costs)


def _pair(a: str, b: str, found: Estimate) -> Pair:
    if found.value >= 0.5:
        return Pair(a, b, found)
    return Pair(b, a, Estimate(1 - found.value, 1 - found.high, 1 - found.low))


def _ends(tables: Sequence[Table], column: ColumnHead) -> list[tuple[float, float]]:
    """The costs of real training data and of noise on each data set; none if one of them is not known, or noise is better."""
    sign = -1.0 if column.higher_is_better else 1.0
    ends = []
    for table in tables:
        means = {name: row.cells[column.name].mean for name, row in table.baselines.items() if column.name in row.cells}
        real, noise = means.get(REAL), next((means[name] for name in NOISE if means.get(name) is not None), None)
        if real is None or noise is None or sign * real >= sign * noise:
            return []
        ends.append((sign * real, sign * noise))
    return ends


def _profiles(
    by_family: Mapping[str, Sequence[Array]],
    draws: Mapping[str, Sequence[Draws]],
    ends: Sequence[tuple[float, float]],
    is_log: bool,
) -> tuple[Sequence[float], Mapping[str, Sequence[Estimate]]]:
    """The profiles of normalised costs: 0 for real training data, 1 for noise."""
    if not ends:
        return (), {}
    scaled = np.log if is_log else np.asarray
    normalised = {
        family: [
            (scaled(costs) - scaled(real)) / (scaled(noise) - scaled(real))
            for costs, (real, noise) in zip(own, ends, strict=True)
        ]
        for family, own in by_family.items()
    }
    finite = [cost for own in normalised.values() for costs in own for cost in costs if np.isfinite(cost)]
    if not finite:
        return (), {}
    limits = np.linspace(min(0.0, min(finite)), 1.05 * max(finite), THRESHOLDS)
    profiles = {family: profile(own, limits, draws[family]) for family, own in normalised.items()}
    return [1 - float(limit) for limit in limits], profiles
