"""What records say to a claim: for every table or search that has its scores, it holds, it does not, or it is undecided.

Needs no torch. What is tested, and how it is corrected, is in `benchmarks.statistics`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.claims import Claim, Side, evaluate
from benchmarks.leaderboard import PARTS, Table, budget_text, number
from benchmarks.runs import Run
from benchmarks.searches import Search
from benchmarks.statistics import ALPHA, MIN_SEEDS, Array, deviations, differences, differences_from, holm, one_sided

Verdict = Literal["holds", "does not hold", "undecided"]

# of an answer that rests on very many pairs of rows, how many are kept
SHOWN_PAIRS = 12


@dataclass(frozen=True)
class Group:
    """One side's values, a number a run, and the runs.

    Args:
        lost: how many runs have no value: seeds that diverged, or trials that have none for whatever reason.
        budget: what each was given, in words: rows that were given different amounts are not compared.
    """

    label: str
    values: Array
    runs: tuple[Path, ...]
    lost: int = 0
    budget: str | None = None


# by whether it is the right side, and by the side: one group a row that it names
Groups = dict[tuple[bool, Side], list[Group]]


@dataclass(frozen=True)
class Pair:
    """Left against right: the effect on the claim's scale with its 95% interval, Hedges' g, and the two p-values."""

    left: Group
    right: Group | float
    effect: float
    low: float
    high: float
    g: float | None
    p_holds: float
    p_fails: float


@dataclass(frozen=True)
class Answer:
    """A claim on one table (or one search), decided at 5% after Holm's correction over every answer of the report."""

    claim: Claim
    where: str
    datamodule: str
    network: str
    verdict: Verdict
    reason: str
    pairs: tuple[Pair, ...] = ()
    p: float | None = None
    adjusted_p: float | None = None
    leans: Literal["holds", "does not hold"] = "holds"
    missing: tuple[str, ...] = ()

    @property
    def decisive(self) -> Pair | None:
        """The pair on which the claim stands or falls: the one that says least for it."""
        return max(self.pairs, key=lambda pair: pair.p_holds, default=None)

    @property
    def runs(self) -> list[Path]:
        groups = [g for pair in self.pairs for g in (pair.left, pair.right) if isinstance(g, Group)]
        return sorted({run for group in groups for run in group.runs})


def answer_all(
    claims: Sequence[Claim],
    tables: Sequence[Table],
    searches: Sequence[Search] = (),
    runs: Sequence[Run] = (),
    min_seeds: int = MIN_SEEDS,
) -> list[Answer]:
    """Every claim on every table or search that has both its sides; one answer without data where there is none.

    Args:
        claims: in the order of the answers.
        tables: of which those of a test split count.
        searches: for claims over trials.
        runs: among which are the searches' trials.
        min_seeds: a side with fewer values decides nothing.
    """
    by_path = {run.path.resolve(): run for run in runs} if searches else {}
    tested = [table for table in tables if table.protocol["split"] == "test"]
    answers = []
    for claim in claims:
        found: list[Answer] = []
        if claim.over == "trials":
            for search in searches:
                groups = _trial_groups(claim, search, by_path)
                place = (search.title, search.record["datamodule"], search.record["network"])
                if groups and search.record["sampler"] != "random":
                    reason = "its trials were not drawn at random, and their spread is the sampler's: sampler=random"
                    found.append(Answer(claim, *place, "undecided", reason))
                else:
                    found += _answer(claim, place, groups, min_seeds)
        else:
            for table, groups in _grouped(claim, tested):
                place = (_where(table, tested), table.datamodule, table.network)
                found += _answer(claim, place, groups, min_seeds)
        answers += found or [Answer(claim, "—", "", "", "undecided", _nothing(claim))]
    return _decide(answers)


def effect_text(claim: Claim, pair: Pair) -> str:
    """A pair's effect in words and numbers, with its 95% interval."""
    values = [pair.effect, pair.low, pair.high]
    unit = f" {claim.unit}" if claim.unit and claim.scale == "difference" else ""
    if not isinstance(pair.right, Group):
        shown = [v * pair.right if claim.scale == "ratio" else v + pair.right for v in values]
        words = f"{pair.left.label} has {number(shown[0])}{unit}, against {number(pair.right)}"
    else:
        shown = values
        sign = "/" if claim.scale == "ratio" else "−"
        words = f"{pair.left.label} {sign} {pair.right.label} = {number(shown[0])}{unit}"
    return f"{words} (95%: {number(shown[1])} to {number(shown[2])})"


def p_text(p: float | None) -> str:
    """A p-value to two digits, or that it is very small."""
    if p is None:
        return "—"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _where(table: Table, among: Sequence[Table]) -> str:
    """Names a table, with its ids where another has the same name."""

    def name(of: Table) -> str:
        return f"{of.title} · {of.protocol['name']}"

    is_alone = sum(name(other) == name(table) for other in among) == 1
    return name(table) if is_alone else f"{name(table)} (data {table.data['id']}, protocol {table.protocol_id})"


def _grouped(claim: Claim, tables: Sequence[Table]) -> list[tuple[Table, Groups]]:
    """The tables that a claim is answered on. A run costs the same under every protocol, so of the tables of one data set
    and network a claim on costs has the one that knows most."""
    grouped = [(table, _row_groups(claim, table)) for table in tables]
    if not claim.scores <= set(PARTS["Cost"]):
        return grouped
    most: dict[tuple[str, str, str], tuple[Table, Groups]] = {}
    for table, groups in grouped:
        place = (table.datamodule, table.network, table.data["id"])
        if place not in most or _size(groups) > _size(most[place][1]):
            most[place] = (table, groups)
    return list(most.values())


def _size(groups: Groups) -> tuple[int, int]:
    """How many of a claim's sides are there, and how many values."""
    return len(groups), sum(len(group.values) for its in groups.values() for group in its)


def _row_groups(claim: Claim, table: Table) -> Groups:
    groups: Groups = {}
    for is_right, side in claim.sides:
        quantity = claim.quantity_of(is_right)
        for row in table.rows:
            if not side.matches(row):
                continue
            paths = {int(run.record["seed"]): run.path for run in row.runs}
            found = {seed: evaluate(quantity, scores) for seed, scores in row.measured.items()}
            kept = {seed: value for seed, value in found.items() if value is not None}
            if kept:
                runs = tuple(paths[seed] for seed in kept)
                lost = sum(row.ended(run) == "diverged" for run in row.runs if int(run.record["seed"]) not in kept)
                budget = budget_text(row.runs[0].record)
                made = Group(row.label, np.array(list(kept.values())), runs, lost, budget)
                groups.setdefault((is_right, side), []).append(made)
    return groups if _wanted(claim, table.datamodule) else {}


def _trial_groups(claim: Claim, search: Search, runs: Mapping[Path, Run]) -> Groups:
    """The trials of each side's model that have a value."""
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
    return groups if _wanted(claim, search.record["datamodule"]) else {}


def _wanted(claim: Claim, datamodule: str) -> bool:
    return not claim.datamodules or datamodule in claim.datamodules


def _answer(claim: Claim, place: tuple[str, str, str], groups: Groups, min_seeds: int) -> list[Answer]:
    """Nothing, where no left side or no right side is there; otherwise one answer, not yet decided."""
    left = [group for side in claim.left for group in groups.get((False, side), [])]
    right: list[Group | float]
    if isinstance(claim.right, float):
        right = [claim.right]
    else:
        right = [group for side in claim.right for group in groups.get((True, side), [])]
    if not left or not right:
        return []
    fair = [(a, b) for a, b in product(left, right) if not isinstance(b, Group) or a.budget == b.budget]
    if not fair:
        return [Answer(claim, *place, "undecided", "no two of its rows have had the same budget")]
    what = "trials" if claim.over == "trials" else "seeds"
    small = {id(group): group for group in _groups_in(fair) if len(group.values) < min_seeds}
    few = [f"{group.label} has {len(group.values)}" for group in small.values()]
    pairs = [(a, b) for a, b in fair if id(a) not in small and id(b) not in small]
    if not pairs:
        reason = f"too few {what}: {', '.join(few)}, {min_seeds} are needed"
        return [Answer(claim, *place, "undecided", reason)]
    tested = _groups_in(pairs)
    if claim.scale == "ratio" and any((group.values <= 0).any() for group in tested):
        return [Answer(claim, *place, "undecided", "a ratio of values that are not all above 0 says nothing")]
    fate = "have no value" if claim.over == "trials" else "diverged"
    lost = [f"{g.lost} of {g.lost + len(g.values)} of {g.label} {fate}" for g in tested if g.lost]
    if lost and claim.statistic == "spread":
        reason = f"{', '.join(lost)}: what has no value is part of the spread"
        return [Answer(claim, *place, "undecided", reason)]
    kept, p_holds, p_fails = _all_tested(claim, pairs)
    # every pair must pass, so the largest p-value is the whole's (Berger 1982); one pair is enough to refute it
    holds, fails = float(p_holds.max()), min(1.0, len(p_fails) * float(p_fails.min()))
    reasons = [f"{', '.join(lost)} and are not in it"] if lost else []
    if few:
        reasons.append(f"too few {what} to be in it: {', '.join(few)}")
    if len(kept) < len(p_holds):
        reasons.append(f"{len(p_holds)} pairs, of which those that say least for it are kept")
    p, leans = min(1.0, 2 * min(holds, fails)), "holds" if holds <= fails else "does not hold"
    missing = tuple(_missing(claim, groups, fair, tested))
    return [Answer(claim, *place, "undecided", "; ".join(reasons), tuple(kept), p, leans=leans, missing=missing)]  # type: ignore[arg-type]


def _groups_in(pairs: Iterable[tuple[Group, Group | float]]) -> list[Group]:
    """Each group of some pairs, once."""
    return list({id(group): group for pair in pairs for group in pair if isinstance(group, Group)}.values())


def _missing(
    claim: Claim, groups: Groups, fair: Sequence[tuple[Group, Group | float]], tested: Sequence[Group]
) -> Iterator[str]:
    """Of the models that a claim names, those of which no row was tested, and why."""
    there, comparable = ({id(group) for group in its} for its in (tested, _groups_in(fair)))
    for is_right, side in claim.sides:
        its = {id(group) for group in groups.get((is_right, side), [])}
        if not its:
            yield f"{side.name}, which has no such scores"
        elif not its & comparable:
            yield f"{side.name}, which has had another budget"
        elif not its & there:
            yield f"{side.name}, which has too few {'trials' if claim.over == 'trials' else 'seeds'}"


def _all_tested(claim: Claim, pairs: Sequence[tuple[Group, Group | float]]) -> tuple[list[Pair], Array, Array]:
    """The pairs that say least for the claim, and the p-values of all, for it and against it. Those with as many values
    on each side are tested in one call."""
    shapes: dict[tuple[int, int], list[tuple[Group, Group | float]]] = {}
    for a, b in pairs:
        shapes.setdefault((len(a.values), len(b.values) if isinstance(b, Group) else 0), []).append((a, b))
    parts = [_tested(claim, its) for its in shapes.values()]
    kept = sorted((pair for pairs, _, _ in parts for pair in pairs), key=lambda pair: -pair.p_holds)[:SHOWN_PAIRS]
    return kept, np.concatenate([holds for _, holds, _ in parts]), np.concatenate([fails for _, _, fails in parts])


def _tested(claim: Claim, pairs: Sequence[tuple[Group, Group | float]]) -> tuple[list[Pair], Array, Array]:
    is_ratio = claim.scale == "ratio"

    def stacked(groups: Iterable[Group | float]) -> Array:
        its = [group for group in groups if isinstance(group, Group)]
        each = {id(group): group for group in its}  # a group is in many pairs
        values = np.stack([group.values for group in each.values()])
        values = deviations(values) if claim.statistic == "spread" else values
        place = {key: i for i, key in enumerate(each)}
        return (np.log(values) if is_ratio else values)[[place[id(group)] for group in its]]

    a = stacked(left for left, _ in pairs)
    b: Array | float
    if isinstance(claim.right, float):
        b = math.log(claim.right) if is_ratio else claim.right
    else:
        b = stacked(right for _, right in pairs)
    margin = 0.0 if claim.margin is None else math.log(claim.margin) if is_ratio else claim.margin
    if claim.expect == "equal":
        above_low, below_low = one_sided(a, b, -margin)
        above_high, below_high = one_sided(a, b, margin)
        # two one-sided tests (Schuirmann 1987)
        holds, fails = np.maximum(above_low, below_high), np.minimum(1.0, 2 * np.minimum(below_low, above_high))
    else:
        sign = 1 if claim.expect == "higher" else -1
        above, below = one_sided(a, b, sign * margin)
        holds, fails = (above, below) if claim.expect == "higher" else (below, above)
    least = np.argsort(-holds, kind="stable")[:SHOWN_PAIRS]
    found = differences(a[least], b[least]) if isinstance(b, np.ndarray) else differences_from(a[least], b)
    made = []
    for i, d in zip(least.tolist(), found, strict=True):
        effect, low, high = (math.exp(v) if is_ratio else v for v in (d.value, d.low, d.high))
        left, right = pairs[i]
        made.append(Pair(left, right, effect, low, high, d.g, float(holds[i]), float(fails[i])))
    return made, holds, fails


def _decide(answers: Sequence[Answer]) -> list[Answer]:
    tested = [i for i, answer in enumerate(answers) if answer.p is not None]
    adjusted = dict(zip(tested, holm([answers[i].p or 0.0 for i in tested]), strict=True))
    decided = []
    for i, answer in enumerate(answers):
        if i in adjusted:
            p = adjusted[i]
            verdict: Verdict = answer.leans if p < ALPHA else "undecided"
            open_ = ""
            if verdict == "undecided":
                open_ = f"not beyond chance, after correction for {len(tested)} tests"
                if _reaches_over_margin(answer):
                    open_ = "the interval reaches over the margin"
            elif (
                verdict == "holds" and answer.missing
            ):  # one that fails refutes it; those that are here do not prove it
                verdict = "undecided"
                open_ = f"holds for what is here, without {' and '.join(answer.missing)}"
            reasons = [answer.reason, open_]
            reason = "; ".join(r for r in reasons if r)
            answer = replace(answer, adjusted_p=p, verdict=verdict, reason=reason)
        decided.append(answer)
    return decided


def _reaches_over_margin(answer: Answer) -> bool:
    claim = answer.claim
    if claim.expect != "equal" or claim.margin is None:
        return False
    low, high = (1 / claim.margin, claim.margin) if claim.scale == "ratio" else (-claim.margin, claim.margin)
    return any(pair.low < low or pair.high > high for pair in answer.pairs)


def _nothing(claim: Claim) -> str:
    if claim.over == "trials":
        return "no search has these models: python -m benchmarks.search"
    where = f" on {', '.join(claim.datamodules)}" if claim.datamodules else ""
    left, right = (" or ".join(side.name for r, side in claim.sides if r == is_right) for is_right in (False, True))
    return f"no scored runs{where} have {', '.join(sorted(claim.scores))} of {left}" + (
        f" and of {right}" * bool(right)
    )
