"""The program that shows how far sweeps and runs are, from files alone."""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.multirun.status import share_spent
from benchmarks.records.outcomes import Outcome, write_outcome
from benchmarks.records.runs import Status, write_record
from benchmarks.records.sweeps import Job, Plan, working, write_job, write_plan
from tests.conftest import run

DATA = {"id": "d", "sizes": {"test": 9}, "binarize": "none", "dequantize": False}
CURVE = "images,seconds,updates\n200,2.0,4\n400,4.0,8\n"


def folder_of(root: Path, seed: int) -> Path:
    return root / "runs" / "digits" / "vae" / "1a2b3c4d" / f"seed={seed}"


def record(run: Path, status: Status) -> None:
    names = {"datamodule": "digits", "network": "mlp", "model": "vae"}
    write_record(run, {"status": status, "seed": 0, "config_id": "1a2b3c4d", "names": names, "data": DATA})


def job(root: Path, seed: int, began_at: float | None = None) -> Job:
    path = folder_of(root, seed)
    path.mkdir(parents=True, exist_ok=True)
    began = time.time() - 10 if began_at is None else began_at
    return Job(f"digits · mlp · vae · seed {seed}", str(path), "images", 1000.0, "node7", began)


@pytest.fixture
def sweep_folder(tmp_path: Path) -> Path:
    """A sweep of six jobs: finished, diverged, failed, running, interrupted, waiting; its command has ended."""
    folder = tmp_path / "runs" / ".sweeps" / "mine" / "now"
    jobs = [["model=vae", f"seed={seed}"] for seed in range(6)]
    write_plan(folder, Plan.of("mine", "python -m benchmarks.train -m seed='range(0,6)'", jobs))
    statuses: tuple[Status, ...] = ("finished", "diverged", "failed")
    for seed, status in enumerate(statuses):
        write_job(folder / str(seed), job(tmp_path, seed))
        write_outcome(folder / str(seed), Outcome(folder_of(tmp_path, seed), status, f"seed {seed} {status} because"))
        record(folder_of(tmp_path, seed), status)
    for seed in (3, 4):
        write_job(folder / str(seed), job(tmp_path, seed))
        (folder_of(tmp_path, seed) / "config.yaml").write_text("seed: 0\n")
    (folder_of(tmp_path, 3) / "curve.csv").write_text(CURVE)
    (folder_of(tmp_path, 4) / "checkpoints").mkdir()
    (folder_of(tmp_path, 4) / "checkpoints" / "last.ckpt").touch()
    return folder


def test_each_job_of_a_sweep_is_shown_with_what_matters_about_it(sweep_folder: Path, tmp_path: Path) -> None:
    with ExitStack() as locks:
        locks.enter_context(working(sweep_folder / "3"))
        locks.enter_context(working(folder_of(tmp_path, 3)))
        result = run("status", "runs=runs", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "sweep mine, started " in lines[0]
    assert lines[0].endswith(": 3 of 6 jobs done")
    assert lines[1].startswith("  1 finished · 1 diverged · 1 failed · 1 running · 1 interrupted · 1 waiting · about ")
    running, diverged, failed, interrupted, command, runs, cut = lines[2:]
    assert running.startswith("  running      [4/6] digits · mlp · vae · seed 3 · about 4")
    assert running.endswith("% of 1,000 images · 100 images/s on node7")
    assert diverged == "  diverged     [2/6] digits · mlp · vae · seed 1: seed 1 diverged because"
    assert failed == "  failed       [3/6] digits · mlp · vae · seed 2: seed 2 failed because"
    assert interrupted == "  interrupted  [5/6] digits · mlp · vae · seed 4: resumes from its checkpoint"
    assert command.endswith("the same command finishes the rest: python -m benchmarks.train -m seed='range(0,6)'")
    assert runs == "runs: 1 finished · 1 diverged · 1 failed · 1 in training · 1 interrupted"
    assert cut.endswith("vae/1a2b3c4d/seed=4: resumes from its checkpoint")


def test_a_living_command_is_not_asked_to_be_run_again(sweep_folder: Path, tmp_path: Path) -> None:
    with working(sweep_folder):
        assert "the same command" not in run("status", "runs=runs", cwd=tmp_path).stdout


def test_a_run_that_is_trained_and_not_scored_says_so(sweep_folder: Path, tmp_path: Path) -> None:
    record(folder_of(tmp_path, 3), "finished")
    record(folder_of(tmp_path, 4), "finished")
    with working(sweep_folder / "3"):
        text = run("status", "runs=runs", cwd=tmp_path).stdout
    assert "seed 3 · scoring\n" in text
    assert "seed 4: trained, and not scored yet\n" in text


def test_the_share_of_the_budget_goes_on_at_the_speed_of_the_curve(tmp_path: Path) -> None:
    entry = job(tmp_path, 0, began_at=0.0)
    assert share_spent(entry, 100.0) is None
    curve = folder_of(tmp_path, 0) / "curve.csv"
    curve.write_text(CURVE)
    os.utime(curve, (100.0, 100.0))
    assert share_spent(entry, 100.0) == pytest.approx((0.4, 100.0))
    assert share_spent(entry, 103.0) == pytest.approx((0.7, 100.0))
    assert share_spent(entry, 1000.0) == pytest.approx((1.0, 100.0))
    # the time between two attempts is not training
    later = job(tmp_path, 0, began_at=200.0)
    assert share_spent(later, 203.0) == pytest.approx((0.7, 100.0))


def test_the_program_watches_until_nothing_runs(
    sweep_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = ExitStack()
    lock.enter_context(working(sweep_folder / "3"))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        lock.close()

    monkeypatch.setattr("benchmarks.status.time.sleep", sleep)
    result = run("status", "runs=runs", "watch=7", cwd=tmp_path)
    assert slept == [7]
    assert result.stdout.count("sweep mine") == 2
    assert "2 interrupted" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs=nowhere"], "nowhere is not a folder"),
        (["runs=.", "watch=0"], "watch is 0; expected a number of seconds"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    result = run("status", *words, cwd=tmp_path)
    assert result.returncode == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_damaged_plan_costs_a_line_and_not_the_rest(sweep_folder: Path, tmp_path: Path) -> None:
    other: Any = tmp_path / "runs" / ".sweeps" / "mine" / "damaged" / "plan.json"
    other.parent.mkdir()
    other.write_text("{")
    result = run("status", "runs=runs", cwd=tmp_path)
    assert "plan.json is damaged" in result.stderr
    assert "sweep mine" in result.stdout
