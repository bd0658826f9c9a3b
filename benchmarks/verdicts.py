"""What records say to a claim: for every table or search that has its scores, it holds, it does not, or it is undecided.

Needs no torch. What is tested, and how it is corrected, is in `benchmarks.statistics`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
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
        diverged: how many runs have no value because they diverged.
        budget: what each was given, in words: rows that were given different amounts are not compared.
    """

    label: str
    values: Array
    runs: tuple[Path, ...]
    diverged: int = 0
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
    absent: tuple[str, ...] = ()

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
            seen = set()
            for table in tables:
                # costs are the same under every protocol: one answer for each data set and network
                key = (table.datamodule, table.network, table.data["id"])
                is_new = not claim.scores <= set(PARTS["Cost"]) or key not in seen
                if table.protocol["split"] == "test" and is_new:
                    seen.add(key)
                    place = (f"{table.title} · {table.protocol['name']}", table.datamodule, table.network)
                    found += _answer(claim, place, _row_groups(claim, table), min_seeds)
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
                lost, budget = row.count("diverged"), budget_text(row.runs[0].record)
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
            lost = sum(trial.status == "diverged" for trial in search.trials[side.model])
            groups[is_right, side] = [Group(f"{side.name}, {len(values)} trials", np.array(values), tuple(paths), lost)]
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
    if not any(_is_fair(a, b) for a, b in product(left, right)):
        return [Answer(claim, *place, "undecided", "no two of its rows have had the same budget")]
    there = [*left, *(group for group in right if isinstance(group, Group))]
    few = [f"{group.label} has {len(group.values)}" for group in there if len(group.values) < min_seeds]
    if few:
        what = "trials" if claim.over == "trials" else "seeds"
        reason = f"too few {what}: {', '.join(few)}, {min_seeds} are needed"
        return [Answer(claim, *place, "undecided", reason)]
    if claim.scale == "ratio" and any((group.values <= 0).any() for group in there):
        return [Answer(claim, *place, "undecided", "a ratio of values that are not all above 0 says nothing")]
    pairs, p_holds, p_fails = _pairs(claim, left, right)
    # every pair must pass, so the largest p-value is the whole's (Berger 1982); one pair is enough to refute it
    holds, fails = float(p_holds.max()), min(1.0, len(p_fails) * float(p_fails.min()))
    absent = tuple(side.name for is_right, side in claim.sides if (is_right, side) not in groups)
    diverged = [f"{g.diverged} of {g.diverged + len(g.values)} of {g.label} diverged" for g in there if g.diverged]
    if diverged and claim.statistic == "spread":
        reason = f"{', '.join(diverged)}: what diverged has no value, and is part of the spread"
        return [Answer(claim, *place, "undecided", reason)]
    reasons = [f"{', '.join(diverged)} and are not in it"] if diverged else []
    if len(pairs) < len(p_holds):
        reasons.append(f"{len(p_holds)} pairs, of which those that say least for it are kept")
    p, leans = min(1.0, 2 * min(holds, fails)), "holds" if holds <= fails else "does not hold"
    return [Answer(claim, *place, "undecided", "; ".join(reasons), tuple(pairs), p, leans=leans, absent=absent)]  # type: ignore[arg-type]


def _pairs(claim: Claim, left: Sequence[Group], right: Sequence[Group | float]) -> tuple[list[Pair], Array, Array]:
    """Every left group against every right one: the pairs that say least for the claim, and the p-values of all, for it
    and against it. Those with as many values on each side are tested in one call."""
    shapes: dict[tuple[int, int], list[tuple[Group, Group | float]]] = {}
    for a, b in product(left, right):
        if not _is_fair(a, b):
            continue
        shapes.setdefault((len(a.values), len(b.values) if isinstance(b, Group) else 0), []).append((a, b))
    parts = [_tested(claim, pairs) for pairs in shapes.values()]
    kept = sorted((pair for pairs, _, _ in parts for pair in pairs), key=lambda pair: -pair.p_holds)[:SHOWN_PAIRS]
    return kept, np.concatenate([holds for _, holds, _ in parts]), np.concatenate([fails for _, _, fails in parts])


def _tested(claim: Claim, pairs: Sequence[tuple[Group, Group | float]]) -> tuple[list[Pair], Array, Array]:
    is_ratio = claim.scale == "ratio"

    def stacked(groups: Iterable[Group | float]) -> Array:
        values = np.stack([group.values for group in groups if isinstance(group, Group)])
        values = deviations(values) if claim.statistic == "spread" else values
        return np.log(values) if is_ratio else values

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
            elif verdict == "holds" and answer.absent:  # one that fails refutes it; those that are here do not prove it
                verdict = "undecided"
                open_ = f"holds for what is here, without {' and '.join(answer.absent)}, which has no such scores"
            reasons = [answer.reason, open_]
            reason = "; ".join(r for r in reasons if r)
            answer = replace(answer, adjusted_p=p, verdict=verdict, reason=reason)
        decided.append(answer)
    return decided


def _is_fair(a: Group, b: Group | float) -> bool:
    return not isinstance(b, Group) or a.budget == b.budget


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
    return f"no scored runs{where} have {', '.join(sorted(claim.scores))} of both sides"
