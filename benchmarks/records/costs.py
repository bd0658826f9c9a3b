"""`costs.json`: speeds of a run that were measured again after training, in turns with those of other rows."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.records.files import RecordError, write_json
from benchmarks.records.json_files import read_json
from benchmarks.records.paths import COSTS
from benchmarks.records.schemas import MeasuredCosts


def read_costs(run: Path, record: Mapping[str, Any]) -> MeasuredCosts | None:
    """Reads `costs.json`; None for a run without one.

    Args:
        run: the run's folder.
        record: of the run.

    Raises:
        RecordError: for a damaged file, a newer schema, values of other types, or the costs of another run: a copy would count
            one measurement twice. Nothing measures a row from elsewhere.
    """
    path = run / COSTS
    if not os.path.lexists(path):
        return None
    costs = read_json(path, MeasuredCosts)
    if (costs["config_id"], costs["seed"]) != (record["config_id"], record["seed"]) or record.get(
        "external"
    ) is not None:
        raise RecordError(
            f"{path} is of configuration {costs['config_id']} with seed {costs['seed']}, and was copied here; move it away"
        )
    return costs


def write_costs(run: Path, costs: MeasuredCosts) -> None:
    """Writes `costs.json`, in place of an earlier one: a measurement may be repeated, and no score follows from it."""
    write_json(run / COSTS, costs)
