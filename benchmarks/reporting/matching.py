"""Which rows a claim can compare under one specification: rows with enough values, that differ in their method alone."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.reporting.claims import Claim, Side
from benchmarks.reporting.evidence import Group, Groups, matched, why_unmatched
from benchmarks.reporting.pairs import testable

NOT_POSITIVE = "a ratio needs values above 0, and some values are not"

Indices = NDArray[np.int64]
# a side on the left and a side on the right (None: a number)
Models = tuple[Side, Side | None]


class RowPlaces:
    """The rows of tests, each at one place."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self._places: dict[int, int] = {}

    def place(self, group: Group | float) -> int:
        """The place of a row; -1 for a number."""
        if not isinstance(group, Group):
            return -1
        if id(group) not in self._places:
            self._places[id(group)] = len(self.groups)
            self.groups.append(group)
        return self._places[id(group)]


@dataclass
class Matches:
    """The pairs of rows of two models that can be tested under one specification.

    Args:
        left, right: (pairs,), the places of the rows of each pair; -1 for a number on the right.
        labels: the rows that are in a test; none without a pair.
        reasons: why other rows are in no pair.
        untestable: why rows that count are in no pair; this keeps the claim from holding, and its opposite from being shown.
    """

    left: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    right: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    labels: frozenset[str] = frozenset()
    reasons: dict[str, None] = field(default_factory=dict)
    untestable: dict[str, None] = field(default_factory=dict)

    @classmethod
    def of(cls, claim: Claim, groups: Groups, models: Models, needed: int, unit: str, places: RowPlaces) -> "Matches":
        tests = cls()
        left, right = models
        rows = tests._enough(left, groups.get((False, left), []), needed, unit)
        others: Sequence[Group | float] = [claim.right] if isinstance(claim.right, float) else []
        if right is not None:
            others = tests._enough(right, groups.get((True, right), []), needed, unit)
        is_testable = {id(group): not isinstance(group, Group) or testable(claim, group) for group in (*rows, *others)}
        partners, lists = set[int](), dict[int, Sequence[Group | float]]()
        blocks: list[tuple[Group, Sequence[Group | float]]] = []
        for a, same, pairable in _by_facts(rows, others, is_testable, same_row=left == right):
            if same:
                partners.add(id(a))
                lists[id(same)] = same  # rows of equal facts have one list
                blocks += [(a, pairable)] if pairable and is_testable[id(a)] else []
                if len(pairable) < len(same) or not is_testable[id(a)]:
                    tests.untestable[NOT_POSITIVE] = None
        partners |= {id(b) for same in lists.values() for b in same}
        tests._add(blocks, places)
        unmatched = [group for group in (*rows, *others) if isinstance(group, Group) and id(group) not in partners]
        if rows and others and not partners:
            tests.reasons[why_unmatched(rows, [b for b in others if isinstance(b, Group)])] = None
        elif partners:
            tests.reasons |= {f"{group.label} differs from every row of the other side": None for group in unmatched}
        return tests

    def _add(self, blocks: Sequence[tuple[Group, Sequence[Group | float]]], places: RowPlaces) -> None:
        """Adds the pairs of each row with its others. Rows of equal facts have one list of others: its places are found once."""
        if not blocks:
            return
        self.left = np.repeat([places.place(a) for a, _ in blocks], [len(others) for _, others in blocks])
        lists = {id(others): others for _, others in blocks}
        right = {key: np.array([places.place(b) for b in others]) for key, others in lists.items()}
        self.right = np.concatenate([right[id(others)] for _, others in blocks])
        tested = [*(a for a, _ in blocks), *(b for others in lists.values() for b in others)]
        self.labels = frozenset(group.label for group in tested if isinstance(group, Group))

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


def _by_facts(
    rows: Sequence[Group], others: Sequence[Group | float], is_testable: Mapping[int, bool], same_row: bool
) -> Iterator[tuple[Group, Sequence[Group | float], Sequence[Group | float]]]:
    """Each row with the others that are the same in everything besides their method, and those of them that can be tested.

    Rows of equal facts are compared once and get the same two lists: a table may have thousands of rows.

    Args:
        rows, others: of the two sides.
        is_testable: by the id of a row or number.
        same_row: a model against itself compares two quantities of each row, never two rows.
    """
    by_label: dict[str, list[Group | float]] = defaultdict(list)
    for other in others if same_row else ():
        by_label[other.label].append(other)  # type: ignore[union-attr]
    known: dict[object, tuple[Sequence[Group | float], Sequence[Group | float]]] = {}
    for row in rows:
        key = (*row.facts.items(), row.label if same_row else "")
        if key not in known:
            same = [other for other in (by_label[row.label] if same_row else others) if matched(row, other)]
            known[key] = same, [other for other in same if is_testable[id(other)]]
        yield row, *known[key]
