"""A multirun: how many jobs there are, what each says, what the end gathers, and what it removes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from benchmarks.multirun import sweep
from benchmarks.multirun.sweep import Leaderboard, announce, report_outcome
from benchmarks.records.files import write_text
from benchmarks.records.outcomes import Outcome, write_outcome
from benchmarks.records.runs import Status

WRITE_REPORT = "benchmarks.reporting.build.write_report"


def started(*words: str) -> int | None:
    """The number of jobs that the start of a multirun counts."""
    presets = [word for word in words if word.startswith("sweep=")]
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("train", overrides=presets, return_hydra_config=True)
    config.hydra.overrides.task = list(words)
    Leaderboard().on_multirun_start(config)
    return sweep._jobs


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Every test is a process that has begun no sweep, in a folder of its own: a sweep writes its plan where it starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "_jobs", None)
    monkeypatch.setattr(sweep, "_started", 0.0)
    yield
    sweep._lock.close()


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        ([], 1),
        (["model=vae"], 1),
        (["model=ae,vae,gan", "seed=0,1"], 6),
        (["seed=range(0,5)"], 5),
        (["seed=choice(3,4)", "model.optimizer.lr=1e-3,1e-4"], 4),
        (["model.trunk.widths=[400,400]"], 1),
        (["model.trunk.widths=[400],[400,400]"], 2),
        (["sweep=quickstart"], 25),
    ],
    ids=str,
)
def test_every_combination_is_a_job(words: list[str], jobs: int) -> None:
    assert started(*words) == jobs


def hydra_in(folder: Path, job: int) -> Any:
    """Hydra's own part of a configuration, as a job sees it."""
    node = OmegaConf.create({"job": {"num": job}, "runtime": {"output_dir": str(folder)}})
    return mock.patch.object(HydraConfig, "get", return_value=node)


def test_a_job_says_its_number_and_the_time_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "_jobs", 6)
    monkeypatch.setattr("benchmarks.multirun.sweep.time.monotonic", lambda: 20.0)
    for job in (0, 2, 5):
        with hydra_in(tmp_path, job):
            announce("digits · mlp · vae · seed 0")
    assert capsys.readouterr().out.splitlines() == [
        "[1/6] digits · mlp · vae · seed 0",
        "[3/6] digits · mlp · vae · seed 0 · about 0 min 40 s left",
        "[6/6] digits · mlp · vae · seed 0 · about 0 min 04 s left",
    ]


def test_jobs_with_nothing_to_do_share_a_line_and_set_no_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "_jobs", 6)
    monkeypatch.setattr("benchmarks.multirun.sweep.time.monotonic", lambda: 20.0)
    for name in ("_idle", "_untold"):
        monkeypatch.setattr(sweep, name, 0)
    for job in range(6):
        run, is_new = tmp_path / f"run{job}", job in (3, 4)
        run.mkdir()
        if not is_new:
            (run / "run.json").write_text("{}")
        with hydra_in(tmp_path / str(job), job):
            announce(f"seed {job}", run)
            report_outcome(Outcome(run, "finished", "trained" if is_new else "old: nothing to do", was_done=not is_new))
    sweep._print_idle()
    assert capsys.readouterr().out.splitlines() == [
        "      3 runs ended before: nothing to do",
        "[4/6] seed 3",
        "      trained",
        "[5/6] seed 4 · about 0 min 40 s left",
        "      trained",
        "      1 run ended before: nothing to do",
    ]


def test_where_the_number_of_jobs_is_unknown_only_the_jobs_own_is_said(tmp_path: Path, capsys: Any) -> None:
    with hydra_in(tmp_path, 3):
        announce("gan")
    assert capsys.readouterr().out == "[4] gan\n"


def ended(folder: Path, *statuses: Status, jobs: int | None = None) -> DictConfig:
    """A multirun whose jobs ended so, each with a record; its configuration."""
    for job, status in enumerate(statuses):
        run = folder / "runs" / f"run{job}"
        run.mkdir(parents=True)
        (run / "run.json").write_text("{}")
        with hydra_in(folder / "sweep" / str(job), job):
            report_outcome(Outcome(run, status, f"job {job} {status}"))
    write_text(folder / "sweep" / "multirun.yaml", "x: 1")
    sweep._jobs = len(statuses) if jobs is None else jobs
    return OmegaConf.create(
        {
            "hydra": {"sweep": {"dir": str(folder / "sweep")}},
            "reports_dir": str(folder / "reports"),
            "sweep_name": "mine",
        }
    )


def test_the_end_reports_every_run_in_order_of_jobs_and_leaves_no_file(tmp_path: Path, capsys: Any) -> None:
    config = ended(tmp_path, *["finished"] * 12)
    with mock.patch(WRITE_REPORT) as write_report:
        Leaderboard().on_multirun_end(config)
    (paths, out), options = write_report.call_args
    assert [path.name for path in paths] == [f"run{job}" for job in range(12)], "job 10 comes after job 9"
    assert out == tmp_path / "reports" / "mine"
    assert options == {"title": "mine", "logger": None}
    assert not (tmp_path / "sweep").exists()
    text = capsys.readouterr()
    assert text.out.splitlines() == [f"      job {job} finished" for job in range(12)]
    assert text.err == ""


def test_a_folder_that_holds_more_is_kept(tmp_path: Path) -> None:
    config = ended(tmp_path, "finished", "finished")
    (tmp_path / "sweep" / "1" / "mine.txt").write_text("mine")
    with mock.patch(WRITE_REPORT):
        Leaderboard().on_multirun_end(config)
    left = [path.relative_to(tmp_path).as_posix() for path in (tmp_path / "sweep").rglob("*")]
    assert sorted(left) == ["sweep/1", "sweep/1/mine.txt"]


def test_a_diverged_job_is_named_and_is_a_result(tmp_path: Path, capsys: Any) -> None:
    config = ended(tmp_path, "finished", "diverged")
    with mock.patch(WRITE_REPORT) as write_report:
        Leaderboard().on_multirun_end(config)
    assert len(write_report.call_args.args[0]) == 2
    assert capsys.readouterr().err == "error: job 1 diverged\n"


def test_a_failed_job_is_named_and_the_sweep_has_failed(tmp_path: Path, capsys: Any) -> None:
    config = ended(tmp_path, "failed", "finished")
    (tmp_path / "runs" / "run0" / "run.json").unlink()
    with mock.patch(WRITE_REPORT) as write_report, pytest.raises(SystemExit) as exited:
        Leaderboard().on_multirun_end(config)
    assert exited.value.code == 1
    assert [path.name for path in write_report.call_args.args[0]] == ["run1"]
    assert capsys.readouterr().err == "error: job 0 failed\n"


def test_jobs_without_an_outcome_are_counted(tmp_path: Path, capsys: Any) -> None:
    config = ended(tmp_path, "finished", jobs=3)
    with mock.patch(WRITE_REPORT), pytest.raises(SystemExit):
        Leaderboard().on_multirun_end(config)
    assert capsys.readouterr().err == "error: 2 of 3 jobs ended without an outcome\n"


def test_a_report_that_cannot_be_built_fails_the_sweep_in_a_line(tmp_path: Path, capsys: Any) -> None:
    config = ended(tmp_path, "finished")
    with mock.patch(WRITE_REPORT, side_effect=OSError("disk\nfull")), pytest.raises(SystemExit):
        Leaderboard().on_multirun_end(config)
    assert capsys.readouterr().err == "error: the leaderboard could not be built: disk full\n"


def test_a_sweep_without_a_run_has_no_report(tmp_path: Path, capsys: Any) -> None:
    config = ended(tmp_path)
    write_outcome(tmp_path / "sweep" / "0", Outcome(tmp_path / "runs", "failed", "job: seed is -1"))
    with mock.patch(WRITE_REPORT) as write_report, pytest.raises(SystemExit):
        Leaderboard().on_multirun_end(config)
    write_report.assert_not_called()
    assert "job: seed is -1" in capsys.readouterr().err


def test_an_outcome_that_cannot_be_read_fails_the_sweep(tmp_path: Path, capsys: Any) -> None:
    """Hydra only warned of the error, and the sweep ended with exit status 0."""
    config = ended(tmp_path, "finished", "finished")
    (tmp_path / "sweep" / "1" / "outcome.json").write_text("")
    with mock.patch(WRITE_REPORT) as write_report, pytest.raises(SystemExit):
        Leaderboard().on_multirun_end(config)
    assert [path.name for path in write_report.call_args.args[0]] == ["run0"]
    assert "1 of 2 jobs ended without an outcome" in capsys.readouterr().err
