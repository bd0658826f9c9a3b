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
        row = _open(f"{run}/scores/{_name(sheet)}").values(score)
        if row is None or not np.isfinite(row[0]).all():
            return None, 0
        rows.append(row)
    if not rows or len({(len(values), n) for values, n in rows}) > 1 or len(rows[0][0]) < 2:
        return None, 0
    return np.stack([values for values, _ in rows]), rows[0][1]


def forget_examples() -> None:
    """Forgets the values that this process has read, for files that change."""
    _open.cache_clear()


@lru_cache(maxsize=64)
def _name(sheet: str) -> str:
    return examples_path(Path(sheet)).name


class _Examples:
    """The values by example of a run. Those of a score are unpacked when they are asked for, because claims ask for few."""

    def __init__(self, path: str, archive: zipfile.ZipFile | None) -> None:
        """No archive is an empty one.

        Raises:
            Exception: of many kinds, for an archive that `write_examples` did not write.
        """
        self._path, self._archive = path, archive
        self._places: dict[str, tuple[int, int]] = {}  # by score: its place in the archive, and its number of examples
        self._known: dict[str, tuple[NDArray[np.float64], int] | None] = {}
        if archive is not None:
            names, counts = self._read(_NAMES).tolist(), self._read(_COUNTS)
            if not {f"score{i}.npy" for i in range(len(names))} <= set(archive.namelist()):
                raise ValueError("it lacks the values of a score")
            self._places = {str(name): (i, int(n)) for i, (name, n) in enumerate(zip(names, counts, strict=True))}

    def values(self, score: str) -> tuple[NDArray[np.float64], int] | None:
        """The values, and the number of examples of the mean; None for a missing score, and with a warning for a damaged one."""
        if score in self._places and score not in self._known:
            i, n = self._places[score]
            try:
                array = self._read(f"score{i}")
            except Exception as error:
                _warn(f"{score} in {self._path}", error)
                self._known[score] = None
            else:
                is_ours = array.dtype == np.float32 and array.ndim == 1 and len(array) <= MOST and n >= len(array)
                self._known[score] = (array.astype(np.float64), n) if is_ours else None
        return self._known.get(score)

    def _read(self, name: str) -> NDArray[Any]:
        assert self._archive is not None
        return np.lib.format.read_array(io.BytesIO(self._archive.read(f"{name}.npy")), allow_pickle=False)


@lru_cache(maxsize=512)  # of texts: to hash a Path takes longer than to look it up
def _open(path: str) -> _Examples:
    """The values of a run; none for a file that is missing, and with a warning for another."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(read_bytes(Path(path), MOST_BYTES)))
        if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:  # a small file may unpack to any size
            raise OSError(f"it unpacks to more than {MOST_BYTES:,} bytes")
        return _Examples(path, archive)
    except FileNotFoundError:
        return _Examples(path, None)
    except Exception as error:
        _warn(path, error)
        return _Examples(path, None)


def _warn(what: str, error: Exception) -> None:
    """A damaged file raises many kinds of errors. Without it, intervals are over seeds alone."""
    warn(f"{what} cannot be read and is left out ({one_line(error)[:160]})")
