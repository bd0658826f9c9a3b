"""One test of a claim: a row on the left against a row (or a number) on the right, under one specification."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from benchmarks.reporting.claims import Claim, Options
from benchmarks.reporting.crossed import Crossed, crossed_difference, crossed_mean
from benchmarks.reporting.evidence import Group
from benchmarks.reporting.numbers import number
from benchmarks.reporting.seed_statistics import (
    Array,
    deviations,
    differences,
    differences_from,
    one_sided,
)

OVER_SEEDS = "seeds"
OVER_BOTH = "seeds and examples"
RANKS = "seeds that are left, and ranks of all seeds; a lost seed counts against what is tested"

Pair = tuple[Group, Group | float]


@dataclass(frozen=True)
class Point:
    """The result of one test: the effect on the claim's scale with its 95% interval, Hedges' g, and the two p-values.

    Args:
        left, right: the rows, or a number on the right.
        options: of the specification, network and rows included.
        effect: left less right, or left over right.
        low, high: the 95% interval of the effect.
        g: Hedges' g over seeds.
        p_holds, p_fails: one-sided, for the claim and against it.
        errors: what the interval and the p-values are over.
    """

    left: Group
    right: Group | float
    options: Options
    effect: float
    low: float
    high: float
    g: float | None
    p_holds: float
    p_fails: float
    errors: str = OVER_SEEDS

    @property
    def runs(self) -> list[Path]:
        """The runs behind the test."""
        return sorted({run for group in (self.left, self.right) if isinstance(group, Group) for run in group.runs})


class Results(NamedTuple):
    """By pair: the effect on the scale of the test (logarithms for ratios), and the two one-sided p-values."""

    effects: Array
    holds: Array
    fails: Array


def run_tests(claim: Claim, pairs: Sequence[Pair]) -> Results:
    """Tests every pair. Pairs with equal numbers of values, without lost seeds and examples, are tested in one call."""
    effects, holds, fails = (np.ones(len(pairs)) for _ in range(3))
    over_seeds: list[int] = []
    for i, (a, b) in enumerate(pairs):
        if (crossed := _crossed(claim, a, b)) is not None:
            effects[i] = crossed.value
            holds[i], fails[i] = _decide(claim, crossed.one_sided)
        else:
            over_seeds.append(i)
    for places in _by_shape(pairs, over_seeds).values():
        effects[places], holds[places], fails[places] = _test_alike(claim, [pairs[i] for i in places])
    for i, (a, b) in enumerate(pairs):
        if _lost(a, b):  # the ranks of all seeds and the means of those that are left must agree
            by_rank = _test_ranks(claim, a, b)
            holds[i], fails[i] = max(holds[i], by_rank[0]), max(fails[i], by_rank[1])
    return Results(effects, holds, fails)


def make_points(claim: Claim, pairs: Sequence[Pair], options: Sequence[Options], results: Results) -> list[Point]:
    """The points of tested pairs, with their intervals. Pairs with equal numbers of values share one call."""
    points: dict[int, Point] = {}
    for (_, m), places in _by_shape(pairs, range(len(pairs))).items():
        left = _scaled(claim, [pairs[i][0].values for i in places])
        if m:
            right = _scaled(claim, [b.values for i in places if isinstance(b := pairs[i][1], Group)])
            parts = differences(left, right)
        else:
            assert isinstance(claim.right, float)
            parts = differences_from(left, _number(claim, claim.right))
        for i, difference in zip(places, parts, strict=True):
            a, b = pairs[i]
            lost = bool(_lost(a, b))
            crossed = _crossed(claim, a, b)
            ends = difference.value, difference.low, difference.high
            if crossed is not None:
                ends = crossed.value, *crossed.interval()
            effect, low, high = (math.exp(v) if claim.scale == "ratio" else v for v in ends)
            errors = RANKS if lost else OVER_SEEDS if crossed is None else OVER_BOTH
            p = float(results.holds[i]), float(results.fails[i])
            points[i] = Point(a, b, options[i], effect, low, high, difference.g, *p, errors)
    return [points[i] for i in range(len(pairs))]


def effect_text(claim: Claim, point: Point) -> str:
    """The effect of a test in words and numbers, with its 95% interval."""
    values = [point.effect, point.low, point.high]
    unit = f" {claim.unit}" if claim.unit and claim.scale == "difference" else ""
    if not isinstance(point.right, Group):
        values = [v * point.right if claim.scale == "ratio" else v + point.right for v in values]
        words = f"{point.left.label} has {number(values[0])}{unit}, against {number(point.right)}"
    else:
        sign = "/" if claim.scale == "ratio" else "−"
        words = f"{point.left.label} {sign} {point.right.label} = {number(values[0])}{unit}"
    return f"{words} (95%: {number(values[1])} to {number(values[2])})"


def is_testable(claim: Claim, group: Group) -> bool:
    """Whether the values suit the claim's scale: a ratio needs values above 0."""
    return claim.scale != "ratio" or not bool((group.values <= 0).any())


def margin_of(claim: Claim) -> float:
    """The margin on the scale of the test."""
    return 0.0 if claim.margin is None else math.log(claim.margin) if claim.scale == "ratio" else claim.margin


def seeds_needed(claim: Claim, point: Point, alpha: float, power: float = 0.8, most: int = 1000) -> int | None:
    """The number of seeds a side with which a test decides an effect of the size that was seen, with probability `power`.

    By the noncentral t distribution of Welch's test with equal numbers (Cohen 1988, ch. 2), for a one-sided test at `alpha`. The
    spread of each side is that of its values. None for a claim of equality, or if `most` seeds are too few.
    """
    groups = [side for side in (point.left, point.right) if isinstance(side, Group)]
    variances = [float(_scaled(claim, [group.values]).var(ddof=1)) for group in groups if len(group.values) > 1]
    if claim.expect == "equal" or len(variances) < len(groups):
        return None
    sign = 1 if claim.expect == "higher" else -1
    effect = math.log(point.effect) if claim.scale == "ratio" else point.effect
    distance = abs(effect - sign * margin_of(claim))
    spread = math.sqrt(sum(variances))
    at_hand = min(len(group.values) for group in groups)
    if spread == 0 or distance == 0 or point.errors != OVER_SEEDS:  # more seeds do not add examples
        return None

    def reached(n: int) -> float:
        freedom = (n - 1) * sum(variances) ** 2 / sum(variance**2 for variance in variances)
        critical = stats.t.ppf(1 - alpha, freedom)
        return float(1 - stats.nct.cdf(critical, freedom, distance * math.sqrt(n) / spread))

    if reached(most) < power:
        return None
    # the power rises with n
    seeds = 2 + bisect_left(range(2, most + 1), power, key=reached)
    return seeds if seeds > at_hand else None


def _test_alike(claim: Claim, pairs: Sequence[Pair]) -> tuple[Array, Array, Array]:
    def stacked(sides: Iterable[Group | float]) -> Array:
        groups = [side for side in sides if isinstance(side, Group)]
        distinct = {id(group): group for group in groups}  # a group is in many pairs
        values = _scaled(claim, [group.values for group in distinct.values()])
        place = {key: i for i, key in enumerate(distinct)}
        return values[[place[id(group)] for group in groups]]

    a = stacked(left for left, _ in pairs)
    b: Array | float
    b = _number(claim, claim.right) if isinstance(claim.right, float) else stacked(right for _, right in pairs)
    effects = a.mean(1) - (b.mean(1) if isinstance(b, np.ndarray) else b)
    return effects, *_decide(claim, lambda margin: one_sided(a, b, margin))


def _decide(claim: Claim, p_at: Callable[[float], tuple[Any, Any]]) -> tuple[Any, Any]:
    """The p-values for the claim and against it, from those of "the difference is above a margin" and "is below it"."""
    margin = margin_of(claim)
    if claim.expect == "equal":
        (above_low, below_low), (above_high, below_high) = p_at(-margin), p_at(margin)
        # two one-sided tests (Schuirmann 1987)
        return np.maximum(above_low, below_high), np.minimum(1.0, 2 * np.minimum(below_low, above_high))
    above, below = p_at(margin if claim.expect == "higher" else -margin)
    return (above, below) if claim.expect == "higher" else (below, above)


def _by_shape(pairs: Sequence[Pair], places: Iterable[int]) -> dict[tuple[int, int], list[int]]:
    """Some of the pairs, by the numbers of values of both sides; 0 for a number on the right."""
    shapes: dict[tuple[int, int], list[int]] = {}
    for i in places:
        a, b = pairs[i]
        shapes.setdefault((len(a.values), len(b.values) if isinstance(b, Group) else 0), []).append(i)
    return shapes


def _crossed(claim: Claim, a: Group, b: Group | float) -> Crossed | None:
    """The difference with its error over examples too; None if the values by example of both rows are not known."""
    if claim.statistic != "mean" or a.examples is None or len(a.values) < 2 or not _varies(a, b):
        return None
    is_ratio = claim.scale == "ratio"
    if not isinstance(b, Group):
        return crossed_mean(a.values, a.examples, a.of, b, is_ratio)
    if b.examples is None or len(b.values) < 2 or (a.of, a.examples.shape[1]) != (b.of, b.examples.shape[1]):
        return None
    return crossed_difference(a.values, b.values, a.examples, b.examples, a.of, is_ratio)


def _varies(a: Group, b: Group | float) -> bool:
    """Whether any value differs from another: without that, no error can be estimated."""
    groups = [group for group in (a, b) if isinstance(group, Group)]
    return any(np.ptp(group.values) > 0 for group in groups)


def _test_ranks(claim: Claim, a: Group, b: Group | float) -> tuple[float, float]:
    """Mann & Whitney's test, in which each lost seed has the value that counts most against what is tested.

    So the p-value for the claim is the largest over every value that the lost seeds could have had, and so is the
    p-value against it (the bounds of Manski 1990). Other tests than of means of two rows decide nothing with lost seeds.
    """
    if claim.expect == "equal" or claim.statistic != "mean" or not isinstance(b, Group):
        return 1.0, 1.0
    values_a, values_b = (_scaled(claim, [group.values])[0] for group in (a, b))
    sign = 1 if claim.expect == "higher" else -1
    # so that "higher" is what is tested
    values_a, values_b = sign * values_a - margin_of(claim), sign * values_b
    p = []
    for lost_a, lost_b, alternative in ((-math.inf, math.inf, "greater"), (math.inf, -math.inf, "less")):
        left = np.append(values_a, np.full(a.lost, lost_a))
        right = np.append(values_b, np.full(b.lost, lost_b))
        p.append(float(stats.mannwhitneyu(left, right, alternative=alternative, method="asymptotic").pvalue))
    return p[0], p[1]


def _lost(a: Group, b: Group | float) -> int:
    return a.lost + (b.lost if isinstance(b, Group) else 0)


def _scaled(claim: Claim, values: Sequence[Array]) -> Array:
    """Rows of values on the scale of the test, (rows, n)."""
    rows = np.stack(values)
    rows = deviations(rows) if claim.statistic == "spread" else rows
    return np.log(rows) if claim.scale == "ratio" else rows


def _number(claim: Claim, value: float) -> float:
    return math.log(value) if claim.scale == "ratio" else value
