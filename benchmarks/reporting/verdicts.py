"""The answers of records to claims: on every data set that has the scores, a claim holds, does not hold, depends, or is open.

A claim is asked under every specification: every combination of the options of its choices, every network, and every row of
the models that it names (multiverse analysis: Steegen et al. 2016; the specification curve: Simonsohn et al. 2020).

- *holds*: the test is passed under every specification.
- *does not hold*: for a model that the claim names, the opposite is shown under every specification.
- *depends*: for a model that the claim names, the claim is shown under one specification and its opposite under another.
- *undecided*: everything else. The answer gives the reason.

A wrong verdict has a probability of 5% at most for all claims of a folder together, whatever else a report contains
(`Claims.family`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.records.runs import Run
from benchmarks.records.searches import Search
from benchmarks.reporting.alone import once_for_all
from benchmarks.reporting.claims import NOWHERE, Claim, Claims, Options
from benchmarks.reporting.evidence import COSTS, Groups, RowGroups, answering_tables, trial_groups
from benchmarks.reporting.pairs import margin_of
from benchmarks.reporting.points import RANKS, Point, seeds_needed
from benchmarks.reporting.quantities import in_words
from benchmarks.reporting.seed_statistics import ALPHA, MIN_SEEDS, holm
from benchmarks.reporting.specifications import STATEMENTS, Evidence, gather
from benchmarks.reporting.table import Table

Verdict = Literal["holds", "does not hold", "depends", "undecided"]

# the data set and protocol or the search in words, the data set, and the networks
Place = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True)
class Answer:
    """A claim on one data set and protocol, or on one search, decided at 5% for all claims of a folder together.

    Args:
        claim: the claim.
        where: the data set and protocol, or the search, in words.
        datamodule, networks: their names.
        verdict: the answer.
        reason: what the reader has to know of the verdict.
        points: the tests, in order of their effects; of many tests a part.
        tests: the number of tests.
        passed, failed: the numbers of tests that are passed, and that show the opposite, at 5% alone.
        p: of the verdict, before the correction.
        adjusted_p: after Holm's correction.
        decisive: the test with the least evidence for the claim.
        split: for "depends", the two tests that disagree.
        split_by: for "depends", the choices that alone turn a passed test into a failed one.
    """

    claim: Claim
    where: str
    datamodule: str
    networks: tuple[str, ...]
    verdict: Verdict
    reason: str
    points: tuple[Point, ...] = ()
    tests: int = 0
    passed: int = 0
    failed: int = 0
    p: float | None = None
    adjusted_p: float | None = None
    decisive: Point | None = None
    split: tuple[Point, Point] | None = None
    split_by: tuple[str, ...] = ()

    @property
    def runs(self) -> list[Path]:
        """The runs behind the answer."""
        return sorted({run for point in self.points for run in point.runs})


def answer_all(
    claims: Claims | Sequence[Claim],
    tables: Sequence[Table],
    searches: Sequence[Search] = (),
    runs: Sequence[Run] = (),
    min_seeds: int = MIN_SEEDS,
) -> list[Answer]:
    """Answers every claim on every data set and search that has both sides; a claim without any gets one undecided answer.

    Args:
        claims: in the order of the answers.
        tables: those of a test split count.
        searches: for claims over trials.
        runs: the trials' runs are among them.
        min_seeds: a side with fewer values decides nothing, unless the claim has its own number.
    """
    claims = claims if isinstance(claims, Claims) else Claims(claims)
    by_path = {run.path.resolve(): run for run in runs} if searches else {}
    tested = [table for table in tables if table.protocol["split"] == "test"]
    rows = RowGroups(claims.claims, tested)
    found: list[tuple[Claim, list[tuple[Place, Evidence]]]] = []
    for claim in claims.claims:
        if claim.over == "trials":
            places = [_search_evidence(claim, search, searches, by_path, min_seeds) for search in searches]
        else:
            groups = answering_tables(claim, tested, rows)
            places = [_table_evidence(claim, group, tested, rows, min_seeds) for group in groups]
        found.append((claim, [place for place in places if place is not None]))
    return list(_decide(found, claims.family))


def _table_evidence(
    claim: Claim, tables: Sequence[Table], among: Sequence[Table], rows: RowGroups, min_seeds: int
) -> tuple[Place, Evidence] | None:
    first = tables[0]
    place = (_where(first, among), first.datamodule, tuple(table.network for table in tables))
    by_options: list[tuple[Options, Groups]] = []
    one_sided: list[str] = []
    for table in tables:
        network: Options = (("network", table.network),) if len(tables) > 1 else ()
        of_table = [
            ((*specification.options, *network), rows.of(claim, specification, table))
            for specification in claim.specifications
        ]
        if any(_has_both_sides(claim, groups) for _, groups in of_table):
            by_options += of_table
        else:  # it says nothing of the claim
            one_sided.append(f"network {table.network} has not both sides")
    if not by_options:
        return None
    evidence = gather(claim, by_options, min_seeds)
    evidence.remarks += one_sided
    return place, evidence


def _search_evidence(
    claim: Claim, search: Search, among: Sequence[Search], runs: Mapping[Path, Run], min_seeds: int
) -> tuple[Place, Evidence] | None:
    groups = trial_groups(claim, search, runs)
    if not _has_both_sides(claim, groups):
        return None
    place = (_title(search, among), search.record["datamodule"], (search.record["network"],))
    evidence = gather(claim, [((), groups)], min_seeds)
    if search.record["sampler"] != "random":
        evidence.closed.append("the trials were not drawn at random, so their spread depends on the sampler")
    return place, evidence


def _title(search: Search, among: Sequence[Search]) -> str:
    """The title of a search, with its folder if another search has the title: each search is decided alone."""
    alike = [other for other in among if other.title == search.title]
    if len(alike) == 1:
        return search.title
    is_named = sum(other.path.name == search.path.name for other in alike) == 1
    return f"{search.title} [{search.path.name if is_named else search.path}]"


def _decide(found: Sequence[tuple[Claim, list[tuple[Place, Evidence]]]], family: int) -> Iterator[Answer]:
    """Holm's correction over the claims of a folder on one data set and protocol, or on one search.

    The number of tests is the family's, not that of the answers, so that no other table changes a verdict. A claim on costs is
    answered under one of several protocols, so it is no step of the correction for the other claims.
    """
    by_place: dict[tuple[str, bool], list[tuple[int, float]]] = {}
    for index, (claim, places) in enumerate(found):
        for (where, _, _), evidence in places:
            if evidence.p is not None:
                by_place.setdefault((where, claim.scores <= COSTS), []).append((index, evidence.p))
    adjusted: dict[tuple[int, str], float] = {}
    for (where, _), tests in by_place.items():
        corrected = holm([p for _, p in tests], family)
        adjusted |= {(index, where): p for (index, _), p in zip(tests, corrected, strict=True)}
    for index, (claim, places) in enumerate(found):
        if not places:
            yield Answer(claim, NOWHERE, "", (), "undecided", _no_evidence(claim))
        for place, evidence in places:
            yield _answer(claim, place, evidence, adjusted.get((index, place[0])), family)


def _answer(claim: Claim, place: Place, evidence: Evidence, p: float | None, family: int) -> Answer:
    answer = Answer(
        claim,
        *place,
        "undecided",
        "; ".join([*evidence.closed, *evidence.remarks]),
        tuple(evidence.points),
        evidence.tests,
        evidence.passed,
        evidence.failed,
        evidence.p,
        p,
        evidence.decisive,
    )
    if p is None:
        return answer
    verdict = _leaning(evidence) if p < ALPHA else "undecided"
    reasons = list(evidence.remarks)
    if verdict == "undecided":
        reasons.insert(0, _why_open(claim, evidence, family))
    elif verdict == "does not hold" and evidence.untestable:
        verdict = "undecided"
        lacking = ", ".join(dict.fromkeys(evidence.untestable))
        reasons.insert(0, f"does not hold where it was tested; not tested: {lacking}")
    elif verdict == "holds" and (evidence.not_tested or evidence.untestable):
        # one model refutes a claim; one model does not prove it for all
        verdict = "undecided"
        gaps = once_for_all([*evidence.not_tested, *evidence.untestable])
        reasons.insert(0, f"holds where it was tested; not tested: {_listed(gaps)}")
    elif verdict == "depends" and evidence.split is not None:
        alone = [f"choices that split it alone: {', '.join(evidence.split_by)}"] if len(evidence.split_by) > 1 else []
        reasons[:0] = [_what_splits(*evidence.split), *alone, _counts(evidence)]
        answer = replace(answer, split=evidence.split, split_by=evidence.split_by)
    return replace(answer, verdict=verdict, reason="; ".join(reasons))


def _listed(words: Sequence[str], most: int = 4) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return "; ".join(words[:most]) + more


def _leaning(evidence: Evidence) -> Verdict:
    """The statement with the smallest p."""
    by_verdict: dict[Verdict, float] = {
        "holds": evidence.p_holds,
        "does not hold": evidence.p_fails,
        "depends": evidence.p_depends,
    }
    return min(by_verdict, key=lambda verdict: by_verdict[verdict])


def _why_open(claim: Claim, evidence: Evidence, family: int) -> str:
    point = evidence.decisive
    assert point is not None
    low, high = (_scaled(claim, end) for end in (point.low, point.high))
    reach = margin_of(claim)
    if claim.expect == "equal" and max(abs(low), abs(high)) > reach:
        return "the interval extends beyond the margin"
    if point.errors == RANKS and not low <= (reach if claim.expect == "higher" else -reach) <= high:
        return "too many seeds are lost for a verdict"
    level = f"at 5% for {family} tests together"
    leaning = _leaning(evidence)
    if leaning == "depends" and evidence.p_depends < ALPHA:
        return f"{_counts(evidence)}: they split, but not clearly enough {level}"
    if leaning == "holds" and evidence.p_holds < ALPHA:
        reason = f"{'every' if evidence.tests > 1 else 'the'} test is passed at 5% alone, but not {level}"
    elif leaning == "does not hold" and evidence.p_fails < ALPHA:
        reason = f"the opposite is shown at 5% alone, but not {level}"
    else:
        reason = f"a difference within chance{' under some choice' * (evidence.tests > 1)}, {level}"
    # the test with the least evidence for the claim says nothing of the number that shows the opposite in every test
    is_of_claim = leaning == "holds" or evidence.tests == 1
    seeds = seeds_needed(claim, point, ALPHA / (STATEMENTS * family)) if is_of_claim else None
    if seeds is None:
        return reason
    unit = "trials" if claim.over == "trials" else "seeds"
    return f"{reason}; for an effect of the size seen, {seeds} {unit} per side decide in 4 of 5 cases"


def _scaled(claim: Claim, end: float) -> float:
    """The end of an interval on the scale of the test; -inf for the logarithm of 0."""
    if claim.scale != "ratio":
        return end
    return math.log(end) if end > 0 else -math.inf


def _counts(evidence: Evidence) -> str:
    return f"{evidence.passed} of {evidence.tests} tests are passed and {evidence.failed} failed, each at 5%"


def _what_splits(passed: Point, failed: Point) -> str:
    from_passed, from_failed = set(passed.options) - set(failed.options), set(failed.options) - set(passed.options)
    sides = [", ".join(f"{choice}: {option}" for choice, option in sorted(part)) for part in (from_passed, from_failed)]
    return f"holds with {sides[0]}; does not hold with {sides[1]}"


def _where(table: Table, among: Sequence[Table]) -> str:
    """The data set and protocol of a table, with their ids if another data set or protocol has the same name."""
    name = f"{table.datamodule} · {table.protocol['name']}"
    ids = {
        (other.data["id"], other.protocol_id)
        for other in among
        if f"{other.datamodule} · {other.protocol['name']}" == name
    }
    return name if len(ids) == 1 else f"{name} (data {table.data['id']}, protocol {table.protocol_id})"


def _has_both_sides(claim: Claim, groups: Groups) -> bool:
    """Whether each side has a row with values."""
    sides = (False,) if isinstance(claim.right, float) else (False, True)
    with_values = {is_right for (is_right, _), rows in groups.items() if any(len(row.values) for row in rows)}
    return with_values >= set(sides)


def _no_evidence(claim: Claim) -> str:
    if claim.over == "trials":
        return "no search has these models; run python -m benchmarks.search"
    where = f" on {', '.join(claim.datamodules)}" if claim.datamodules else ""
    left, right = (" or ".join(side.name for r, side in claim.sides if r == is_right) for is_right in (False, True))
    against = f" and of {right}" * bool(right)
    return f"no scored runs{where} have {', '.join(map(in_words, sorted(claim.scores)))} of {left}{against}"
