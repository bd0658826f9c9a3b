"""The values of a score by example, beside the sheet: `scores/<protocol>-<protocol id>.npz`, compressed.

Comparisons pair rows by example with these values. The file is bounded: it holds the first `MOST` examples of each score.
A report works without the file; its intervals are then over seeds alone.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import one_line, warn
from benchmarks.records.files import LARGEST, read_bytes, replacing
from benchmarks.records.npz import Npz, array_of

# of each score; enough for the standard deviation over examples to 2%
MOST = 2000
# a larger file is not one of genbench's
MOST_BYTES = LARGEST[".npz"]
_COUNTS = "counts"
_NAMES = "names"

# the values by example, (examples,), and the number of examples of the mean
Examples = tuple[NDArray[np.float64], int]


def write_examples(sheet: Path, values: Mapping[str, NDArray[np.float64] | Examples]) -> None:
    """Writes the values by example of several scores beside the score sheet at `sheet`: all of them, (n,), or what was kept."""
    if not values:
        return
    with replacing(examples_path(sheet)) as temporary, temporary.open("wb") as stream:
        kept = [value if isinstance(value, tuple) else (value, len(value)) for value in values.values()]
        counts = np.array([count for _, count in kept], np.int64)
        columns = {f"score{i}": array[:MOST].astype(np.float32) for i, (array, _) in enumerate(kept)}
        np.savez_compressed(stream, **{_NAMES: np.array(list(values)), _COUNTS: counts}, **columns)  # type: ignore[arg-type]


def examples_path(sheet: Path) -> Path:
    """The file of values by example that belongs to a score sheet."""
    return sheet.with_suffix(".npz")


def examples_of(run: Path, sheet: str, score: str) -> Examples | None:
    """The values of a score by example for one run; None if the run has no such values, or not two finite ones.

    Args:
        run: its folder.
        sheet: the name of the score sheet.
        score: its name.
    """
    return open_examples(run, sheet).values(score)


def open_examples(run: Path, sheet: str) -> "ExampleFile":
    """The values by example of one run, for a caller who asks for several scores; a file without values if the run has none."""
    return _open(f"{run}/scores/{_name(sheet)}")


def forget_examples() -> None:
    """Forgets the values that this process has read, for files that change."""
    _open.cache_clear()


@lru_cache(maxsize=64)
def _name(sheet: str) -> str:
    return examples_path(Path(sheet)).name


class ExampleFile:
    """The values by example of a run. Those of a score are unpacked when they are asked for, because claims ask for few."""

    def __init__(self, path: str, arrays: Npz | None) -> None:
        """None stands for a file without arrays.

        Raises:
            Exception: of many kinds, for a file that `write_examples` did not write.
        """
        self._path, self._arrays = path, arrays
        self._places: Mapping[str, tuple[str, int]] = {}  # by score: the name of its array, and its number of examples
        self._known: dict[str, Examples | None] = {}
        if arrays is not None:
            self._places = _places(arrays.content(_NAMES), arrays.content(_COUNTS))
            if not all(name in arrays for name, _ in self._places.values()):
                raise ValueError("it lacks the values of a score")

    def __contains__(self, score: str) -> bool:
        """Whether the file names a score, whatever its values are."""
        return score in self._places

    def values(self, score: str) -> Examples | None:
        """The values of a score; None for a score that is missing, damaged (with a warning), or without two finite values."""
        if score in self._places and score not in self._known:
            try:
                self._known[score] = self._checked(*self._places[score])
            except Exception as error:
                _warn(f"{score} in {self._path}", error)
                self._known[score] = None
        return self._known.get(score)

    def _checked(self, name: str, n: int) -> Examples | None:
        assert self._arrays is not None
        array = self._arrays.array(name)
        is_ours = array.dtype == np.float32 and array.ndim == 1 and 2 <= len(array) <= min(MOST, n)
        return (array.astype(np.float64), n) if is_ours and np.isfinite(array).all() else None


@lru_cache(maxsize=256)  # the runs of a sweep have the same
def _places(names: bytes, counts: bytes) -> Mapping[str, tuple[str, int]]:
    """By score: the name of its array, and its number of examples. From the .npy files of the names and the numbers."""
    pairs = zip(array_of(names).tolist(), array_of(counts), strict=True)
    return {str(name): (f"score{i}", int(n)) for i, (name, n) in enumerate(pairs)}


@lru_cache(maxsize=512)  # of texts: to hash a Path takes longer than to look it up
def _open(path: str) -> ExampleFile:
    """The values of a run; none for a file that is missing, and with a warning for another."""
    try:
        return ExampleFile(path, Npz(read_bytes(path, MOST_BYTES), MOST_BYTES))
    except FileNotFoundError:
        return ExampleFile(path, None)
    except Exception as error:
        _warn(path, error)
        return ExampleFile(path, None)


def _warn(what: str, error: Exception) -> None:
    """A damaged file raises many kinds of errors. Without it, intervals are over seeds alone."""
    warn(f"{what} cannot be read and is left out ({one_line(error)[:160]})")
