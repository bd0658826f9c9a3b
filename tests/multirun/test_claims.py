"""Processes that share work: each task is done once, and those of a process that died or of an earlier command again."""

import threading
from pathlib import Path

import pytest

from benchmarks.multirun.claims import Claims


def test_each_task_is_done_once_by_any_number_of_workers(tmp_path: Path) -> None:
    done: list[str] = []
    tasks = [f"task-{n}" for n in range(40)]

    def work() -> None:
        Claims(tmp_path, before={}).share(tasks, done.__contains__, done.append)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(done) == sorted(tasks)


def test_a_task_of_another_process_is_waited_for_and_taken_up_if_that_process_ends_without_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Claims(tmp_path).claim("b")
    assert other.__enter__()
    done: list[str] = []
    monkeypatch.setattr("benchmarks.multirun.claims.time.sleep", lambda seconds: other.__exit__(None, None, None))
    Claims(tmp_path).share(["a", "b", "c"], done.__contains__, done.append)
    assert done == ["a", "c", "b"]
    assert capsys.readouterr().out == "      waiting for 1 jobs of other processes\n"


def test_what_an_earlier_command_gave_up_is_tried_again_and_what_this_one_gave_up_is_not(tmp_path: Path) -> None:
    Claims(tmp_path).give_up("a", "out of memory")
    mine = Claims(tmp_path)
    assert mine.reason("a") is None
    beside = Claims(tmp_path, before=mine.before)  # another process of the same command
    tried: list[str] = []

    def fail(task: str) -> None:
        tried.append(task)
        mine.give_up(task, "out of memory again")

    mine.share(["a"], lambda task: False, fail)
    beside.share(["a"], lambda task: False, fail)
    assert tried == ["a"]
    assert beside.reason("a") == "out of memory again"
    assert Claims(tmp_path).reason("a") is None
