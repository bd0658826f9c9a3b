"""The journal of TPE: Optuna's file of the trials that the processes of a search share, in the folder of the search.

The folder may be shared with others: the journal is checked before anything is written. The lock of the journal is
`fcntl.flock` (by filelock), as for runs (`benchmarks.records.locks`): the system releases it when its process ends. Optuna's own
lock is a link that a killed process leaves behind.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock  # the documented interface of lock_obj has no public name
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.errors import one_line
from benchmarks.records.files import RecordError, read_bytes

JOURNAL = "tpe.journal"
LOCK = f"{JOURNAL}.lock"
# a trial takes about one kilobyte
MOST_BYTES = 2**26
# of the lock, which is empty; filelock writes a process into it where a file system has no flock
MOST_BYTES_OF_LOCK = 2**12
# the start of every line that Optuna writes
START = b'{"op_code":'


def open_journal(folder: Path) -> optuna.storages.JournalStorage:
    """The storage of Optuna in the folder of a search. Makes the journal if there is none."""
    path = folder.absolute() / JOURNAL
    return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=JournalLock(path)))


def check_journal(
    folder: Path, studies: Mapping[str, Mapping[str, BaseDistribution]], direction: StudyDirection
) -> None:
    """Checks the journal in the folder of a search, if there is one, and its lock. Writes nothing.

    Args:
        folder: the folder of the search, which need not exist.
        studies: the distributions of the parameters of each study, by its name.
        direction: the direction of every study.

    Raises:
        RecordError: for a journal or a lock that is a link or not a regular file, and for a journal that is too large, that
            Optuna cannot read, or that holds other trials than those of the search.
    """
    _check_lock(folder / LOCK)
    path = folder / JOURNAL
    try:
        content = read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _damaged(path, one_line(error)) from error
    recorded = _Recorded(content[: _whole(path, content)])
    try:
        storage = optuna.storages.JournalStorage(recorded)
        names = optuna.get_all_study_names(storage)
    except Exception as error:  # Optuna raises errors of any type for lines that it did not write
        raise _damaged(path, f"line {recorded.line} is not an entry of Optuna's journal") from error
    for name in names:
        if name not in studies:
            continue
        study = optuna.load_study(study_name=name, storage=storage)
        if study.directions != [direction]:
            raise _damaged(path, f"{name} has another direction than the search")
        for trial in study.trials:
            if not _is_of_search(trial, studies[name]):
                raise _damaged(path, f"trial {trial.number} of {name} has other values than a trial of the search")


class JournalLock(BaseJournalFileLock):
    """Excludes other processes and threads while one writes the journal.

    A process that was killed while it wrote leaves a part of a line. Optuna appends to that part and can then read the journal
    no more: the next process that holds the lock removes the part first.

    Args:
        journal: the absolute path of the journal.
    """

    def __init__(self, journal: Path) -> None:
        self._journal, self._path = journal, journal.with_name(LOCK)
        self._lock = FileLock(self._path)

    def acquire(self) -> bool:
        """Waits for the lock.

        Raises:
            RecordError: for a lock that is a link or not a regular file, and for a journal that ends in a part of a line that
                Optuna did not write.
        """
        _check_lock(self._path)
        self._lock.acquire()
        try:
            self._remove_part()
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Releases the lock."""
        self._lock.release()

    def _remove_part(self) -> None:
        with self._journal.open("r+b") as stream:
            if (size := stream.seek(0, os.SEEK_END)) == 0:
                return
            stream.seek(size - 1)
            if stream.read() != b"\n":
                stream.seek(0)
                stream.truncate(_whole(self._journal, stream.read()))


class _Recorded(BaseJournalBackend):
    """The lines of a journal that was read. `line` is the number of the line that was read last, from 1."""

    def __init__(self, content: bytes) -> None:
        self.lines, self.line = content.split(b"\n")[:-1], 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(self.lines[log_number_from:], start=log_number_from + 1):
            self.line = number
            yield json.loads(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise io.UnsupportedOperation("the journal was read, and is not written")


def _whole(path: Path, content: bytes) -> int:
    """The number of bytes of the whole lines. A part of a line of Optuna may follow, which a killed process left."""
    end = content.rfind(b"\n") + 1
    part = content[end:]
    if part[: len(START)] != START[: len(part)]:
        raise _damaged(path, "its last line is not an entry of Optuna's journal")
    return end


def _is_of_search(trial: FrozenTrial, space: Mapping[str, BaseDistribution]) -> bool:
    """Whether a trial has the parameters of the search, and a state and values that a search records."""
    if trial.distributions != space or trial.intermediate_values or trial.state == TrialState.WAITING:
        return False
    try:
        values = trial.values
        # raises for a parameter out of its range, and for a state that does not fit the values
        create_trial(state=trial.state, values=values, params=trial.params, distributions=trial.distributions)
        return values is None or (trial.state == TrialState.COMPLETE and [type(v) for v in values] in ([float], [int]))
    except Exception:  # values of any type
        return False


def _check_lock(path: Path) -> None:
    try:
        read_bytes(path, MOST_BYTES_OF_LOCK)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RecordError(
            f"{path} is not the lock of a journal ({one_line(error)}); move it away when no process runs the search"
        ) from error


def _damaged(path: Path, why: str) -> RecordError:
    return RecordError(
        f"{path} is damaged ({why}); move it away: TPE starts its memory anew, and the records of the trials stay"
    )
