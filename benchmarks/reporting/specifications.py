"""The tests of a claim at one place: every pair of rows of the models it names, under every combination of choices.

They are the points of a specification curve (Simonsohn et al. 2020), summed up in three p-values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from benchmarks.reporting.alone import once_for_all
from benchmarks.reporting.claims import Claim, Options
from benchmarks.reporting.evidence import Group, Groups
from benchmarks.reporting.matching import Indices, Matches, RowPlaces
from benchmarks.reporting.pairs import Pairs, Results, run_tests
from benchmarks.reporting.points import Point, make_points
from benchmarks.reporting.seed_statistics import ALPHA, Array

# the points that are kept
SHOWN_POINTS = 60
# three statements are tested: the claim, its opposite, and that the answer depends on a choice
STATEMENTS = 3

# the choices of a row of each side
ROWS = ("left row", "right row")


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
    rows = RowPlaces()
    parts: list[tuple[int, int, Matches]] = []
    left_out: dict[str, None] = {}
    named = list(product(claim.left, [None] if isinstance(claim.right, float) else claim.right))
    for index, (left, right) in enumerate(named):
        tests = [(taken, Matches.of(claim, groups, (left, right), needed, unit, rows)) for taken, groups in by_options]
        evidence.untestable += dict.fromkeys(reason for _, each in tests for reason in each.untestable)
        if not any(each.labels for _, each in tests):
            evidence.not_tested += dict.fromkeys(reason for _, each in tests for reason in each.reasons)
            continue
        left_out |= dict.fromkeys(reason for _, each in tests for reason in each.reasons if each.labels)
        evidence.not_tested += _gaps(tests)
        parts += [(index, place, each) for place, (_, each) in enumerate(tests) if each.labels]
    if not parts:
        evidence.closed = once_for_all([*evidence.untestable, *evidence.not_tested]) or ["no rows can be compared"]
        evidence.not_tested, evidence.untestable = [], []
        return evidence
    pairs = Pairs(
        rows.groups, *(np.concatenate([getattr(each, side) for *_, each in parts]) for side in ("left", "right"))
    )
    sizes = [len(each.left) for *_, each in parts]
    models, specifications = (np.repeat([part[i] for part in parts], sizes) for i in (0, 1))
    options = _Options([taken for taken, _ in by_options], specifications, pairs)
    _sum_up(evidence, claim, pairs, options, models)
    evidence.remarks += [f"not included: {reason}" for reason in once_for_all(left_out)]
    evidence.remarks += [
        f"{group.lost} of {group.lost + len(group.values)} {unit} of {group.label} have no value and count against "
        "what is tested"
        for group in _with_lost(pairs)
    ]
    return evidence


def _with_lost(pairs: Pairs) -> list[Group]:
    """The rows with lost seeds, in the order of the pairs; of a row that is measured in several ways, the last one."""
    if not any(group.lost for group in pairs.groups):
        return []
    in_order = np.stack([pairs.left, pairs.right], axis=1).ravel()
    by_label: dict[str, Group] = {}
    lost = np.array([*(group.lost > 0 for group in pairs.groups), False])  # the last place is -1, a number
    for i in in_order[lost[in_order]].tolist():
        by_label[pairs.groups[i].label] = pairs.groups[i]
    return list(by_label.values())


def _gaps(tests: Sequence[tuple[Options, Matches]]) -> list[str]:
    """The specifications, and the rows, of two models that were tested under some options and not under others."""
    gaps: dict[str, None] = {}
    by_network: dict[str | None, list[frozenset[str]]] = {}
    for taken, each in tests:
        by_network.setdefault(dict(taken).get("network"), []).append(each.labels)
    for taken, each in tests:
        network = dict(taken).get("network")
        of_network = by_network[network]
        words = ", ".join(f"{choice}: {option}" for choice, option in taken)
        if not each.labels:
            reason = next(iter({**each.untestable, **each.reasons}), "no test")
            gaps[f"{words} ({reason})" if words else reason] = None
        gaps |= {
            f"{label} with {words}": None
            for label in sorted(frozenset().union(*of_network) - each.labels)
            if each.labels
        }
    return list(gaps)


class _Options:
    """The options of each test, rows included, as numbers: there may be millions of tests.

    Args:
        taken: the options of each specification. All have the same choices.
        specifications: (tests,), the places in `taken`.
        pairs: (tests,), whose rows are options too, for each side of several rows.
    """

    def __init__(self, taken: Sequence[Options], specifications: Indices, pairs: Pairs) -> None:
        self._taken, self._specifications, self._pairs = taken, specifications, pairs
        labels = [group.label for group in pairs.groups]
        self._rows = [
            (title, places)
            for title, places in zip(ROWS, (pairs.left, pairs.right), strict=True)
            if len({labels[i] for i in np.unique(places) if i >= 0}) > 1
        ]

    def __getitem__(self, i: int) -> Options:
        rows = [(title, self._pairs.groups[int(places[i])].label) for title, places in self._rows]
        return (*self._taken[int(self._specifications[i])], *rows)


def _sum_up(evidence: Evidence, claim: Claim, pairs: Pairs, options: _Options, models: Indices) -> None:
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
    at = np.array([*shown, int(np.argmax(results.holds)), *split])
    of_points = Results(*(array[at] for array in results))
    at_pairs = Pairs(pairs.groups, pairs.left[at], pairs.right[at])
    points = make_points(claim, at_pairs, [options[i] for i in at], of_points)
    evidence.points, (evidence.decisive, passed, failed) = points[: len(shown)], points[len(shown) :]
    evidence.split = passed, failed


def _split(own: Indices, holds: Array, fails: Array, options: _Options) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Of the tests of one model: a passed one and a failed one, and every choice that alone turns a passed one into a failed one.

    The two differ in as few choices as possible, and in the ruler rather than in the rows.
    """
    limit = ALPHA / len(own)
    passed, failed = (own[p[own] < limit][:200] for p in (holds, fails))
    passed, failed = (
        found if len(found) else own[[int(np.argmin(p[own]))]] for found, p in ((passed, holds), (failed, fails))
    )
    taken = [[dict(options[int(i)]) for i in found] for found in (passed, failed)]
    titles = list(taken[0][0])
    # (passed, failed, titles): whether the two tests differ in a choice
    differ = (
        np.stack(
            [
                np.array([t[title] for t in taken[0]])[:, None] != np.array([t[title] for t in taken[1]])
                for title in titles
            ],
            -1,
        )
        if titles
        else np.zeros((len(passed), len(failed), 0), bool)
    )
    count = differ.sum(-1)
    in_rows = differ[..., [i for i, title in enumerate(titles) if title in ROWS]].sum(-1)
    together = holds[passed][:, None] + fails[failed]
    best = np.lexsort((np.arange(count.size), together.ravel(), count.ravel(), in_rows.ravel()))[0]
    alone = np.argmax(differ, -1)[count == 1].tolist() if titles else []
    pair = int(passed[best // len(failed)]), int(failed[best % len(failed)])
    return pair, tuple(titles[i] for i in dict.fromkeys(alone))


def _shown(effects: Array, holds: Array) -> list[int]:
    """The tests to show, in order of their effects: all, or evenly spaced ones with those at the ends."""
    order = np.argsort(effects, kind="stable")
    if len(order) > SHOWN_POINTS:
        places = np.unique(np.linspace(0, len(order) - 1, SHOWN_POINTS).round().astype(int))
        order = order[places]
    return [int(i) for i in order]
