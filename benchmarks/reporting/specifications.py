"""The tests of a claim at one place: every pair of rows of the models it names, under every combination of choices.

They are the points of a specification curve (Simonsohn et al. 2020), summed up in three p-values.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.reporting.claims import Claim, Options, Side
from benchmarks.reporting.evidence import Group, Groups, matched, tested_groups, why_unmatched
from benchmarks.reporting.points import Pair, Point, Results, is_testable, make_points, run_tests
from benchmarks.reporting.seed_statistics import ALPHA, Array

# the points that are kept
SHOWN_POINTS = 60
# three statements are tested: the claim, its opposite, and that the answer depends on a choice
STATEMENTS = 3

Indices = NDArray[np.int64]
# the choices of a row of each side
ROWS = ("left row", "right row")
NOT_POSITIVE = "a ratio needs values above 0, and some values are not"

# a side on the left and a side on the right (None: a number)
Models = tuple[Side, Side | None]


@dataclass
class Evidence:
    """The result of the tests, before the correction for other claims.

    Args:
        points: the tests, in order of their effects; of many tests a part.
        tests: the number of tests.
        passed, failed: the numbers of tests that are passed, and that show the opposite, at 5% alone.
        p_holds: of the claim.
        p_fails: of its opposite, for a model that the claim names.
        p_depends: of both, under different specifications, for a model that the claim names.
        decisive: the test with the least evidence for the claim.
        split: a test for the claim and a test against it that differ in as few choices as possible.
        split_by: the choices that alone turn a passed test into a failed one.
        not_tested: what keeps the claim from holding, because it was not tested.
        closed: what keeps the claim from any verdict.
        remarks: what a reader has to know besides.
    """

    points: Sequence[Point] = ()
    tests: int = 0
    passed: int = 0
    failed: int = 0
    p_holds: float = 1.0
    p_fails: float = 1.0
    p_depends: float = 1.0
    decisive: Point | None = None
    split: tuple[Point, Point] | None = None
    split_by: tuple[str, ...] = ()
    not_tested: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def p(self) -> float | None:
        """The smallest p of the three statements, for all three together; None without a test."""
        smallest = min(self.p_holds, self.p_fails, self.p_depends)
        return min(1.0, STATEMENTS * smallest) if self.tests and not self.closed else None


def gather(claim: Claim, by_options: Sequence[tuple[Options, Groups]], min_seeds: int) -> Evidence:
    """Tests every pair of rows of every pair of models under every specification.

    Args:
        claim: the claim.
        by_options: the rows of each side, by the options under which they were measured.
        min_seeds: rows with fewer values are in no test, unless the claim has its own number.
    """
    evidence = Evidence()
    needed = claim.min_seeds or min_seeds
    unit = "trials" if claim.over == "trials" else "seeds"
    pairs: list[Pair] = []
    options: list[Options] = []
    models: list[int] = []
    left_out: dict[str, None] = {}
    named = list(product(claim.left, [None] if isinstance(claim.right, float) else claim.right))
    for index, (left, right) in enumerate(named):
        own, reasons, untestable = list[tuple[Options, Pair]](), dict[str, None](), dict[str, None]()
        for taken, groups in by_options:
            tests = _pairs(claim, groups, (left, right), needed, unit, reasons, untestable)
            own += [(taken, pair) for pair in tests]
        evidence.not_tested += untestable
        if own:
            left_out |= reasons
            pairs += [pair for _, pair in own]
            options += [taken for taken, _ in own]
            models += [index] * len(own)
        else:
            evidence.not_tested += reasons
    if not pairs:
        evidence.closed = list(dict.fromkeys(evidence.not_tested)) or ["no two rows can be compared"]
        evidence.not_tested = []
        return evidence
    _sum_up(evidence, claim, pairs, _with_rows(pairs, options), np.array(models))
    tested = list(tested_groups(pairs))
    evidence.remarks += [f"not included: {reason}" for reason in left_out]
    evidence.remarks += [
        f"{group.lost} of {group.lost + len(group.values)} {unit} of {group.label} have no value and count against "
        "what is tested"
        for group in {group.label: group for group in tested if group.lost}.values()
    ]
    return evidence


def _pairs(
    claim: Claim,
    groups: Groups,
    models: Models,
    needed: int,
    unit: str,
    reasons: dict[str, None],
    untestable: dict[str, None],
) -> Iterator[Pair]:
    """The pairs of rows of two models that can be tested. Adds to `reasons` and `untestable` why others cannot."""
    left, right = models
    sides: list[list[Group]] = [groups.get((False, left), [])]
    if right is not None:
        sides.append(groups.get((True, right), []))
    kept = []
    for side, rows in zip(models, sides, strict=False):
        if not rows and side is not None:
            reasons[f"{side.name} (no such scores)"] = None
        for group in rows:
            if group.floor:
                reasons[group.floor] = None
            elif len(group.values) < needed:
                reasons[f"{group.label} has {len(group.values)} {unit}, {needed} are needed"] = None
        kept.append([group for group in rows if not group.floor and len(group.values) >= needed])
    others: Sequence[Group | float] = kept[1] if right is not None else [_number(claim)]
    testable = {id(group): is_testable(claim, group) for rows in kept for group in rows}
    any_match = False
    for a, same in _by_facts(kept[0], others):
        for b in same:
            any_match = True
            if testable[id(a)] and testable.get(id(b), True):
                yield a, b
            else:
                untestable[NOT_POSITIVE] = None
    if not any_match and all(kept):
        reasons[why_unmatched(kept[0], kept[1])] = None


def _by_facts(
    rows: Sequence[Group], others: Sequence[Group | float]
) -> Iterator[tuple[Group, Sequence[Group | float]]]:
    """Each row with the others that are the same in everything besides their method. Rows of equal facts are compared once."""
    same: dict[tuple[tuple[str, str], ...], Sequence[Group | float]] = {}
    for row in rows:
        key = tuple(row.facts.items())
        if key not in same:
            same[key] = [other for other in others if matched(row, other)]
        yield row, same[key]


def _sum_up(evidence: Evidence, claim: Claim, pairs: list[Pair], options: list[Options], models: Indices) -> None:
    """The p-values of the three statements, the points to show, and the two that disagree."""
    results = run_tests(claim, pairs)
    evidence.tests = len(pairs)
    evidence.passed, evidence.failed = (int((p < ALPHA).sum()) for p in (results.holds, results.fails))
    # the claim holds if every test is passed (an intersection-union test, Berger 1982)
    evidence.p_holds = float(results.holds.max())
    indices = [np.nonzero(models == index)[0] for index in np.unique(models)]
    # one of several models refutes the claim (Bonferroni), if every test of the model is failed
    evidence.p_fails = min(1.0, len(indices) * min(float(results.fails[own].max()) for own in indices))
    splits = [
        max(min(1.0, len(own) * float(results.holds[own].min())), min(1.0, len(own) * float(results.fails[own].min())))
        for own in indices
    ]
    evidence.p_depends = min(1.0, len(indices) * min(splits))

    own = indices[int(np.argmin(splits))]
    shown = _shown(results.effects, results.holds)
    split, evidence.split_by = _split(own, results.holds, results.fails, options)
    at = [*shown, int(np.argmax(results.holds)), *split]
    of_points = Results(*(array[at] for array in results))
    points = make_points(claim, [pairs[i] for i in at], [options[i] for i in at], of_points)
    evidence.points, (evidence.decisive, passed, failed) = points[: len(shown)], points[len(shown) :]
    evidence.split = passed, failed


def _split(own: Indices, holds: Array, fails: Array, options: list[Options]) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Of the tests of one model: a passed one and a failed one, and every choice that alone turns a passed one into a failed one.

    The two differ in as few choices as possible, and in the ruler rather than in the rows.
    """
    limit = ALPHA / len(own)
    passed = [int(i) for i in own if holds[i] < limit] or [int(own[np.argmin(holds[own])])]
    failed = [int(i) for i in own if fails[i] < limit] or [int(own[np.argmin(fails[own])])]
    pairs = list(product(passed[:200], failed[:200]))
    titles = {pair: {title for title, _ in set(options[pair[0]]) ^ set(options[pair[1]])} for pair in pairs}

    def distance(pair: tuple[int, int]) -> tuple[int, int, float]:
        differing = titles[pair]
        return len(differing & {*ROWS}), len(differing), holds[pair[0]] + fails[pair[1]]

    alone = dict.fromkeys(title for pair in pairs if len(titles[pair]) == 1 for title in titles[pair])
    return min(pairs, key=distance), tuple(alone)


def _with_rows(pairs: list[Pair], options: list[Options]) -> list[Options]:
    """The options with the rows of a model among them, for each model that has several rows."""
    labels: dict[int, dict[str, None]] = {0: {}, 1: {}}
    for pair in pairs:
        for side, group in enumerate(pair):
            if isinstance(group, Group):
                labels[side][group.label] = None
    names = {side: title for side, title in enumerate(ROWS) if len(labels[side]) > 1}
    return [
        (*taken, *((names[side], pair[side].label) for side in names if isinstance(pair[side], Group)))  # type: ignore[union-attr]
        for pair, taken in zip(pairs, options, strict=True)
    ]


def _shown(effects: Array, holds: Array) -> list[int]:
    """The tests to show, in order of their effects: all, or evenly spaced ones with those at the ends."""
    order = np.argsort(effects, kind="stable")
    if len(order) > SHOWN_POINTS:
        places = np.unique(np.linspace(0, len(order) - 1, SHOWN_POINTS).round().astype(int))
        order = order[places]
    return [int(i) for i in order]


def _number(claim: Claim) -> float:
    assert isinstance(claim.right, float)
    return claim.right
