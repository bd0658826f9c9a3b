"""Signals to workers: one of joblib ends its job and lives on, and the command waits; those of a search leave Ctrl-C alone."""

import atexit
import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from filelock import FileLock
from joblib.externals.loky import get_reusable_executor
from omegaconf import OmegaConf

from benchmarks.multirun import crew, workers
from benchmarks.multirun.crew import helpers
from benchmarks.multirun.launching import Persistent
from benchmarks.multirun.workers import in_worker, saves_first
from benchmarks.signals import ENDING, Interrupted, handlers, raise_interrupted
from tests.multirun.fakes import DyingLauncher


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process as joblib starts it, with the handlers of Python."""
    monkeypatch.setattr(workers, "_received", None)
    monkeypatch.setattr(workers, "_is_worker", False)
    defaults = dict.fromkeys(ENDING, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    with handlers(defaults):
        yield


@pytest.fixture
def command() -> Iterator[None]:
    with handlers(dict.fromkeys(ENDING, raise_interrupted)):
        yield


@pytest.mark.usefixtures("worker")
def test_a_signal_ends_the_job_of_a_worker_and_later_signals_and_jobs_do_nothing() -> None:
    jobs = []

    def job(config: int) -> int:
        jobs.append(config)
        if config == 2:
            signal.raise_signal(signal.SIGTERM)
        return config

    assert in_worker(job, 1) == 1
    with pytest.raises(SystemExit) as ended:
        in_worker(job, 2)
    assert ended.value.code == 143
    for number in ENDING:
        signal.raise_signal(number)  # between two jobs the default would end the process
    with pytest.raises(SystemExit) as ended:
        in_worker(job, 3)
    assert (ended.value.code, jobs) == (143, [1, 2])


@pytest.mark.usefixtures("worker")
def test_a_signal_between_two_jobs_keeps_the_worker_alive_and_the_next_job_from_beginning() -> None:
    assert in_worker(int, 1) == 1
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        in_worker(int, 2)
    assert ended.value.code == 130


@pytest.mark.usefixtures("command")
@pytest.mark.parametrize("number", ENDING)
def test_the_command_passes_a_signal_on_and_waits_until_no_job_runs(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "3").mkdir()
    lock, killed = FileLock(tmp_path / "3" / "lock"), list[tuple[int, int]]()
    monkeypatch.setattr(workers.multiprocessing, "active_children", lambda: [SimpleNamespace(pid=12345)])
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    monkeypatch.setattr(workers.time, "sleep", lambda seconds: lock.release())  # the job has saved its run
    with lock, pytest.raises(Interrupted, match=signal.Signals(number).name), saves_first(tmp_path, range(5)):
        signal.raise_signal(number)
    assert not lock.is_locked
    assert killed == [(12345, signal.SIGTERM)]
    assert capsys.readouterr().out == "      waiting until the running jobs have saved their checkpoints\n"


@pytest.mark.usefixtures("command")
def test_a_second_signal_to_the_command_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0").mkdir()
    monkeypatch.setattr(workers.time, "sleep", lambda seconds: signal.raise_signal(signal.SIGINT))
    with FileLock(tmp_path / "0" / "lock") as lock:
        with pytest.raises(Interrupted), saves_first(tmp_path, range(1)):
            signal.raise_signal(signal.SIGINT)
        assert lock.is_locked


@pytest.mark.usefixtures("command")
def test_jobs_of_joblib_are_started_so(tmp_path: Path) -> None:
    class JoblibLauncher(DyingLauncher):
        task_function: Any = None

        def launch(self, *_: Any, **__: Any) -> None:
            signal.raise_signal(signal.SIGINT)

    launcher, nothing = JoblibLauncher(tmp_path, lambda number, before: False), mock.Mock()
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}, "retries": 2})
    sweep = Persistent(launcher, nothing, str, config)  # type: ignore[arg-type]
    assert (launcher.task_function.func, launcher.task_function.args) == (in_worker, (str,))
    with mock.patch.object(workers, "is_held", return_value=False) as looks, pytest.raises(Interrupted):
        sweep.launch([["seed=0"], ["seed=1"]], initial_job_idx=7)
    assert [call.args[0].parent.name for call in looks.call_args_list] == ["7", "8"]


def test_a_worker_does_the_last_work_of_its_jobs_and_leaves_without_freeing_what_they_loaded(tmp_path: Path) -> None:
    class Freed:
        def __del__(self) -> None:
            (tmp_path / "freed").touch()

    def job(folder: Path) -> None:  # sent to the worker as it is, so that the worker need not import this file
        json.kept = Freed(), TemporaryDirectory(dir=folder)  # type: ignore[attr-defined]
        atexit.register((folder / "last words").touch)

    workers_of_joblib = get_reusable_executor(max_workers=1)
    workers_of_joblib.submit(partial(in_worker, job), tmp_path).result()
    assert len(list(tmp_path.iterdir())) == 1
    workers_of_joblib.shutdown()  # as at the end of the command
    assert [path.name for path in tmp_path.iterdir()] == ["last words"]


@pytest.mark.usefixtures("command")
def test_further_processes_of_a_search_leave_ctrl_c_to_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that gets Ctrl-C while it imports torch shows a traceback. The first process sends each of them SIGTERM."""
    seen = []

    class Process(mock.Mock):
        def start(self) -> None:
            seen.append(signal.getsignal(signal.SIGINT))

    monkeypatch.setattr(crew.multiprocessing, "get_context", lambda kind: SimpleNamespace(Process=Process))
    search: Any = mock.Mock()
    search.settings.workers = 3
    with helpers(search):
        assert signal.getsignal(signal.SIGINT) is raise_interrupted
    assert seen == [signal.SIG_IGN] * 2
