"""Work on several cores gives what one core gives, whatever becomes of the other process."""

import errno
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from benchmarks.records.files import replacing
from benchmarks.records.roots import find_all
from benchmarks.records.runs import Run
from benchmarks.reporting import cores
from benchmarks.reporting.build import write_report
from benchmarks.reporting.cores import LEAST_PARTS, beside, in_threads
from benchmarks.reporting.reading import read_beside
from benchmarks.signals import interruptible

needs_forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a machine with one core, and on one whose Python starts no forks by default."""
    monkeypatch.setattr(cores, "cores", lambda: 2)
    monkeypatch.setattr(cores, "_can_fork", lambda: True)


@pytest.mark.parametrize("parts", [0, 1, LEAST_PARTS - 1, LEAST_PARTS, 5 * LEAST_PARTS + 1])
def test_threads_do_each_part_once(parts: int, two_cores: None) -> None:
    done, names = np.zeros(parts, int), set()

    def work(some: Sequence[int]) -> None:
        names.add(threading.current_thread().name)
        done[list(some)] += 1

    in_threads(work, range(parts))
    assert (done == 1).all()
    assert (threading.main_thread().name in names) == (parts < LEAST_PARTS)


def test_blas_has_one_thread_while_threads_work(two_cores: None) -> None:
    def threads_of_blas() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    during = list[list[int]]()
    with threadpool_limits(2, user_api="blas"):
        in_threads(lambda some: during.append(threads_of_blas()), range(LEAST_PARTS))
        assert set(threads_of_blas()) == {2}
    assert [set(threads) for threads in during] == [{1}, {1}]


def test_an_error_in_a_thread_is_raised(two_cores: None) -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda some: [1 // i for i in some] and None, range(3 * LEAST_PARTS))


@needs_forks
def test_a_fork_does_the_work_once_and_elsewhere(tmp_path: Path, two_cores: None) -> None:
    def work() -> int:
        (tmp_path / str(os.getpid())).touch()
        return os.getpid()

    with beside(work, pays=True) as results:
        assert not results
    (file,) = tmp_path.iterdir()
    assert [file.name] == [str(result) for result in results] != [str(os.getpid())]


@needs_forks
@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: 1 // 0], ids=["killed", "error"])
def test_work_that_a_fork_did_not_finish_is_done_here(end: Any, tmp_path: Path, two_cores: None, capfd: Any) -> None:
    here = os.getpid()

    def work() -> None:
        if os.getpid() != here:
            end()
        (tmp_path / "file").touch()

    with beside(work, pays=True):
        assert not (tmp_path / "file").exists()
    assert (tmp_path / "file").exists()
    assert not capfd.readouterr().err, "no traceback of the fork"


@needs_forks
def test_work_of_a_fork_that_is_killed_while_it_sends_is_done_here(two_cores: None) -> None:
    result, others = b"a" * 2**22, multiprocessing.active_children()  # more than a pipe holds; children of other tests
    with beside(lambda: result, pays=True) as results:
        (fork,) = set(multiprocessing.active_children()) - set(others)
        assert multiprocessing.connection.wait([fork.sentinel], 0.2) == []
        fork.kill()
    assert results == [result]


@needs_forks
def test_a_fork_ends_after_its_parent_was_killed() -> None:
    """It once waited for ever, with all records in its memory."""
    script = """
import os, signal, time
from benchmarks.reporting import cores
cores._can_fork = lambda: True
with cores.beside(lambda: b"a" * 2**22, pays=True):
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    # ends when the fork does, which has the same output
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (-signal.SIGKILL, b"")


@needs_forks
def test_without_a_process_more_the_work_is_done_here(two_cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    with beside(os.getpid, pays=True) as results:
        assert results == [os.getpid()]
    assert results == [os.getpid()]


@needs_forks
def test_an_error_of_the_work_is_raised_here(two_cores: None) -> None:
    with pytest.raises(ZeroDivisionError), beside(lambda: 1 // 0 and None, pays=True):
        pass


@needs_forks
def test_an_error_beside_the_work_ends_the_fork(tmp_path: Path, two_cores: None) -> None:
    def work() -> None:
        with interruptible(), replacing(tmp_path / "file"):
            started.touch()
            signal.pause()

    def interrupt() -> None:
        while not started.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    started = tmp_path / "started"
    with pytest.raises(KeyboardInterrupt), beside(work, pays=True):
        interrupt()
    assert list(tmp_path.iterdir()) == [started], "no temporary file"


def test_without_a_fork_the_work_comes_first(tmp_path: Path) -> None:
    with beside(lambda: (tmp_path / str(os.getpid())).touch(), pays=False):
        assert (tmp_path / str(os.getpid())).exists()


@needs_forks
def test_a_report_is_the_same_with_a_fork(
    runs: list[Run], tmp_path: Path, two_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report([tmp_path], tmp_path / "one", "again")
    monkeypatch.setattr(cores, "MANY_RUNS", 1)
    write_report([tmp_path], tmp_path / "two", "again")
    assert read_files(tmp_path / "one") == read_files(tmp_path / "two")


@needs_forks
def test_a_fork_reads_runs_as_this_process_does(
    runs: list[Run], tmp_path: Path, two_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (runs[0].path, runs[-1].path):  # one in each half
        (path / "run.json").write_text("{}")
    one: tuple[list[Run], list[str]] = ([], [])
    two: tuple[list[Run], list[str]] = ([], [])
    one[0].extend(find_all([tmp_path], lambda error: one[1].append(str(error))))
    monkeypatch.setattr(cores, "MANY_RUNS", 1)
    two[0].extend(find_all([tmp_path], lambda error: two[1].append(str(error)), read_beside))
    assert one == two
    assert (len(one[0]), len(one[1])) == (len(runs) - 2, 2)


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
