"""`costs.json`: speeds of a run that were measured again after training, in turns with those of other rows."""

import os
from pathlib import Path

from benchmarks.records.files import write_json
from benchmarks.records.json_files import read_json
from benchmarks.records.paths import COSTS
from benchmarks.records.schemas import MeasuredCosts


def read_costs(run: Path) -> MeasuredCosts | None:
    """Reads `costs.json`; None for a run without one.

    Raises:
        RecordError: for a damaged file, a newer schema, or values of other types.
    """
    path = run / COSTS
    return read_json(path, MeasuredCosts) if os.path.lexists(path) else None


def write_costs(run: Path, costs: MeasuredCosts) -> None:
    """Writes `costs.json`, in place of an earlier one: a measurement may be repeated, and no score follows from it."""
    write_json(run / COSTS, costs)
