"""The folders that `runs=` names: one, several, or a glob; and the runs at or below them, each once."""

import glob
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.records.copies import once_each
from benchmarks.records.files import RecordError
from benchmarks.records.runs import Reader, Run, find_runs, read_each


def folders_of(value: Any, key: str = "runs") -> list[Path]:
    """The folders that a key names, each once, in the order of the command; those of a glob in order of their names.

    Args:
        value: a path, a glob such as runs/*/vae*, or a list of both.
        key: the name of the key, for messages.

    Raises:
        UserError: for a value of another kind, a path that is not a folder, or a glob that matches no folder.
    """
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, Sequence) or not words or not all(isinstance(word, str) and word for word in words):
        raise UserError(f"{key} is {value!r}; expected a folder, a glob, or a list of them, as in {key}=[A,B]")
    folders: dict[Path, None] = {}
    for word in words:
        path = Path(word)
        matches = [path] if path.is_dir() else [Path(name) for name in sorted(glob.glob(word)) if Path(name).is_dir()]
        if not matches and glob.has_magic(word):
            raise UserError(f"{key}={word} matches no folder; set {key} to a run or to a folder of runs")
        if not matches:
            raise RecordError(f"{word} is not a folder; set {key}=PATH to a run or a folder of runs")
        folders |= dict.fromkeys(matches)
    return list(folders)


def runs_below(roots: Sequence[Path], on_bad: Callable[[RecordError], None], read: Reader = read_each) -> list[Run]:
    """Every run with a record at or below the roots, each folder once, in the order of the roots and of paths.

    Args:
        roots: runs, or folders of runs. They may overlap.
        on_bad: called for each record that cannot be read. It is left out.
        read: reads the runs below a root, in the order of their paths.

    Raises:
        RecordError: if there is no run below any root.
    """
    runs, missing = list[Run](), list[RecordError]()
    for root in roots:
        try:
            runs += find_runs(root, on_bad, read)
        except RecordError as error:
            missing.append(error)
    if not runs:
        raise missing[0]
    return list({run.path.resolve(): run for run in runs}.values()) if len(roots) > 1 else runs


def find_all(roots: Sequence[Path], on_bad: Callable[[RecordError], None], read: Reader = read_each) -> list[Run]:
    """As `runs_below`, each run once: copies count once, and copies that disagree are named and left out."""
    return once_each(runs_below(roots, on_bad, read), on_bad)
