"""The journal of TPE: a process that dies holds nobody up, and a damaged journal is one line before anything is written."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import pytest

from benchmarks.multirun.journal import JOURNAL, LOCK, MOST_BYTES, JournalLock
from benchmarks.records.files import RecordError
from benchmarks.records.paths import SEARCH
from benchmarks.records.searches import find_searches
from tests.conftest import TINY, run
from tests.multirun.test_parameters import ended, parameters
from tests.multirun.test_search import _stand_in

# Optuna's codes of the lines that a draw writes
ADDS_STUDY, ADDS_TRIAL = 0, 4


def journal_of(folder: Path, trials: int = 2) -> Path:
    """A journal of trials that have ended, but for the last one."""
    search = parameters(folder, "tpe")
    for n in range(trials):
        params = search.draw("vae", n, {})
        if n < trials - 1:
            search.tell(ended(n, params))
    return folder / JOURNAL


def with_line(change: Callable[[dict[str, object]], object]) -> Callable[[Path], object]:
    """A damage: what `change` makes of the line that adds the last trial, in its place."""

    def damage(journal: Path) -> None:
        lines = journal.read_text().splitlines()
        n = max(n for n, line in enumerate(lines) if json.loads(line)["op_code"] == ADDS_TRIAL)
        lines[n] = json.dumps(change(json.loads(lines[n])))
        journal.write_text("\n".join(lines) + "\n")

    return damage


def link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.parent.parent / "outside")


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "link": link,
    "pipe": pipe,
    "folder": lambda journal: (journal.unlink(), journal.mkdir()),
    "large": lambda journal: os.truncate(journal, MOST_BYTES + 1),
    "garbage": lambda journal: journal.write_bytes(b"garbage\n" + journal.read_bytes()),
    "garbage at the end": lambda journal: journal.write_bytes(journal.read_bytes() + b"\0\0\0"),
    "not UTF-8": lambda journal: journal.write_bytes(b'{"op_code": "\xff"}\n'),
    "line cut in the middle": lambda journal: journal.write_bytes(journal.read_bytes().replace(b"}\n", b"\n", 1)),
    "deep": lambda journal: journal.write_text("[" * 100_000 + "\n"),
    "list": with_line(lambda log: [log]),
    "no code": with_line(lambda log: {}),
    "unknown code": with_line(lambda log: log | {"op_code": 99}),
    "no worker": with_line(lambda log: {key: value for key, value in log.items() if key != "worker_id"}),
    "unknown state": with_line(lambda log: log | {"state": 9}),
    "waiting trial": with_line(lambda log: log | {"state": 4}),
    "trial without parameters": with_line(lambda log: log | {"params": {}, "distributions": {}}),
    "text as a parameter": with_line(lambda log: log | {"params": {"lr": "high"}}),
    "parameter out of its range": with_line(lambda log: log | {"params": {"lr": 7.0}}),
    "text as a value": with_line(lambda log: log | {"state": 1, "values": ["low"]}),
    "two values": with_line(lambda log: log | {"state": 1, "values": [1.0, 2.0]}),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_journal_is_one_line_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    journal = journal_of(tmp_path / "search")
    DAMAGES[name](journal)
    before = {path.name: path.lstat().st_mtime_ns for path in journal.parent.iterdir()}
    with pytest.raises(RecordError) as caught:
        parameters(journal.parent, "tpe")
    assert str(caught.value).startswith(f"{journal} is damaged (")
    assert "move it away: TPE starts its memory anew, and the records of the trials stay" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert {path.name: path.lstat().st_mtime_ns for path in journal.parent.iterdir()} == before
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("damage", [link, pipe], ids=["link", "pipe"])
def test_a_lock_that_is_no_file_is_one_line(damage: Callable[[Path], None], tmp_path: Path) -> None:
    journal = journal_of(tmp_path / "search")
    damage(journal.with_name(LOCK))
    for use in (lambda: parameters(journal.parent, "tpe"), JournalLock(journal).acquire):
        with pytest.raises(RecordError, match=r"tpe\.journal\.lock is not the lock of a journal .*; move it away"):
            use()
    assert not (tmp_path / "outside").exists()


def test_a_search_ends_with_one_line_and_status_one_and_goes_on_when_the_journal_is_moved_away(tmp_path: Path) -> None:
    def search(trials: int) -> tuple[int, list[str]]:
        with (
            mock.patch("benchmarks.multirun.search.train_and_score", side_effect=_stand_in),
            mock.patch("benchmarks.multirun.search.SearchProgram.confirm"),
            mock.patch("benchmarks.reporting.build.write_report"),
        ):
            words = ("families=[gan]", f"trials={trials}", "sampler=tpe")
            result = run("search", *TINY, *words, cwd=tmp_path)
        return result.returncode, result.stderr.splitlines()

    search(1)
    (journal,) = tmp_path.glob(f"runs/**/{JOURNAL}")
    journal.write_text("garbage\n")
    (journal.parent / SEARCH).unlink()
    code, lines = search(2)
    assert code == 1
    assert len(lines) == 1
    assert f"{JOURNAL} is damaged (line 1 is not an entry of Optuna's journal); move it away" in lines[0]
    assert not (journal.parent / SEARCH).exists()
    journal.rename(tmp_path / "away")
    search(2)
    (found,) = find_searches(tmp_path / "runs", on_bad=lambda error: pytest.fail(str(error)))
    assert [trial.number for trial in found.trials["gan"]] == [0, 1]
    assert "garbage" not in journal.read_text()


def test_a_part_of_a_line_that_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, trials=3)
    whole = journal.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for kept in (1, len(last) // 2, len(last) - 1):
        journal.write_bytes(whole + last[:kept])
        search = parameters(tmp_path, "tpe")
        assert journal.read_bytes() == whole + last[:kept]
        search.draw("vae", 3, {})
        assert journal.read_bytes().startswith(whole)
        added = [json.loads(line)["op_code"] for line in journal.read_bytes().removeprefix(whole).splitlines()]
        assert added.count(ADDS_TRIAL) == 1
        parameters(tmp_path, "tpe")


def test_a_trial_is_whole_in_the_journal_or_absent(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, trials=0)
    search = parameters(tmp_path, "tpe")
    params = search.draw("vae", 0, {})
    (line,) = [log for log in map(json.loads, journal.read_text().splitlines()) if log["op_code"] != ADDS_STUDY]
    assert line["params"] == params


def hold(journal: Path, ready: Connection) -> None:
    lock = JournalLock(journal)
    lock.acquire()
    ready.send(True)
    time.sleep(600)


def test_a_lock_excludes_another_process_until_that_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal_of(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    folder = Path(tmp_path.name)  # Optuna's own lock waits without end for a link in a relative folder
    ours, theirs = multiprocessing.Pipe()
    holder = multiprocessing.get_context("fork").Process(target=hold, args=(tmp_path / JOURNAL, theirs))
    holder.start()
    assert holder.pid is not None
    drawn = threading.Event()

    def draw() -> None:
        parameters(folder, "tpe").draw("vae", 2, {})
        drawn.set()

    thread = threading.Thread(target=draw, daemon=True)
    try:
        assert ours.poll(60)
        thread.start()
        assert not drawn.wait(0.5)
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()
    assert drawn.wait(60)


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    journal = tmp_path / JOURNAL
    journal.touch()
    lock, inside, most = JournalLock(journal), [0], [0]

    def work(lock: JournalLock) -> None:
        for _ in range(5):
            lock.acquire()
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.001)
            inside[0] -= 1
            lock.release()

    workers = [threading.Thread(target=work, args=(each,)) for each in (lock, lock, JournalLock(journal))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == [1]
