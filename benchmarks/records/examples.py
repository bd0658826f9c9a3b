"""The values of a score by example, beside the sheet: `scores/<protocol>-<protocol id>.npz`, compressed.

Comparisons pair rows by example with these values. The file is bounded: it holds the first `MOST` examples of each score.
A report works without the file; its intervals are then over seeds alone.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import one_line, warn
from benchmarks.records.files import read_bytes, replacing

# of each score; enough for the standard deviation over examples to 2%
MOST = 2000
# a larger file is not one of genbench's
MOST_BYTES = 2**24
_COUNTS = "counts"
_NAMES = "names"


def write_examples(sheet: Path, values: Mapping[str, NDArray[np.float64]]) -> None:
    """Writes the values by example of several scores, (n,) each, beside the score sheet at `sheet`."""
    if not values:
        return
    with replacing(examples_path(sheet)) as temporary, temporary.open("wb") as stream:
        counts = np.array([len(array) for array in values.values()], np.int64)
        columns = {f"score{i}": array[:MOST].astype(np.float32) for i, array in enumerate(values.values())}
        np.savez_compressed(stream, **{_NAMES: np.array(list(values)), _COUNTS: counts}, **columns)  # type: ignore[arg-type]


def examples_path(sheet: Path) -> Path:
    """The file of values by example that belongs to a score sheet."""
    return sheet.with_suffix(".npz")


def example_scores(runs: Sequence[Path], sheet: str, score: str) -> tuple[NDArray[np.float64] | None, int]:
    """The values of a score by example for several runs, (runs, examples), and the number of examples of the mean.

    Returns None and 0 if a run has no such values, or if the runs have values of different numbers of examples.

    Args:
        runs: their folders.
        sheet: the name of the score sheet.
        score: its name.
    """
    rows = []
    for run in runs:
        row = _read(f"{run}/scores/{_name(sheet)}").get(score)
        if row is None or not np.isfinite(row[0]).all():
            return None, 0
        rows.append(row)
    if not rows or len({(len(values), n) for values, n in rows}) > 1 or len(rows[0][0]) < 2:
        return None, 0
    return np.stack([values for values, _ in rows]), rows[0][1]


def forget_examples() -> None:
    """Forgets the values that this process has read, for files that change."""
    _read.cache_clear()


@lru_cache(maxsize=64)
def _name(sheet: str) -> str:
    return examples_path(Path(sheet)).name


@lru_cache(maxsize=512)  # of texts: to hash a Path takes longer than to look it up
def _read(path: str) -> dict[str, tuple[NDArray[np.float64], int]]:
    """The values and the number of examples by score; nothing for a file that is missing, and with a warning for another."""
    try:
        content = io.BytesIO(read_bytes(Path(path), MOST_BYTES))
        with zipfile.ZipFile(content) as archive:  # a small file may unpack to any size
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                raise OSError(f"it unpacks to more than {MOST_BYTES:,} bytes")

            def read(name: str) -> NDArray[Any]:
                return np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)

            names, counts = [str(name) for name in read(_NAMES)], read(_COUNTS)
            arrays = [read(f"score{i}") for i in range(len(names))]
        return {
            name: (np.asarray(array, np.float64), int(n))
            for name, array, n in zip(names, arrays, counts, strict=True)
            if array.dtype == np.float32 and array.ndim == 1 and len(array) <= MOST and n >= len(array)
        }
    except FileNotFoundError:
        return {}
    except Exception as error:  # a damaged file raises many kinds of errors; without it, intervals are over seeds alone
        warn(f"{path} cannot be read and is left out ({one_line(error)[:160]})")
        return {}
