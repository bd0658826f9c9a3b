"""A sweep on disk: its plan, the states of its jobs, and what is removed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.records.files import RecordError
from benchmarks.records.locks import is_held
from benchmarks.records.outcomes import Outcome, write_outcome
from benchmarks.records.sweeps import (
    Job,
    Plan,
    find_plans,
    forget_attempt,
    has_outcome,
    progress_of,
    read_plan,
    remove_sweep,
    supersede,
    working,
    write_job,
    write_plan,
)

JOB = Job("digits · mlp · vae · seed 0", "runs/digits/vae/1a2b/seed=0", "images", 1000.0, "here", 5.0)
JOBS = [["model=vae", "budget.amount=9", "seed=0"], ["model=gan", "budget.amount=9", "seed=0"]]


def test_a_plan_is_read_as_written_and_keeps_what_jobs_share_once(tmp_path: Path) -> None:
    plan = Plan.of("mine", "python -m benchmarks.train -m model=vae,gan", JOBS)
    assert (plan.common, plan.jobs) == (["budget.amount=9", "seed=0"], [["model=vae"], ["model=gan"]])
    assert plan.label(1) == "model=gan"
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan
    assert Plan.of("one", "", JOBS[:1]).label(0) == "model=vae budget.amount=9 seed=0"
    assert Plan.of("none", "", []).jobs == []


def test_a_damaged_plan_is_a_record_error(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(RecordError, match=r"plan\.json"):
        read_plan(tmp_path)


def test_the_states_of_a_job(tmp_path: Path) -> None:
    assert progress_of(tmp_path, 0).state == "waiting"
    with working(tmp_path / "0"):
        assert progress_of(tmp_path, 0).state == "running", "a job that has not said its label"
        write_job(tmp_path / "0", JOB)
        running = progress_of(tmp_path, 0)
        assert (running.state, running.job) == ("running", JOB)
    assert progress_of(tmp_path, 0).state == "interrupted"
    assert not has_outcome(tmp_path, 0)
    assert forget_attempt(tmp_path, 0)
    assert not forget_attempt(tmp_path, 0)
    assert progress_of(tmp_path, 0).state == "waiting"
    write_outcome(tmp_path / "0", Outcome(tmp_path, "diverged", "the loss is nan"))
    ended = progress_of(tmp_path, 0)
    assert (ended.state, ended.outcome and ended.outcome.message) == ("diverged", "the loss is nan")


@pytest.mark.slow
def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    code = f"""if True:
        import pathlib, time
        from benchmarks.records.sweeps import working
        with working(pathlib.Path({str(tmp_path)!r})):
            print("held", flush=True)
            time.sleep(60)"""
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    assert is_held(tmp_path / "lock")
    process.kill()
    process.wait()
    assert not is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "missing")


def test_a_sweep_is_removed_and_what_a_user_put_there_stays(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    write_plan(folder, Plan.of("mine", "", JOBS))
    for number in (0, 1):
        with working(folder / str(number)):
            write_job(folder / str(number), JOB)
    (folder / "1" / "mine.txt").write_text("mine")
    remove_sweep(folder, 2)
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    assert left == ["1", "1/mine.txt"]


def test_a_sweep_that_is_started_again_replaces_its_old_plan_and_no_living_or_other_one(tmp_path: Path) -> None:
    sweeps = tmp_path / ".sweeps" / "mine"
    for name, jobs in (("dead", JOBS), ("living", JOBS), ("other", JOBS[:1]), ("new", JOBS)):
        write_plan(sweeps / name, Plan.of("mine", "", jobs))
        time.sleep(0.01)
    with working(sweeps / "living"):
        supersede(sweeps / "new", read_plan(sweeps / "new"))
    assert [folder.name for folder in find_plans(tmp_path)] == ["living", "other", "new"]


def test_a_pipe_and_a_link_in_the_place_of_a_lock_are_held_by_nobody(tmp_path: Path) -> None:
    """A pipe was once opened, which waits for a writer for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    assert not is_held(tmp_path / "pipe")
    assert not is_held(tmp_path / "link")


@pytest.mark.parametrize("content", ["", "{", '{"path": 3, "status": "finished", "message": ""}'])
def test_an_outcome_that_cannot_be_read_is_none(content: str, tmp_path: Path) -> None:
    """A full disk once left an empty file, and the job counted as done for ever."""
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "outcome.json").write_text(content)
    assert not has_outcome(tmp_path, 0)
    write_outcome(tmp_path / "0", Outcome(tmp_path, "finished", "done"))
    assert has_outcome(tmp_path, 0)


def test_a_plan_of_more_jobs_than_a_sweep_may_have_is_refused(tmp_path: Path) -> None:
    write_plan(tmp_path, Plan("mine", "", [], [["seed=0"]], 0.0))
    path = tmp_path / "plan.json"
    head, tail = path.read_text().split('["seed=0"]')
    path.write_text(f"{head}{'[],' * 999_999}[]{tail}")
    assert len(read_plan(tmp_path).jobs) == 1_000_000
    path.write_text(f"{head}{'[],' * 1_000_000}[]{tail}")
    with pytest.raises(RecordError, match=r"plan\.json has jobs .*: expected array of length <= 1000000"):
        read_plan(tmp_path)


@pytest.mark.parametrize("started_at", [1e60, -1.0])
def test_a_plan_of_no_time_is_refused(started_at: float, tmp_path: Path) -> None:
    write_plan(tmp_path, Plan("mine", "", [], JOBS, started_at))
    with pytest.raises(RecordError, match="started_at"):
        read_plan(tmp_path)


def test_what_a_killed_start_left_is_removed_and_a_start_at_work_is_not(tmp_path: Path) -> None:
    sweeps = tmp_path / ".sweeps" / "s"
    for name in ("killed", "at work", "new"):
        (sweeps / name).mkdir(parents=True)
        (sweeps / name / "lock").touch()
        (sweeps / name / "multirun.yaml").touch()
    with working(sweeps / "at work"):
        supersede(sweeps / "new", Plan.of("s", "train -m", JOBS))
    assert {path.name for path in sweeps.iterdir()} == {"at work", "new"}
    assert {path.name for path in (sweeps / "at work").iterdir()} == {"lock", "multirun.yaml"}
