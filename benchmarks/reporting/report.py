"""The report as one object: what every page, document and table is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.records.copies import SeedCopy
from benchmarks.records.runs import Run
from benchmarks.records.searches import Search
from benchmarks.reporting.across import Across
from benchmarks.reporting.claims import Claims
from benchmarks.reporting.newcomers import Newcomer
from benchmarks.reporting.seed_statistics import MIN_SEEDS
from benchmarks.reporting.table import Table
from benchmarks.reporting.verdicts import Answer


@dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    Args:
        title: its heading.
        out: the folder of its files. Links to records are relative to the folder.
        tables: of the leaderboard.
        answers: to the claims.
        shared_by: the claims that share the error rate of 5%, in words.
        newcomers: models that no claim names, against the models that claims name.
        across: what is said across data sets.
        searches: of hyper-parameters.
        failures: runs without a result.
        copies: runs that are other runs under edited seeds, and do not count.
        pictures: files by row and kind.
        runs: the number of runs read.
        min_seeds: rows with fewer finished seeds get no interval, no rank and no verdict.
    """

    title: str = ""
    out: Path = Path()
    tables: Sequence[Table] = ()
    answers: Sequence[Answer] = ()
    shared_by: str = Claims(()).shared_by
    newcomers: Sequence[Newcomer] = ()
    across: Sequence[Across] = ()
    searches: Sequence[Search] = ()
    failures: Sequence[Run] = ()
    copies: Sequence[SeedCopy] = ()
    pictures: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    runs: int = 0
    min_seeds: int = MIN_SEEDS
