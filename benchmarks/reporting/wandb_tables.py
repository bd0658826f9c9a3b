"""The leaderboard and the answers to the claims as tables of Weights & Biases, in a run of their own."""

from collections.abc import Mapping
from typing import Any

from benchmarks.errors import one_line, warn
from benchmarks.records.logger_choice import is_disabled
from benchmarks.reporting.points import effect_text
from benchmarks.reporting.report import Report
from benchmarks.reporting.table import Table
from benchmarks.reporting.verdicts import Answer

CLAIM_COLUMNS: list[str | int] = ["claim", "verdict", "data", "scale", "effect", "low", "high", "p_holm", "sentence"]


def upload(report: Report, node: Mapping[str, Any]) -> None:
    """Logs every table and the claims. An error in wandb costs a warning, never the report.

    Args:
        report: its title is the group of the sweep's runs; wandb writes beside its folder.
        node: the logger's configuration, conf/logger/wandb.
    """
    if is_disabled(node):
        return
    try:
        import wandb

        with wandb.init(
            project=node.get("project"),
            mode=node.get("mode"),
            dir=str(report.out.resolve().parent),  # outside of the report, which can be deleted and built again
            group=report.title,
            name=f"{report.title}-leaderboard",
            job_type="report",
            settings=wandb.Settings(silent=True, init_timeout=30),
        ) as run:
            for table in report.tables:
                rows, heads = _rows(table)
                run.log({f"leaderboard/{table.slug}": wandb.Table(data=rows, columns=heads)})
            claims = [_claim(answer) for answer in report.answers]
            run.log({"claims": wandb.Table(data=claims, columns=CLAIM_COLUMNS)})
            run.summary.update({f"verdict/{a.claim.name}/{a.where}": a.verdict for a in report.answers})
    except Exception as error:  # no network, no account, no such package
        warn(f"the leaderboard was not sent to wandb: {one_line(error)[:200]}")


def _rows(table: Table) -> tuple[list[list[Any]], list[str | int]]:
    columns: list[str | int] = ["model", "seeds"]
    for column in table.columns:
        columns += [column.heading, f"{column.name} deviation"]
    rows = []
    for row in table.rows:
        cells = [row.cells.get(column.name) for column in table.columns]
        numbers = [value for cell in cells for value in ((cell.mean, cell.deviation) if cell else (None, None))]
        rows.append([row.label, row.seeds, *numbers])
    return rows, columns


def _claim(answer: Answer) -> list[Any]:
    point = answer.decisive
    numbers = [point.effect, point.low, point.high] if point else [None, None, None]
    sentence = effect_text(answer.claim, point) if point else answer.reason
    return [
        answer.claim.name,
        answer.verdict,
        answer.where,
        answer.claim.scale,
        *numbers,
        answer.adjusted_p,
        f"{answer.claim.title}: {sentence}",
    ]
