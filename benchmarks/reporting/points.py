"""One test of a claim: a row on the left against a row (or a number) on the right, under one specification."""

import math
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import special

from benchmarks.reporting.claims import Claim, Options
from benchmarks.reporting.evidence import Group
from benchmarks.reporting.numbers import number
from benchmarks.reporting.pairs import (
    Pairs,
    Results,
    are_crossed,
    by_shape,
    crossed_parts,
    margin_of,
    number_of,
    of_same_row,
    same_seeds,
    scaled,
)
from benchmarks.reporting.seed_statistics import Array, differences, differences_from

OVER_SEEDS = "seeds"
OVER_BOTH = "seeds and examples"
RANKS = "seeds that are left, and ranks of all seeds; a lost seed counts against what is tested"
# the largest logarithm of a float
_LARGEST = math.log(sys.float_info.max)


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


def make_points(claim: Claim, pairs: Pairs, options: Sequence[Options], results: Results) -> list[Point]:
    """The points of tested pairs, with their intervals. Pairs with equal numbers of values share one call."""
    points: dict[int, Point] = {}
    ends: dict[int, tuple[float, float, float]] = {}
    for places, crossed in crossed_parts(claim, pairs, np.nonzero(are_crossed(claim, pairs))[0]):
        low, high = crossed.interval()
        ends |= dict(
            zip(places.tolist(), zip(crossed.value.tolist(), low.tolist(), high.tolist(), strict=True), strict=True)
        )
    of_one_row = of_same_row(pairs)
    for places in by_shape(pairs, np.arange(len(pairs))):
        left = scaled(claim, [pairs.groups[i].values for i in pairs.left[places]])
        if pairs.right[places[0]] >= 0:
            parts = differences(left, scaled(claim, [pairs.groups[i].values for i in pairs.right[places]]))
        else:
            parts = differences_from(left, number_of(claim))
        for i, difference in zip(places.tolist(), parts, strict=True):
            a, b = pairs.at(i, claim)
            value, *interval = ends.get(i, (difference.value, difference.low, difference.high))
            if of_one_row[i] and isinstance(b, Group):
                interval = _wider(interval, same_seeds(claim, a, b))
            effect, low, high = (_ratio(v) if claim.scale == "ratio" else v for v in (value, *interval))
            lost = a.lost + (b.lost if isinstance(b, Group) else 0)
            errors = RANKS if lost else OVER_BOTH if i in ends else OVER_SEEDS
            p = float(results.holds[i]), float(results.fails[i])
            points[i] = Point(a, b, options[i], effect, low, high, difference.g, *p, errors)
    return [points[i] for i in range(len(pairs))]


def _wider(interval: Sequence[float], by_seed: Array | None) -> list[float]:
    """The ends of both intervals of two quantities of one row: the tests of both have to agree, the paired one included."""
    if by_seed is None:
        return list(interval)
    (paired,) = differences_from(by_seed, 0.0)
    return [min(interval[0], paired.low), max(interval[1], paired.high)]


def _ratio(logarithm: float) -> float:
    """The ratio that has the logarithm; infinite where it is too large for a float."""
    return math.inf if logarithm > _LARGEST else math.exp(logarithm)


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


def seeds_needed(claim: Claim, point: Point, alpha: float, power: float = 0.8, most: int = 1000) -> int | None:
    """The number of seeds a side with which a test decides an effect of the size that was seen, with probability `power`.

    By the noncentral t distribution of Welch's test with equal numbers (Cohen 1988, ch. 2), for a one-sided test at `alpha`. The
    spread of each side is that of its values. None for a claim of equality, or if `most` seeds are too few.
    """
    groups = [side for side in (point.left, point.right) if isinstance(side, Group)]
    variances = [float(scaled(claim, [group.values]).var(ddof=1)) for group in groups if len(group.values) > 1]
    if claim.expect == "equal" or len(variances) < len(groups):
        return None
    sign = 1 if claim.expect == "higher" else -1
    if claim.scale == "ratio" and not 0 < point.effect < math.inf:
        return None
    effect = math.log(point.effect) if claim.scale == "ratio" else point.effect
    distance = abs(effect - sign * margin_of(claim))
    spread = math.sqrt(sum(variances))
    at_hand = min(len(group.values) for group in groups)
    if len(groups) == 2 and {*groups[0].runs} & {*groups[1].runs}:  # their spreads are not those of independent seeds
        return None
    if spread == 0 or distance == 0 or point.errors != OVER_SEEDS:  # more seeds do not add examples
        return None

    def reached(n: int) -> float:
        freedom = (n - 1) * sum(variances) ** 2 / sum(variance**2 for variance in variances)
        critical = special.stdtrit(freedom, 1 - alpha)
        return float(1 - special.nctdtr(freedom, distance * math.sqrt(n) / spread, critical))

    if reached(most) < power:
        return None
    # the power rises with n
    seeds = 2 + bisect_left(range(2, most + 1), power, key=reached)
    return seeds if seeds > at_hand else None
