"""The parts of a merge: runs, searches and baseline rows, each decided first and copied then.

A new part is copied into a folder that no program reads, and the folder is renamed as a whole. A known part gets its
missing files one by one, each score sheet after its values by example. So an interrupted merge leaves nothing half-written,
and the same merge can be repeated.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from benchmarks.errors import UserError, one_line
from benchmarks.records.files import RecordError, make_folder, replacing
from benchmarks.records.locks import LOCK, alone, is_held
from benchmarks.records.paths import STAGING

Kind = Literal["run", "search", "baseline"]


@dataclass(frozen=True)
class Part:
    """A run, a search or a baseline row that is merged.

    Args:
        kind: what it is.
        place: its path below the folder of runs.
        files: the files that the target lacks, as (name below the part's folder, file to copy), in the order of writing.
        is_new: whether the target lacks the folder.
        conflict: why nothing of the part is merged; None if the part is merged.
    """

    kind: Kind
    place: Path
    files: Sequence[tuple[str, Path]] = ()
    is_new: bool = False
    conflict: str | None = None


@contextmanager
def merging_into(target: Path) -> Iterator[Path]:
    """Yields the staging folder of a merge into `target`. The folder is removed at the end.

    Raises:
        UserError: if another process merges into the same folder.
    """
    staging = target / STAGING
    if staging.is_symlink():
        raise RecordError(f"{staging} is a link to another folder; remove the link")
    make_folder(staging)
    lock = FileLock(staging / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process merges into {target}; run the command again when it has ended") from None
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        lock.release()


def bring(part: Part, target: Path, staging: Path) -> None:
    """Copies the files of a part into the folder of runs `target`.

    Raises:
        RecordError: if the folder of the part is in use or was made meanwhile, or if a file cannot be copied.
    """
    folder = target / part.place
    try:
        if part.is_new:
            whole = staging / "part"
            shutil.rmtree(whole, ignore_errors=True)  # of a merge that was killed
            _copy(part.files, whole)
            folder.parent.mkdir(parents=True, exist_ok=True)
            os.rename(whole, folder)
        elif part.kind != "run":
            _copy(part.files, folder)
        elif is_held(folder / LOCK):
            raise RecordError(
                f"{folder} is in use by another process; run the command again when that process has ended"
            )
        else:
            with alone(folder):
                _copy(part.files, folder)
    except OSError as error:
        raise RecordError(f"{folder} could not be written ({one_line(error)}); run the command again") from error


def _copy(files: Sequence[tuple[str, Path]], folder: Path) -> None:
    for name, source in files:
        with replacing(folder / name) as temporary:
            shutil.copyfile(source, temporary)
