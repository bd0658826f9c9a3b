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
        untestable: what keeps the claim from holding and its opposite from being shown.
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
    untestable: list[str] = field(default_factory=list)
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
        tests = [(taken, _Tests.of(claim, groups, (left, right), needed, unit)) for taken, groups in by_options]
        evidence.untestable += dict.fromkeys(reason for _, each in tests for reason in each.untestable)
        if not any(each.pairs for _, each in tests):
            evidence.not_tested += dict.fromkeys(reason for _, each in tests for reason in each.reasons)
            continue
        left_out |= dict.fromkeys(reason for _, each in tests for reason in each.reasons if each.pairs)
        evidence.not_tested += _gaps(tests)
        for taken, each in tests:
            pairs += each.pairs
            options += [taken] * len(each.pairs)
            models += [index] * len(each.pairs)
    if not pairs:
        evidence.closed = list(dict.fromkeys([*evidence.untestable, *evidence.not_tested])) or [
            "no rows can be compared"
        ]
        evidence.not_tested, evidence.untestable = [], []
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


@dataclass
class _Tests:
    """The pairs of rows of two models that can be tested under one specification.

    Args:
        pairs: of rows.
        reasons: why other rows are in no pair.
        untestable: why rows that count are in no pair; this keeps the claim from holding, and its opposite from being shown.
    """

    pairs: list[Pair] = field(default_factory=list)
    reasons: dict[str, None] = field(default_factory=dict)
    untestable: dict[str, None] = field(default_factory=dict)

    @classmethod
    def of(cls, claim: Claim, groups: Groups, models: Models, needed: int, unit: str) -> "_Tests":
        tests = cls()
        left, right = models
        rows = tests._enough(left, groups.get((False, left), []), needed, unit)
        others: Sequence[Group | float] = [_number(claim)] if right is None else []
        if right is not None:
            others = tests._enough(right, groups.get((True, right), []), needed, unit)
        partners = set[int]()
        for a, same in _by_facts(rows, others):
            # a model against itself compares two quantities of each row, never two rows
            same = [b for b in same if b.label == a.label] if left == right else same  # type: ignore[union-attr]
            for b in same:
                partners |= {id(a), id(b)}
                if all(is_testable(claim, group) for group in (a, b) if isinstance(group, Group)):
                    tests.pairs.append((a, b))
                else:
                    tests.untestable[NOT_POSITIVE] = None
        unmatched = [group for group in (*rows, *others) if isinstance(group, Group) and id(group) not in partners]
        if rows and others and not partners:
            tests.reasons[why_unmatched(rows, [b for b in others if isinstance(b, Group)])] = None
        elif partners:
            tests.reasons |= {f"{group.label} differs from every row of the other side": None for group in unmatched}
        return tests

    @property
    def labels(self) -> set[str]:
        """The rows that are in a test."""
        return {group.label for pair in self.pairs for group in pair if isinstance(group, Group)}

    def _enough(self, side: Side, rows: Sequence[Group], needed: int, unit: str) -> list[Group]:
        if not rows:
            self.reasons[f"{side.name} (no such scores)"] = None
        for group in rows:
            count = len(group.values)
            if group.floor:
                self.reasons[group.floor] = None
            elif count < needed <= count + group.lost:
                self.untestable[f"{group.lost} of {count + group.lost} {unit} of {group.label} are lost"] = None
            elif count < needed:
                self.reasons[f"{group.label} has {count} {unit}, {needed} are needed"] = None
        return [group for group in rows if not group.floor and len(group.values) >= needed]


def _gaps(tests: Sequence[tuple[Options, _Tests]]) -> list[str]:
    """The specifications, and the rows, of two models that were tested under some options and not under others."""
    gaps: dict[str, None] = {}
    for taken, each in tests:
        network = dict(taken).get("network")
        of_network = [other.labels for options, other in tests if dict(options).get("network") == network]
        words = ", ".join(f"{choice}: {option}" for choice, option in taken)
        if not each.pairs:
            reason = next(iter({**each.untestable, **each.reasons}), "no test")
            gaps[f"{words} ({reason})" if words else reason] = None
        gaps |= {
            f"{label} with {words}": None for label in sorted(set().union(*of_network) - each.labels) if each.pairs
        }
    return list(gaps)


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
