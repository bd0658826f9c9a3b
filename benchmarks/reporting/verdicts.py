"""The answers of records to claims: on every table or search that has the scores, a claim holds, does not, or is undecided.

The tests and their corrections are in `benchmarks.reporting.seed_statistics`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.records.runs import Run
from benchmarks.records.searches import Search
from benchmarks.reporting.claims import Claim
from benchmarks.reporting.evidence import (
    Group,
    Groups,
    distinct_groups,
    missing_sides,
    table_groups,
    trial_groups,
)
from benchmarks.reporting.numbers import number
from benchmarks.reporting.seed_statistics import (
    ALPHA,
    MIN_SEEDS,
    Array,
    deviations,
    differences,
    differences_from,
    holm,
    one_sided,
)
from benchmarks.reporting.table import Table

Verdict = Literal["holds", "does not hold", "undecided"]

# the pairs of rows that an answer keeps
SHOWN_PAIRS = 12


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
    """A claim on one table or one search, decided at 5% after Holm's correction over every answer of the report."""

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
        """The pair with the least evidence for the claim, on which the verdict rests."""
        return max(self.pairs, key=lambda pair: pair.p_holds, default=None)

    @property
    def runs(self) -> list[Path]:
        """The runs behind the answer."""
        groups = [g for pair in self.pairs for g in (pair.left, pair.right) if isinstance(g, Group)]
        return sorted({run for group in groups for run in group.runs})


def answer_all(
    claims: Sequence[Claim],
    tables: Sequence[Table],
    searches: Sequence[Search] = (),
    runs: Sequence[Run] = (),
    min_seeds: int = MIN_SEEDS,
) -> list[Answer]:
    """Answers every claim on every table or search that has both sides; a claim without any gets one answer that says so.

    Args:
        claims: in the order of the answers.
        tables: those of a test split count.
        searches: for claims over trials.
        runs: the trials' runs are among them.
        min_seeds: a side with fewer values decides nothing.
    """
    by_path = {run.path.resolve(): run for run in runs} if searches else {}
    tested = [table for table in tables if table.protocol["split"] == "test"]
    answers = []
    for claim in claims:
        own: list[Answer] = []
        if claim.over == "trials":
            for search in searches:
                groups = trial_groups(claim, search, by_path)
                place = (search.title, search.record["datamodule"], search.record["network"])
                if groups and search.record["sampler"] != "random":
                    reason = "the trials were not drawn at random, so their spread is the sampler's: use sampler=random"
                    own.append(Answer(claim, *place, "undecided", reason))
                else:
                    own += _answer(claim, place, groups, min_seeds)
        else:
            for table, groups in table_groups(claim, tested):
                place = (_where(table, tested), table.datamodule, table.network)
                own += _answer(claim, place, groups, min_seeds)
        answers += own or [Answer(claim, "—", "", "", "undecided", _no_evidence(claim))]
    return _decide(answers)


def effect_text(claim: Claim, pair: Pair) -> str:
    """The effect of a pair in words and numbers, with its 95% interval."""
    values = [pair.effect, pair.low, pair.high]
    unit = f" {claim.unit}" if claim.unit and claim.scale == "difference" else ""
    if not isinstance(pair.right, Group):
        values = [v * pair.right if claim.scale == "ratio" else v + pair.right for v in values]
        words = f"{pair.left.label} has {number(values[0])}{unit}, against {number(pair.right)}"
    else:
        sign = "/" if claim.scale == "ratio" else "−"
        words = f"{pair.left.label} {sign} {pair.right.label} = {number(values[0])}{unit}"
    return f"{words} (95%: {number(values[1])} to {number(values[2])})"


def _where(table: Table, among: Sequence[Table]) -> str:
    """The name of a table, with its ids if another table has the same name."""

    def name(of: Table) -> str:
        return f"{of.title} · {of.protocol['name']}"

    is_unique = sum(name(other) == name(table) for other in among) == 1
    return name(table) if is_unique else f"{name(table)} (data {table.data['id']}, protocol {table.protocol_id})"


def _answer(claim: Claim, place: tuple[str, str, str], groups: Groups, min_seeds: int) -> list[Answer]:
    """One answer, not yet decided; none if a whole side has no values."""
    left = [group for side in claim.left for group in groups.get((False, side), [])]
    right: list[Group | float]
    if isinstance(claim.right, float):
        right = [claim.right]
    else:
        right = [group for side in claim.right for group in groups.get((True, side), [])]
    if not left or not right:
        return []

    def undecided(reason: str) -> list[Answer]:
        return [Answer(claim, *place, "undecided", reason)]

    same_budget = [(a, b) for a, b in product(left, right) if not isinstance(b, Group) or a.budget == b.budget]
    if not same_budget:
        return undecided("no two of its rows have had the same budget")
    unit = "trials" if claim.over == "trials" else "seeds"
    small = {id(group): group for group in distinct_groups(same_budget) if len(group.values) < min_seeds}
    few = [f"{group.label} has {len(group.values)}" for group in small.values()]
    pairs = [(a, b) for a, b in same_budget if id(a) not in small and id(b) not in small]
    if not pairs:
        return undecided(f"too few {unit}: {', '.join(few)}, {min_seeds} are needed")
    tested = distinct_groups(pairs)
    if claim.scale == "ratio" and any((group.values <= 0).any() for group in tested):
        return undecided("a ratio needs values above 0, and some values are not")
    fate = "have no value" if claim.over == "trials" else "diverged"
    lost = [f"{g.lost} of {g.lost + len(g.values)} of {g.label} {fate}" for g in tested if g.lost]
    if lost and claim.statistic == "spread":
        return undecided(f"{', '.join(lost)}: the spread would have to include them")
    kept, p_holds, p_fails = _test_all(claim, pairs)
    # every pair must pass, so the claim's p is the largest (Berger 1982); one pair suffices to refute the claim
    holds, fails = float(p_holds.max()), min(1.0, len(p_fails) * float(p_fails.min()))
    reasons = [f"{', '.join(lost)} and are not included"] if lost else []
    if few:
        reasons.append(f"not included because of too few {unit}: {', '.join(few)}")
    if len(kept) < len(p_holds):
        reasons.append(f"{len(p_holds)} pairs; the {len(kept)} with the least evidence for the claim are shown")
    p = min(1.0, 2 * min(holds, fails))
    leans: Literal["holds", "does not hold"] = "holds" if holds <= fails else "does not hold"
    missing = tuple(missing_sides(claim, groups, same_budget, tested))
    reason = "; ".join(reasons)
    return [Answer(claim, *place, "undecided", reason, tuple(kept), p, leans=leans, missing=missing)]


def _test_all(claim: Claim, pairs: Sequence[tuple[Group, Group | float]]) -> tuple[list[Pair], Array, Array]:
    """The pairs with the least evidence for the claim, and the p-values of all pairs, for the claim and against it.

    Pairs with equal numbers of values are tested in one call.
    """
    shapes: dict[tuple[int, int], list[tuple[Group, Group | float]]] = {}
    for a, b in pairs:
        shapes.setdefault((len(a.values), len(b.values) if isinstance(b, Group) else 0), []).append((a, b))
    parts = [_test(claim, part) for part in shapes.values()]
    kept = sorted((pair for tested, _, _ in parts for pair in tested), key=lambda pair: -pair.p_holds)[:SHOWN_PAIRS]
    return kept, np.concatenate([holds for _, holds, _ in parts]), np.concatenate([fails for _, _, fails in parts])


def _test(claim: Claim, pairs: Sequence[tuple[Group, Group | float]]) -> tuple[list[Pair], Array, Array]:
    is_ratio = claim.scale == "ratio"

    def stacked(sides: Iterable[Group | float]) -> Array:
        groups = [side for side in sides if isinstance(side, Group)]
        distinct = {id(group): group for group in groups}  # a group is in many pairs
        values = np.stack([group.values for group in distinct.values()])
        values = deviations(values) if claim.statistic == "spread" else values
        place = {key: i for i, key in enumerate(distinct)}
        return (np.log(values) if is_ratio else values)[[place[id(group)] for group in groups]]

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
    effects = differences(a[least], b[least]) if isinstance(b, np.ndarray) else differences_from(a[least], b)
    tested = []
    for i, d in zip(least.tolist(), effects, strict=True):
        effect, low, high = (math.exp(v) if is_ratio else v for v in (d.value, d.low, d.high))
        left, right = pairs[i]
        tested.append(Pair(left, right, effect, low, high, d.g, float(holds[i]), float(fails[i])))
    return tested, holds, fails


def _decide(answers: Sequence[Answer]) -> list[Answer]:
    tested = [i for i, answer in enumerate(answers) if answer.p is not None]
    adjusted = dict(zip(tested, holm([answers[i].p or 0.0 for i in tested]), strict=True))
    decided = []
    for i, answer in enumerate(answers):
        if i in adjusted:
            p = adjusted[i]
            verdict: Verdict = answer.leans if p < ALPHA else "undecided"
            why_open = ""
            if verdict == "undecided":
                why_open = f"a difference within chance, after correction for {len(tested)} tests"
                if _reaches_over_margin(answer):
                    why_open = "the interval reaches over the margin"
            elif (
                verdict == "holds" and answer.missing
            ):  # one model refutes a claim; one model does not prove it for all
                verdict = "undecided"
                why_open = f"holds for the models tested, without {' and '.join(answer.missing)}"
            reason = "; ".join(part for part in (answer.reason, why_open) if part)
            answer = replace(answer, adjusted_p=p, verdict=verdict, reason=reason)
        decided.append(answer)
    return decided


def _reaches_over_margin(answer: Answer) -> bool:
    claim = answer.claim
    if claim.expect != "equal" or claim.margin is None:
        return False
    low, high = (1 / claim.margin, claim.margin) if claim.scale == "ratio" else (-claim.margin, claim.margin)
    return any(pair.low < low or pair.high > high for pair in answer.pairs)


def _no_evidence(claim: Claim) -> str:
    if claim.over == "trials":
        return "no search has these models: python -m benchmarks.search"
    where = f" on {', '.join(claim.datamodules)}" if claim.datamodules else ""
    left, right = (" or ".join(side.name for r, side in claim.sides if r == is_right) for is_right in (False, True))
    against = f" and of {right}" * bool(right)
    return f"no scored runs{where} have {', '.join(sorted(claim.scores))} of {left}{against}"
