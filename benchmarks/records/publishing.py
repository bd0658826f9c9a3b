"""A published folder: records without folders of the machine that made them, and a checksum of each file."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import yaml

from benchmarks.errors import UserError, one_line
from benchmarks.records.commands import without_folders
from benchmarks.records.configurations import read_config, with_default_folders
from benchmarks.records.files import RecordError, make_folder, open_regular, read_bytes, write_json, write_text
from benchmarks.records.paths import CONFIG, RECORD, SEARCH, trials_path
from benchmarks.records.searches import read_trial, write_trial

# the form of sha256sum, which checks such a file too
SUMS = "SHA256SUMS"
REPLAY = "REPLAY.md"
RUNS, ENCODERS = Path("runs"), Path("encoders")
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
MOST_BYTES = 2**26
MOST_BYTES_OF_A_FILE = 2**40


class Sums(NamedTuple):
    """The checksums of the files of a folder.

    Args:
        by_name: SHA-256 by the path below the folder.
    """

    by_name: dict[str, str]

    @property
    def text(self) -> str:
        """The content of the file of checksums."""
        return "".join(f"{sha256}  {name}\n" for name, sha256 in self.by_name.items())

    @property
    def own(self) -> str:
        """The SHA-256 of that content."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.by_name)


@contextmanager
def making_folder(out: Path) -> Iterator[Path]:
    """Yields an empty folder beside `out`. After the block, the folder stands at `out`; a block that raises leaves `out` alone.

    Raises:
        UserError: if `out` holds something else than a published folder.
    """
    is_published = all((out / name).exists() for name in (SUMS, REPLAY, RUNS))
    if out.exists() and not is_published and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out={out} holds something else than a published folder; set out=FOLDER to a new folder")
    making, former = (out.with_name(f".{out.name}.{what}-{os.getpid()}") for what in ("making", "former"))
    try:
        make_folder(making)
        yield making
        if out.exists():
            os.replace(out, former)
        os.replace(making, out)
    except BaseException:
        if former.exists() and not out.exists():
            os.replace(former, out)
        raise
    finally:
        for folder in (making, former):
            shutil.rmtree(folder, ignore_errors=True)


def use_default_folders(run: Path) -> None:
    """Replaces the folders of a machine in the records of a run or search by the default ones; they decide no result."""
    for path in (run / RECORD, run / SEARCH):
        if path.is_file():
            record = json.loads(read_bytes(path, MOST_BYTES))
            command = record.get("command")
            if isinstance(command, str) and (public := without_folders(command)) != command:
                write_json(path, record | {"command": public})
    for file in sorted(trials_path(run).glob("*.json")):
        trial = read_trial(file)
        reason = (trial.reason or "").partition(f"{trial.run} ")[2]  # earlier versions wrote the whole path of the run
        if reason:
            write_trial(run, replace(trial, reason=reason))
    if not (run / CONFIG).is_file():
        return
    config = with_default_folders(read_config(run))
    write_text(run / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def checksums(folder: Path) -> Sums:
    """The SHA-256 of every file in a folder, in the order of names, without the file of checksums."""
    files = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_symlink() or path.is_file()
    }
    return Sums({name: sha256(files[name]) for name in sorted(files) if name != SUMS})


def check_published(path: Path) -> None:
    """Compares the files at or below a path with the checksums of the published folder that they lie in, if they do.

    Raises:
        RecordError: for a file that was changed, added or lost, or checksums that cannot be read.
    """
    path = path.resolve()
    root = published_above(path)
    if root is None:
        return
    published, below = _read(root / SUMS), path.relative_to(root)
    found = {(below / name).as_posix(): sha256 for name, sha256 in checksums(path).by_name.items()}
    expected = {name: sha256 for name, sha256 in published.by_name.items() if Path(name).is_relative_to(below)}
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            what = "was changed" if name in found and name in expected else "was added" if name in found else "is lost"
            raise RecordError(f"{root / name} {what} after {root} was published ({SUMS}); fetch the folder again")


def published_above(path: Path) -> Path | None:
    """The published folder that a path lies in; None if it lies in none."""
    path = path.resolve()
    return next((folder for folder in (path, *path.parents) if _has_checksums(folder)), None)


def _has_checksums(folder: Path) -> bool:
    """Whether a folder has the checksums of a published folder: others have a file of this name too, and say nothing of runs."""
    sums = folder / SUMS
    if not sums.is_file():
        return False
    return (folder / REPLAY).exists() or f"  {REPLAY}\n".encode() in read_bytes(sums, MOST_BYTES)


def _read(path: Path) -> Sums:
    try:
        lines = read_bytes(path, MOST_BYTES).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} cannot be read ({one_line(error)}); fetch the folder again") from error
    matches = [_LINE.fullmatch(line) for line in lines]
    if None in matches:
        raise RecordError(f"{path} is no file of checksums; fetch the folder again")
    sums = Sums({match[2]: match[1] for match in matches if match is not None})
    if len(sums) < len(lines):
        raise RecordError(f"{path} names a file twice; fetch the folder again")
    return sums


def sha256(path: Path) -> str:
    """The SHA-256 of a regular file.

    Raises:
        RecordError: for a file that cannot be read, or a link.
    """
    try:
        with open_regular(path, MOST_BYTES_OF_A_FILE) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({one_line(error)}); fetch the folder again") from error
