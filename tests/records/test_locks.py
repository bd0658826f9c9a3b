"""The lock of a run: one at a time, whoever asks, and nobody for ever."""

import multiprocessing
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UserError, is_users, one_line
from benchmarks.records import locks
from benchmarks.records.files import RecordError
from benchmarks.records.locks import alone


@pytest.mark.slow
def test_a_second_process_waits_for_the_first_and_a_dead_one_holds_nothing(tmp_path: Path, capsys: Any) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held))
    holder.start()
    assert held.wait(timeout=120)
    signal.signal(signal.SIGALRM, lambda *_: holder.kill())
    signal.alarm(2)
    with alone(tmp_path):  # the holder never lets go: it is killed
        pass
    signal.alarm(0)
    holder.join(timeout=30)
    assert "is being trained by another process; waiting until that process ends" in capsys.readouterr().out


def _hold(folder: Path, held: Any) -> None:
    with alone(folder):
        held.set()
        signal.pause()


def test_threads_hold_the_lock_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL", 0.005)
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(5):
            with alone(tmp_path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.002)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert most == [1]


def test_an_error_releases_the_lock(tmp_path: Path, capsys: Any) -> None:
    def interrupted() -> None:
        with alone(tmp_path):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with alone(tmp_path):
        pass
    assert capsys.readouterr().out == ""


def test_different_runs_do_not_wait_for_each_other(tmp_path: Path, capsys: Any) -> None:
    with alone(tmp_path / "seed=0"), alone(tmp_path / "seed=1"):
        assert (tmp_path / "seed=0" / "lock").is_file(), "the lock is a visible file of a new folder"
    assert capsys.readouterr().out == ""


def test_a_lock_file_that_was_left_behind_holds_nothing(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "lock").write_text("12345")
    with alone(tmp_path):
        pass
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_in_the_place_of_a_lock_is_not_followed(target: str, tmp_path: Path) -> None:
    """A lock that is followed would empty, or make, any file of the user."""
    run = tmp_path / "seed=0"
    run.mkdir()
    (tmp_path / "elsewhere").write_text("mine")
    (run / "lock").symlink_to(tmp_path / target)
    with pytest.raises(OSError, match="lock") as error, alone(run):
        pass
    assert is_users(error.value)
    assert one_line(error.value) == (
        f"{run / 'lock'}: Too many levels of symbolic links; move away the link and run the same command again"
    )
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_the_holder_of_a_lock_finds_out_that_its_folder_was_moved_away(is_replaced: bool, tmp_path: Path) -> None:
    path = tmp_path / "seed=0"
    with alone(path) as check:
        check()
        path.rename(tmp_path / "moved")
        if is_replaced:
            with alone(path) as check_other:  # nobody holds the lock of the new folder
                check_other()
                with pytest.raises(RecordError, match="was moved away or replaced"):
                    check()
        with pytest.raises(RecordError, match="was moved away or replaced"):
            check()


def test_a_process_that_must_not_wait_says_who_trains_the_run(tmp_path: Path) -> None:
    """The first process of a distributed run once waited for the lock while the others waited for it."""
    refusal = pytest.raises(UserError, match="is being trained by another process; run the command again")
    with alone(tmp_path), refusal, alone(tmp_path, waits=False):
        pass
