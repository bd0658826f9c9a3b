"""Leaderboards and verdicts as pandas frames. pandas is an extra, and is imported here alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UserError
from benchmarks.records.roots import folders_of
from benchmarks.reporting.build import make_report
from benchmarks.reporting.cells import Cell
from benchmarks.reporting.claim_files import load_claims
from benchmarks.reporting.claims import Claims
from benchmarks.reporting.points import effect_text
from benchmarks.reporting.report import Report
from benchmarks.reporting.table import Table

if TYPE_CHECKING:
    import pandas

Runs = str | Path | Sequence[str]


def leaderboard_frame(runs: Runs, min_seeds: int, long: bool) -> "pandas.DataFrame":
    """As `benchmarks.leaderboard`."""
    pd = _pandas()
    tables = _report(runs, Claims([]), min_seeds).tables
    lines = [line for table in tables for line in (_long(table) if long else _wide(table))]
    return pd.DataFrame(lines)


def verdicts_frame(runs: Runs, claims: str | Path | None, min_seeds: int) -> "pandas.DataFrame":
    """As `benchmarks.verdicts`."""
    pd = _pandas()
    asked = load_claims(None if claims is None else Path(claims))
    lines = [
        {
            "claim": answer.claim.title,
            "where": answer.where,
            "verdict": answer.verdict,
            "effect": effect_text(answer.claim, answer.decisive) if answer.decisive else "",
            "reason": answer.reason,
        }
        for answer in _report(runs, asked, min_seeds).answers
    ]
    return pd.DataFrame(lines, columns=["claim", "where", "verdict", "effect", "reason"])


def _report(runs: Runs, claims: Claims, min_seeds: int) -> Report:
    """The report of some runs. Nothing is written."""
    if not isinstance(min_seeds, int) or min_seeds < 2:
        raise UserError(f"min_seeds is {min_seeds!r}; expected a whole number of 2 or more")
    folders = folders_of(str(runs) if isinstance(runs, str | Path) else [str(run) for run in runs])
    return make_report(folders, "leaderboard", claims, min_seeds)


def _place(table: Table) -> dict[str, Any]:
    return {"datamodule": table.datamodule, "network": table.network, "protocol": table.protocol["name"]}


def _wide(table: Table) -> list[dict[str, Any]]:
    return [
        {
            **_place(table),
            "row": row.label,
            "seeds": None if row.is_baseline else row.count("finished"),
            **{column.name: (row.cells.get(column.name) or Cell(None)).mean for column in table.columns},
        }
        for row in table.rows
    ]


def _long(table: Table) -> list[dict[str, Any]]:
    lines = []
    for row in table.rows:
        for column in table.columns:
            cell = row.cells.get(column.name) or Cell(None)
            low, high = cell.interval or (None, None)
            lines.append(
                {
                    **_place(table),
                    **{"row": row.label, "column": column.name, "unit": column.unit},
                    **{"higher_is_better": column.higher_is_better, "mean": cell.mean, "deviation": cell.deviation},
                    **{"low": low, "high": high, "rank": cell.rank[0] if cell.rank else None, "seeds": cell.n},
                    "reason": row.why_not(column.name) if cell.mean is None else None,
                }
            )
    return lines


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise UserError(
            "pandas is not installed, and tables in Python need it; pip install 'genbench[notebook]'"
        ) from error
    return pandas
