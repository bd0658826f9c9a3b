"""From records to tables: grouped by what may be compared, one row a configuration, a mean and a spread over seeds."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.errors import fail
from benchmarks.records.columns import BY_NAME, COLUMNS
from benchmarks.records.facts import Facts
from benchmarks.records.files import RecordError
from benchmarks.records.paths import baselines_beside
from benchmarks.records.runs import Run, Score, ScoreSheet, read_sheets
from benchmarks.reporting.alone import incomparable
from benchmarks.reporting.cells import Cell
from benchmarks.reporting.comparisons import Statements, make_statements
from benchmarks.reporting.grouping import Member, group_runs
from benchmarks.reporting.labels import describe_rows
from benchmarks.reporting.numbers import thousands
from benchmarks.reporting.seed_statistics import MIN_SEEDS
from benchmarks.reporting.table import ColumnHead, Row, Table, budget_text, values_by_column

FAMILY_ORDER = ("ae", "vae", "gan", "wgan", "wgan_gp")
BASELINE_ORDER = ("real train", "fitted Gaussian")


class Summary(NamedTuple):
    """The numbers of a column of a row."""

    mean: float | None
    deviation: float | None
    n: int
    missing: int
    reason: str | None


@dataclass(frozen=True)
class Draft:
    """A row of a model before the rows are compared: each column in one number."""

    label: str
    facts: Facts
    model: str
    config_id: str
    runs: list[Run]
    diverged: frozenset[Path]
    measured: dict[int, dict[str, float]]
    summaries: dict[str, Summary]

    @property
    def budget(self) -> str | None:
        """Rows of different budgets are in no statement together."""
        return budget_text(self.runs[0].record)


def make_tables(
    runs: Sequence[Run], min_seeds: int = MIN_SEEDS, nicknames: Mapping[str, str] | None = None
) -> list[Table]:
    """Every table that the runs make.

    Args:
        runs: in any order, each once.
        min_seeds: rows with fewer finished seeds get no interval, no rank and no comparison. At least 2.
        nicknames: of rows, by config id.
    """
    return [_table(members, min_seeds, nicknames) for members in group_runs(runs)]


def _table(members: list[Member], min_seeds: int, nicknames: Mapping[str, str] | None) -> Table:
    first = next((run for run, _ in members if not run.is_external), members[0][0])
    sheet = next((sheet for _, sheet in members if sheet is not None), None)
    by_config: dict[tuple[str, str], list[Member]] = defaultdict(list)
    for run, run_sheet in members:
        by_config[run.record["names"]["model"], run.record["config_id"]].append((run, run_sheet))
    described = describe_rows({key: group[0][0] for key, group in by_config.items()}, nicknames)
    drafts, scores = [], list[Sequence[Score]]()
    for (model, config_id), group in by_config.items():
        scored = [(run, _with_cost(run, run_sheet)) for run, run_sheet in group]
        scores += [run_scores for _, run_scores in scored]
        drafts.append(_draft(*described[model, config_id], model, config_id, group, scored))
    drafts.sort(key=lambda draft: (_place(FAMILY_ORDER, draft.model), draft.label))
    baselines = [] if sheet is None else _baselines(first, sheet.protocol_id)
    heads = _heads(scores, [*(draft.summaries for draft in drafts), *(summaries for _, summaries in baselines)])
    directions = {score.name: score.higher_is_better for run_scores in scores for score in run_scores}
    # no best time, no rank and no comparison
    unsaid = incomparable(drafts)
    best = _best(drafts, {name: higher for name, higher in directions.items() if name not in unsaid})
    rows = [(draft.label, values_by_column(draft.measured), draft.budget) for draft in drafts]
    statements = make_statements(rows, [head for head in heads if head.name not in unsaid], best, min_seeds)
    return Table(
        datamodule=first.record["names"]["datamodule"],
        network=first.record["names"]["network"],
        data=first.record["data"],
        protocol=sheet.protocol if sheet else {"name": "none", "split": "test"},
        protocol_id=sheet.protocol_id if sheet else "none",
        columns=heads,
        rows=[
            *(_row(draft, i, best, statements) for i, draft in enumerate(drafts)),
            *(_baseline_row(name, summaries) for name, summaries in baselines),
        ],
        comparisons=statements.comparisons,
        min_seeds=min_seeds,
    )


def _draft(
    label: str,
    facts: Facts,
    model: str,
    config_id: str,
    group: Sequence[Member],
    scored: Sequence[tuple[Run, Sequence[Score]]],
) -> Draft:
    finished = [(run, scores) for run, scores in scored if run.status == "finished"]
    return Draft(
        label=label,
        facts=facts,
        model=model,
        config_id=config_id,
        runs=[run for run, _ in group],
        diverged=frozenset(run.path for run, sheet in group if sheet and sheet.status == "diverged"),
        measured={
            int(run.record["seed"]): {score.name: score.value for score in scores if score.value is not None}
            for run, scores in finished
        },
        summaries=_summaries(scores for _, scores in finished),
    )


def _row(draft: Draft, i: int, best: set[tuple[int, str]], statements: Statements) -> Row:
    cells, interval_at = {}, statements.values.interval_at
    for name, (mean, deviation, n, missing, reason) in draft.summaries.items():
        key = (i, name)
        cells[name] = Cell(
            mean=mean,
            deviation=deviation,
            n=n,
            reason=reason,
            missing=missing,
            interval_at=interval_at,
            place=key,
            rank=statements.ranks.get(key),
            is_best=key in best,
            is_tied=key in statements.tied,
        )
    return Row(
        draft.label, draft.model, draft.config_id, draft.runs, cells, False, draft.diverged, draft.measured, draft.facts
    )


def _baseline_row(name: str, summaries: Mapping[str, Summary]) -> Row:
    cells = {
        column: Cell(mean, deviation, n, reason, missing)
        for column, (mean, deviation, n, missing, reason) in summaries.items()
    }
    return Row(name, name, "", cells=cells, is_baseline=True)


def _with_cost(run: Run, sheet: ScoreSheet | None) -> list[Score]:
    """The scores of a run, and its cost, which is in its record, or was measured apart."""
    if sheet is None:
        return []
    spent, cost = run.record.get("spent") or {}, run.record.get("cost") or {}
    speeds: Mapping[str, Any] = cost if run.costs is None else run.costs
    memory = cost.get("peak_memory_bytes")
    values = {
        "spent_images": spent.get("images"),
        "spent_updates": spent.get("updates"),
        "train_seconds": cost.get("train_seconds"),
        "images_per_second": speeds.get("images_per_second"),
        "sampling_images_per_second": speeds.get("sampling_images_per_second"),
        "neighbours": cost.get("neighbours"),
        "parameters": cost.get("parameters"),
        "peak_memory": None if memory is None else memory / 2**20,
    }
    columns = ((BY_NAME[name], value) for name, value in values.items())
    costs = [Score(column.name, value, column.unit, column.higher_is_better, 1) for column, value in columns]
    return sheet.scores + costs


def _summaries(sheets: Iterable[Sequence[Score]]) -> dict[str, Summary]:
    by_name: dict[str, list[Score]] = defaultdict(list)
    for scores in sheets:
        for score in scores:
            by_name[score.name].append(score)
    return {name: _summary(scores) for name, scores in by_name.items()}


def _summary(scores: Sequence[Score]) -> Summary:
    values = [score.value for score in scores if score.value is not None]
    if not values:
        reason = next((score.detail["reason"] for score in scores if "reason" in score.detail), None)
        return Summary(None, None, 0, 0, reason)
    mean = math.fsum(values) / len(values)
    # equal to statistics.stdev, whose fractions would take most of the time of a large report
    deviation = math.sqrt(math.fsum([(v - mean) ** 2 for v in values]) / (len(values) - 1)) if len(values) > 1 else None
    return Summary(mean, deviation, len(values), len(scores) - len(values), None)


def _best(drafts: Sequence[Draft], directions: Mapping[str, bool | None]) -> set[tuple[int, str]]:
    """The best rows of each column that has a direction, of each budget, as (index of the row, column)."""
    best = set()
    budgets = [draft.budget for draft in drafts]
    for (name, higher), budget in product(directions.items(), dict.fromkeys(budgets)):
        means = {
            i: mean
            for i, draft in enumerate(drafts)
            if budgets[i] == budget and name in draft.summaries and (mean := draft.summaries[name].mean) is not None
        }
        if higher is None or len(means) < 2:
            continue
        extreme = max(means.values()) if higher else min(means.values())
        best |= {(i, name) for i, mean in means.items() if mean == extreme}
    return best


def _baselines(run: Run, protocol_id: str) -> list[tuple[str, dict[str, Summary]]]:
    """The baseline rows that were scored under the protocol on the data of a run, by name."""
    rows = []
    for path in sorted(baselines_beside(run.path, run.record["data"]["id"]).glob("*/")):
        try:
            sheets = read_sheets(path)
        except RecordError as error:
            fail(f"{error} (left out)")
            continue
        rows += [(path.name, _summaries([sheet.scores])) for sheet in sheets if sheet.protocol_id == protocol_id]
    return sorted(rows, key=lambda row: _place(BASELINE_ORDER, row[0]))


def _heads(scores: Sequence[Sequence[Score]], rows: Sequence[Mapping[str, Summary]]) -> list[ColumnHead]:
    """The headers of every column that has a number in any row, in the order of the page."""
    examples: dict[str, Score] = {}
    for score in chain.from_iterable(scores):
        example = examples.get(score.name)
        if example is None or (example.value is None and score.value is not None):
            examples[score.name] = score
    filled = {name for row in rows for name, summary in row.items() if summary.mean is not None}
    place = {column.name: i for i, column in enumerate(COLUMNS)}
    names = sorted((name for name in examples if name in filled), key=lambda name: place.get(name, len(place)))
    return [
        ColumnHead(name, _title(examples[name]), examples[name].unit, examples[name].higher_is_better) for name in names
    ]


def _title(score: Score) -> str:
    """The column's title with what its number depends on: "FID (mnist-cnn, 10k)"."""
    title = BY_NAME[score.name].heading if score.name in BY_NAME else score.name.replace("_", " ")
    if score.value is None:
        return title
    detail = score.detail
    facts = [
        detail.get("encoder"),
        f"of {detail['of']:,}" if "of" in detail else None,
        f"k = {detail['neighbours']}" if "neighbours" in detail else None,
        f"K = {detail['k']:,}" if "k" in detail else None,
        f"{detail['temperatures']:,} temperatures" if "temperatures" in detail else None,
        f"held-out images {detail['held_out']:.3g}" if "held_out" in detail else None,
    ]
    if any(key in detail for key in ("encoder", "k", "temperatures", "steps")) and "of" not in detail:
        facts.append(thousands(score.n))
    text = ", ".join(fact for fact in facts if fact)
    return f"{title} ({text})" if text else title


def _place(order: Sequence[str], name: str) -> tuple[int, str]:
    """A sorting key: names of the order first, then the others by name."""
    return (order.index(name) if name in order else len(order), name)
