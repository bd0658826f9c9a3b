"""The tests of a claim: pairs of rows, tested as arrays, because a claim may have millions of them."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.reporting.claims import Claim
from benchmarks.reporting.cores import in_threads
from benchmarks.reporting.crossed import Crossed, Measured, MeasuredRows, crossed_differences, crossed_mean
from benchmarks.reporting.evidence import Group
from benchmarks.reporting.seed_statistics import Array, Moments, deviations, one_sided_of

# pairs that are tested in one call: their arrays fit a processor's cache
CHUNK = 2**13

Pair = tuple[Group, Group | float]
Places = NDArray[np.int64]


class Results(NamedTuple):
    """By pair: the effect on the scale of the test (logarithms for ratios), and the two one-sided p-values."""

    effects: Array
    holds: Array
    fails: Array


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows to test, as places in a list of rows: a row is in thousands of pairs.

    Args:
        groups: the rows.
        left: (pairs,), places of the rows on the left.
        right: (pairs,), places of the rows on the right; -1 for the number of the claim.
    """

    groups: Sequence[Group]
    left: Places
    right: Places

    def __len__(self) -> int:
        return len(self.left)

    def at(self, i: int, claim: Claim) -> Pair:
        """One of the pairs."""
        right = int(self.right[i])
        assert right >= 0 or isinstance(claim.right, float)
        return self.groups[int(self.left[i])], self.groups[right] if right >= 0 else claim.right  # type: ignore[return-value]

    def facts(self, of: Callable[[Group], Any], of_number: Any) -> tuple[Any, Any]:
        """A fact of the rows of each pair, (pairs,) for the left and for the right."""
        values = np.array([*map(of, self.groups), of_number])
        return values[self.left], values[self.right]  # the last place is -1, the number's


def run_tests(claim: Claim, pairs: Pairs) -> Results:
    """Tests every pair. Pairs with equal numbers of values are tested in one call."""
    effects, holds, fails = (np.ones(len(pairs)) for _ in range(3))
    is_crossed = are_crossed(claim, pairs)
    for places, crossed in crossed_parts(claim, pairs, np.nonzero(is_crossed)[0]):
        effects[places] = crossed.value
        holds[places], fails[places] = _decide(claim, crossed.one_sided)
    for places in by_shape(pairs, np.nonzero(~is_crossed)[0]):
        effects[places], holds[places], fails[places] = _test_alike(claim, pairs, places)
    lost_left, lost_right = pairs.facts(lambda group: group.lost, 0)
    lost = np.nonzero(lost_left + lost_right)[0]
    # the ranks of all seeds and the means of those that are left must agree
    for places in by_shape(pairs, lost, with_lost=True):
        by_rank = _test_ranks(claim, pairs, places)
        holds[places] = np.maximum(holds[places], by_rank[0])
        fails[places] = np.maximum(fails[places], by_rank[1])
    # two quantities of one row are measured on the same seeds: Welch's test alone would take them as independent
    for i in np.nonzero(of_same_row(pairs))[0]:
        by_seed = _test_same_seeds(claim, *(pairs.groups[side[i]] for side in (pairs.left, pairs.right)))
        holds[i], fails[i] = max(holds[i], by_seed[0]), max(fails[i], by_seed[1])
    return Results(effects, holds, fails)


def testable(claim: Claim, group: Group) -> bool:
    """Whether the values suit the claim's scale: a ratio needs values above 0."""
    return claim.scale != "ratio" or not bool((group.values <= 0).any())


def margin_of(claim: Claim) -> float:
    """The margin on the scale of the test."""
    return 0.0 if claim.margin is None else math.log(claim.margin) if claim.scale == "ratio" else claim.margin


def _test_alike(claim: Claim, pairs: Pairs, places: Places) -> tuple[Array, Array, Array]:
    """The tests over seeds alone, of pairs with equal numbers of values."""
    rows, left = np.unique(pairs.left[places], return_inverse=True)
    a = scaled(claim, [pairs.groups[i].values for i in rows])
    means = a.mean(1)[left]
    if pairs.right[places[0]] < 0:
        number = number_of(claim)
        return means - number, *_decide(claim, lambda margin: one_sided_of(Moments.of(a - margin).at(left), number))
    rows, right = np.unique(pairs.right[places], return_inverse=True)
    b = Moments.of(scaled(claim, [pairs.groups[i].values for i in rows]))

    def p_at(margin: float) -> tuple[Array, Array]:
        shifted, p = Moments.of(a - margin), np.empty((2, len(places)))

        def test(starts: Sequence[int]) -> None:
            for i in starts:
                part = slice(i, i + CHUNK)
                p[:, part] = one_sided_of(shifted.at(left[part]), b.at(right[part]))

        in_threads(test, range(0, len(places), CHUNK))
        return p[0], p[1]

    return means - b.mean[right], *_decide(claim, p_at)


def _decide(claim: Claim, p_at: Callable[[float], tuple[Any, Any]]) -> tuple[Any, Any]:
    """The p-values for the claim and against it, from those of "the difference is above a margin" and "is below it"."""
    margin = margin_of(claim)
    if claim.expect == "equal":
        (above_low, below_low), (above_high, below_high) = p_at(-margin), p_at(margin)
        # two one-sided tests (Schuirmann 1987)
        return np.maximum(above_low, below_high), np.minimum(1.0, 2 * np.minimum(below_low, above_high))
    above, below = p_at(margin if claim.expect == "higher" else -margin)
    return (above, below) if claim.expect == "higher" else (below, above)


def by_shape(pairs: Pairs, places: Places, with_lost: bool = False) -> Iterator[Places]:
    """Some of the pairs, in parts with equal numbers of values (and of lost seeds); a number counts as no value."""
    if not len(places):
        return
    facts = list(pairs.facts(lambda group: len(group.values), 0))
    facts += pairs.facts(lambda group: group.lost, 0) if with_lost else ()
    which = np.zeros(len(places), np.int64)
    for fact in facts:
        which = which * (1 + int(fact.max())) + fact[places]
    if (which == which[0]).all():
        yield places
        return
    order = np.argsort(which, kind="stable")
    yield from np.split(places[order], np.nonzero(np.diff(which[order]))[0] + 1)


def are_crossed(claim: Claim, pairs: Pairs) -> NDArray[np.bool_]:
    """Of which pairs the values by example are known, so that the error over examples counts too."""
    if claim.statistic != "mean":
        return np.zeros(len(pairs), bool)
    left, right = pairs.facts(lambda group: group.examples is not None and len(group.values) > 1, True)
    varies_left, varies_right = pairs.facts(
        lambda group: len(group.values) > 0 and bool(np.ptp(group.values) > 0), False
    )
    crossed = left & right & (varies_left | varies_right)
    of_left, of_right = pairs.facts(lambda group: group.of, -1)
    size_left, size_right = pairs.facts(lambda group: 0 if group.examples is None else len(group.examples), -1)
    return crossed & ((pairs.right < 0) | ((of_left == of_right) & (size_left == size_right)))


def crossed_parts(claim: Claim, pairs: Pairs, places: Places) -> Iterator[tuple[Places, Crossed]]:
    """The differences with their errors over examples too, in parts that share the row on the left."""
    if not len(places):
        return
    by_size: dict[int, list[Measured]] = defaultdict(list)
    where = np.full(1 + len(pairs.groups), -1)  # the place of each row among those with as many examples
    measured: dict[int, Measured] = {}
    for i in np.unique([pairs.left[places], pairs.right[places]]).tolist():
        if i >= 0:
            group = pairs.groups[i]
            assert group.examples is not None
            measured[i] = Measured.of(group.values, group.examples, claim.scale == "ratio")
            where[i] = len(by_size[len(group.examples)])
            by_size[len(group.examples)].append(measured[i])
    others = {size: MeasuredRows.of(rows) for size, rows in by_size.items()}

    order = places[np.argsort(pairs.left[places], kind="stable")]
    for part in np.split(order, np.nonzero(np.diff(pairs.left[order]))[0] + 1):
        row, of = measured[int(pairs.left[part[0]])], pairs.groups[int(pairs.left[part[0]])].of
        if pairs.right[part[0]] < 0:
            # one pair may stand in several places: the decisive test is also one of those that are shown
            yield part, Crossed(*(np.repeat(array, len(part)) for array in crossed_mean(row, of, number_of(claim))))
        else:
            yield part, crossed_differences(row, others[len(row.per_example)], where[pairs.right[part]], of)


def _test_ranks(claim: Claim, pairs: Pairs, places: Places) -> tuple[Any, Any]:
    """Mann & Whitney's test, in which each lost seed has the value that counts most against what is tested.

    So the p-value for the claim is the largest over every value that the lost seeds could have had, and so is the
    p-value against it (the bounds of Manski 1990). Other tests than of means of two rows decide nothing with lost seeds.

    Args:
        claim: the claim.
        pairs: of rows.
        places: of pairs with equal numbers of values and of lost seeds.
    """
    if claim.expect == "equal" or claim.statistic != "mean" or pairs.right[places[0]] < 0:
        return 1.0, 1.0
    sides = [[pairs.groups[i] for i in side[places]] for side in (pairs.left, pairs.right)]
    sign = 1 if claim.expect == "higher" else -1
    # so that "higher" is what is tested
    values_a, values_b = (sign * scaled(claim, [group.values for group in side]) for side in sides)
    values_a = values_a - margin_of(claim)
    p = []
    for lost_a, lost_b, alternative in ((-math.inf, math.inf, "greater"), (math.inf, -math.inf, "less")):
        left = np.hstack([values_a, np.full((len(places), sides[0][0].lost), lost_a)])
        right = np.hstack([values_b, np.full((len(places), sides[1][0].lost), lost_b)])
        p.append(stats.mannwhitneyu(left, right, alternative=alternative, method="asymptotic", axis=1).pvalue)
    return p[0], p[1]


def of_same_row(pairs: Pairs) -> NDArray[np.bool_]:
    """Of which pairs both sides are of one row."""
    known: dict[Path, int] = {}
    rows = (known.setdefault(group.runs[0].parent, len(known)) if group.runs else -1 for group in pairs.groups)
    left, right = pairs.facts(lambda _: next(rows), -1)
    same: NDArray[np.bool_] = (left == right) & (left >= 0)
    return same


def _test_same_seeds(claim: Claim, a: Group, b: Group) -> tuple[float, float]:
    """The t-test of the differences seed by seed, which holds whatever the correlation of the two quantities is."""
    by_seed = same_seeds(claim, a, b)
    if by_seed is None:
        return 1.0, 1.0
    holds, fails = _decide(claim, lambda margin: one_sided_of(Moments.of(by_seed - margin), 0.0))
    return float(holds[0]), float(fails[0])


def same_seeds(claim: Claim, a: Group, b: Group) -> Array | None:
    """The differences of two quantities of one row seed by seed, (1, seeds); None for fewer than two common seeds."""
    places = {run: i for i, run in enumerate(b.runs)}
    common = [(i, places[run]) for i, run in enumerate(a.runs) if run in places]
    if len(common) < 2:
        return None
    left, right = (
        values[list(own)] for values, own in zip((a.values, b.values), zip(*common, strict=True), strict=True)
    )
    return scaled(claim, [left]) - scaled(claim, [right])


def scaled(claim: Claim, values: Sequence[Array]) -> Array:
    """Rows of values on the scale of the test, (rows, n)."""
    rows = np.stack(values)
    rows = deviations(rows) if claim.statistic == "spread" else rows
    return np.log(rows) if claim.scale == "ratio" else rows


def number_of(claim: Claim) -> float:
    """The number on the right of a claim, on the scale of the test."""
    assert isinstance(claim.right, float)
    return math.log(claim.right) if claim.scale == "ratio" else claim.right
