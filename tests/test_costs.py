"""python -m benchmarks.costs: speeds that are measured in turns, so that reports compare them."""

import json
import shutil
from pathlib import Path
from unittest import mock

import pytest
import torch
from hydra import initialize_config_module

from benchmarks.multirun.costs import in_turns
from benchmarks.records.costs import read_costs, write_costs
from benchmarks.records.files import RecordError
from benchmarks.records.runs import find_runs
from benchmarks.records.schemas import MeasuredCosts
from benchmarks.reporting.leaderboard import make_tables
from benchmarks.training import speed
from benchmarks.training.configure import configure_words
from tests.conftest import run
from tests.reporting.fakes import add_run

COSTS: MeasuredCosts = {
    "schema": 1,
    "together": "0a1b2c3d",
    "images_per_second": 20.5,
    "sampling_images_per_second": 40.0,
    "seconds": 1,
    "neighbours": 1.9,
    "environment": {"device": "cpu", "threads": 1},
    "measured_at": "2026-11-28T00:00:00Z",
}


def test_runs_are_measured_in_turns_and_their_records_stay(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    before = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    result = run("costs", "runs=runs", "only.model=[ae,gan]", "seconds=0.01", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    measured = {path.parents[2].name: read_costs(path.parent) for path in (tmp_path / "runs").rglob("costs.json")}
    assert measured.keys() == {"ae", "gan"}
    ids = {costs["together"] for costs in measured.values() if costs is not None}
    assert len(ids) == 1
    assert f"4 runs measured in turns ({ids.pop()})" in result.stdout
    for costs in measured.values():
        assert costs is not None
        assert costs["images_per_second"] > 100
        assert costs["environment"]["device"] == "cpu"
    assert all(path.read_bytes() == content for path, content in before.items() if path.name != "lock")
    # by model: each row once, and then each row again
    models = [line.split("/")[-3] for line in result.stdout.splitlines() if line.startswith("[")]
    assert models == ["ae", "gan", "ae", "gan"]


def test_a_row_with_more_seeds_than_others_comes_last_alone(tmp_path: Path) -> None:
    for model, seeds in (("vae", (3, 1)), ("gan", (0, 2, 10))):
        for seed in seeds:
            add_run(tmp_path, model, seed, {"fid": 1.0})
    order = [(run.record["names"]["model"], run.record["seed"]) for run in in_turns(find_runs(tmp_path))]
    assert order == [("gan", 0), ("vae", 1), ("gan", 2), ("vae", 3), ("gan", 10)]


def test_a_report_shows_the_measured_speeds_in_place_of_those_of_training(tmp_path: Path) -> None:
    path = add_run(tmp_path, "gan", 0, {"fid": 1.0})
    for expected in (5.0, 20.5):
        (table,) = make_tables(find_runs(tmp_path), 5)
        assert table.models[0].values("images_per_second") == [expected]
        assert table.models[0].values("train_seconds") == [2.0]
        assert any("in turns" in remark for remark in table.remarks) == (expected == 20.5)
        write_costs(path, COSTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images_per_second": 0}, "images_per_second"),
        ({"images_per_second": 1e400}, "damaged"),
        ({"together": "../x"}, "together"),
        ({"environment": []}, "environment"),
    ],
)
def test_damaged_costs_are_refused(change: dict[str, object], said: str, tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(json.dumps(COSTS | change))
    with pytest.raises(RecordError, match=said):
        read_costs(tmp_path)


def test_the_speed_of_a_budget_with_phases_is_that_of_all_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stages of half the images each, at 10 and at 30 images a second: 1 / (0.5 / 10 + 0.5 / 30) = 15."""
    with initialize_config_module("conf", version_base="1.3"):
        config = configure_words(
            ["model=two_stage", "datamodule=digits", "network=mlp_narrow", "model.first_stage=0.5"]
        )
    monkeypatch.setattr(speed, "_speed_at", lambda share, *rest: 10.0 if share < 0.5 else 30.0)
    assert speed.training_speed(config, None, 1.0) == pytest.approx(15.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("seconds=0",), "error: seconds is 0; expected a number above 0"),
        (("runs=nowhere",), "error: nowhere is not a folder"),
        (("only.model=vea",), "error: only.model=vea matches no run; expected gan"),
        (("only.model=gan",), "error: runs holds no finished run that genbench trained"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], line: str, tmp_path: Path) -> None:
    add_run(tmp_path / "runs", "gan", 0, {}, status="diverged")
    result = run("costs", *words, cwd=tmp_path)
    assert (result.returncode, result.stderr[: len(line)]) == (1, line)


def test_a_burst_of_other_work_does_not_change_the_usual_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 10 minibatches of 2 images take 0.1 seconds each, and two of them 1 second."""
    seconds = iter([0.1] * 6 + [1.0, 1.0] + [0.1] * 100)
    at = 0.0

    def now() -> float:
        return at

    monkeypatch.setattr(speed, "clock", now)
    monkeypatch.setattr(speed, "now", now)
    watch, trainer = speed.Stopwatch(batch_size=2, warm=5, seconds=4.0), mock.Mock(should_stop=False)
    while not trainer.should_stop:
        at += next(seconds)
        watch.on_train_batch_end(trainer, None, None, torch.zeros(10, 2), 0)
    assert watch.usual_speed == pytest.approx(200)
    assert watch.speed < 160
