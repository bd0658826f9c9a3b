"""Takes a run out of its folder of runs: as a whole, and never while a process trains the run."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmarks.errors import one_line
from benchmarks.records.checks import PlacedRecord
from benchmarks.records.configurations import read_config
from benchmarks.records.files import RecordError
from benchmarks.records.json_files import check_kind
from benchmarks.records.locks import LOCK
from benchmarks.records.paths import CONFIG, NO_RUNS, RECORD, SEED, STAGING, runs_dir_of
from benchmarks.records.runs import Run


def unfinished_below(roots: Sequence[Path], on_bad: Callable[[RecordError], None]) -> list[Run]:
    """The runs at or below some folders that have no record, because they were interrupted or are being trained, each once.

    In place of the record a run has what its configuration says.

    Args:
        roots: runs, or folders of runs. They may overlap.
        on_bad: called for each run whose configuration cannot be read. It is left out.
    """
    runs: dict[Path, Run] = {}
    for root in roots:
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if name not in NO_RUNS)
            path = Path(folder)
            if not path.resolve().name.startswith(SEED) or RECORD in files or CONFIG not in files:
                continue
            try:
                runs.setdefault(path.resolve(), Run(path, _described(path), []))
            except RecordError as error:
                on_bad(error)
    return list(runs.values())


def _described(run: Path) -> dict[str, Any]:
    config = read_config(run)
    described: dict[str, Any] = {key: config[key] for key in ("names", "seed", "command") if key in config}
    # the data are not known yet, and nothing is written beside the run
    described |= {"config_id": run.resolve().parent.name, "data": {"id": ""}}
    check_kind(run / CONFIG, described, PlacedRecord)
    budget = config.get("budget")
    if isinstance(budget, dict) and isinstance(budget.get("amount"), int | float) and "unit" in budget:
        described["budget"] = budget
    return described


def place_of(run: Path) -> tuple[Path, Path]:
    """The folder of runs that a run lies in, and the place of the run below it."""
    root = runs_dir_of(run)
    return root, run.resolve().relative_to(root)


def move(run: Path, target: Path) -> None:
    """Moves a run to its place below `target`. The run appears there as a whole.

    Raises:
        RecordError: if a process trains the run, if its place below `target` is taken, or if it cannot be moved.
    """
    root, place = place_of(run)
    new = target.absolute() / place
    if os.path.lexists(new):
        raise RecordError(f"{new} exists; move it away, or set to=FOLDER to another folder")
    if new.resolve().is_relative_to(run.resolve()):
        raise RecordError(f"{new} lies in the run {run}; set to=FOLDER to another folder")
    with _taken(run), _named(run):
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(run, new)
        except OSError:  # another file system: copied under a name that no program takes for a run, and then renamed
            staging = target / STAGING / new.name
            shutil.rmtree(staging, ignore_errors=True)
            shutil.copytree(run, staging, symlinks=True)
            os.rename(staging, new)
            _delete_tree(run, root)
    _remove_empty(run, root)


def delete(run: Path) -> None:
    """Deletes a run. A deletion that is interrupted leaves no half run: the run is first renamed.

    Raises:
        RecordError: if a process trains the run, or if it cannot be deleted.
    """
    root, _ = place_of(run)
    with _taken(run), _named(run):
        _delete_tree(run, root)
    _remove_empty(run, root)


def _delete_tree(run: Path, root: Path) -> None:
    staging = root / STAGING
    staging.mkdir(exist_ok=True)
    doomed = staging / f"removed-{os.getpid()}"
    os.rename(run, doomed)
    shutil.rmtree(doomed)
    with suppress(OSError):  # a merge may use the folder
        staging.rmdir()


@contextmanager
def _taken(run: Path) -> Iterator[None]:
    """Holds the lock of a run.

    Raises:
        RecordError: if another process holds the lock.
    """
    if run.is_symlink():
        raise RecordError(f"{run} is a link to another folder; remove the link")
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RecordError(f"{run} is in use by another process; run the command again when it has ended") from None
    except OSError as error:
        raise RecordError(f"{run} cannot be locked ({one_line(error)})") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _named(run: Path) -> Iterator[None]:
    """Names the run in the error of a system call."""
    try:
        yield
    except OSError as error:
        raise RecordError(f"{run} cannot be removed ({one_line(error)})") from error


def _remove_empty(run: Path, root: Path) -> None:
    """Removes the folders above a run that are empty now, up to the folder of runs."""
    for folder in run.absolute().parents:
        if folder.resolve() == root or not folder.resolve().is_relative_to(root):
            return
        try:
            folder.rmdir()
        except OSError:
            return
