"""The leaderboard and the claims as tables of Weights & Biases, in a run of their own. Needs no torch."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import one_line, warn
from benchmarks.exports import head
from benchmarks.leaderboard import Table
from benchmarks.verdicts import Answer, effect_text


def is_wandb(node: Mapping[str, Any] | None) -> bool:
    """Whether a choice of conf/logger is wandb's."""
    return bool(node) and str((node or {}).get("_target_", "")).endswith(".WandbLogger")


def is_disabled(node: Mapping[str, Any]) -> bool:
    """Whether wandb is switched off: then nothing of it is imported, made or written."""
    return node.get("mode") == "disabled" or os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1")


def upload(tables: Sequence[Table], answers: Sequence[Answer], title: str, node: Mapping[str, Any], out: Path) -> None:
    """Logs every table and the claims. Whatever goes wrong with wandb costs a warning, never the report.

    Args:
        tables, answers: of the report.
        title: the group of the sweep's runs.
        node: the logger's configuration, conf/logger/wandb.
        out: the report's folder; wandb writes beside it.
    """
    if is_disabled(node):
        return
    try:
        import wandb

        settings = wandb.Settings(silent=True, init_timeout=30)
        with wandb.init(
            project=node.get("project"),
            mode=node.get("mode"),
            dir=str(out.resolve().parent),  # beside the report, which can be built again byte for byte
            group=title,
            name=f"{title}-leaderboard",
            job_type="report",
            settings=settings,
        ) as run:
            for table in tables:
                rows, heads = _rows(table)
                run.log({f"leaderboard/{table.slug}": wandb.Table(data=rows, columns=heads)})
            columns: list[str | int] = [
                "claim",
                "verdict",
                "data",
                "scale",
                "effect",
                "low",
                "high",
                "p_holm",
                "sentence",
            ]
            run.log({"claims": wandb.Table(data=[_claim(answer) for answer in answers], columns=columns)})
            run.summary.update({f"verdict/{a.claim.name}/{a.where}": a.verdict for a in answers})
    except Exception as error:  # no network, no account, no such package
        warn(f"wandb has not got the leaderboard: {one_line(error)[:200]}")


def _rows(table: Table) -> tuple[list[list[Any]], list[str | int]]:
    columns: list[str | int] = ["model", "seeds"]
    for column in table.columns:
        columns += [head(column), f"{column.name} deviation"]
    rows = []
    for row in table.rows:
        cells = [row.cells.get(column.name) for column in table.columns]
        numbers = [value for cell in cells for value in ((cell.mean, cell.deviation) if cell else (None, None))]
        rows.append([row.label, row.seeds, *numbers])
    return rows, columns


def _claim(answer: Answer) -> list[Any]:
    pair = answer.decisive
    numbers = [pair.effect, pair.low, pair.high] if pair else [None, None, None]
    said = effect_text(answer.claim, pair) if pair else answer.reason
    return [
        answer.claim.name,
        answer.verdict,
        answer.where,
        answer.claim.scale,
        *numbers,
        answer.adjusted_p,
        f"{answer.claim.title}: {said}",
    ]
