"""Invented records that the tests share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.examples import examples_of

# the least that a run's record holds
RECORD = {"status": "finished", "seed": 0, "config_id": "0" * 8, "names": {"model": "vae"}, "data": {"id": "d"}}


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def example_scores(runs: Sequence[Path], sheet: str, score: str) -> tuple[NDArray[np.float64] | None, int]:
    """The values of a score by example for several runs, (runs, examples), and the number of examples of the mean.

    None and 0 if a run has no such values, or if the runs have values of different numbers of examples.
    """
    rows = [row for run in runs if (row := examples_of(run, sheet, score)) is not None]
    if not rows or len(rows) < len(runs) or len({(len(values), n) for values, n in rows}) > 1:
        return None, 0
    return np.stack([values for values, _ in rows]), rows[0][1]
