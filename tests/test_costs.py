"""python -m benchmarks.costs: speeds that are measured in turns, so that reports compare them."""

import contextlib
import errno
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hydra import initialize_config_module

from benchmarks.multirun.costs import in_turns
from benchmarks.records import files
from benchmarks.records.costs import read_costs, write_costs
from benchmarks.records.files import RecordError
from benchmarks.records.runs import Run, find_runs, read_record
from benchmarks.records.schemas import MeasuredCosts
from benchmarks.reporting.leaderboard import make_tables
from benchmarks.signals import Interrupted
from benchmarks.training import speed
from benchmarks.training.configure import configure_words
from tests.conftest import run
from tests.reporting.fakes import add_run

COSTS: MeasuredCosts = {
    "schema": 1,
    "config_id": "c1",
    "seed": 0,
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
    measured = {
        path.parents[2].name: read_costs(path.parent, read_record(path.parent) or {})
        for path in (tmp_path / "runs").rglob("costs.json")
    }
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


def test_the_runs_of_each_row_are_spread_over_the_whole_time_of_their_data_set(tmp_path: Path) -> None:
    """A row with more seeds than others does not come last alone: other work that begins late slows all rows alike."""
    for datamodule, model, seeds in (
        ("digits", "vae", (3, 1)),
        ("digits", "gan", (0, 2, 10, 11, 12, 13)),
        ("blobs", "vae", (0,)),
    ):
        for seed in seeds:
            add_run(tmp_path, model, seed, {"fid": 1.0}, datamodule=datamodule)
    order = [f"{run.path.parts[-4]} {run.path.parts[-3]} {run.record['seed']}" for run in in_turns(find_runs(tmp_path))]
    of_digits = ["gan 0", "gan 2", "vae 1", "gan 10", "gan 11", "gan 12", "vae 3", "gan 13"]
    assert order == ["blobs vae 0", *(f"digits {run}" for run in of_digits)]


def test_costs_of_another_run_are_refused(tmp_path: Path) -> None:
    """A copied measurement would count twice. Nothing measures a row from elsewhere."""
    write_costs(tmp_path, COSTS)
    own = {"config_id": "c1", "seed": 0}
    assert read_costs(tmp_path, own) == COSTS
    for other in (own | {"seed": 1}, own | {"config_id": "c2"}, own | {"external": {"kind": "python"}}):
        with pytest.raises(RecordError, match="of configuration c1 with seed 0, and was copied here"):
            read_costs(tmp_path, other)


def test_runs_of_a_published_folder_or_at_another_place_are_named_before_anything_is_measured(tmp_path: Path) -> None:
    published = add_run(tmp_path / "published" / "runs", "gan", 0, {})
    for name in ("SHA256SUMS", "REPLAY.md"):
        (tmp_path / "published" / name).write_text("")
    moved = add_run(tmp_path / "other", "vae", 0, {}).rename(tmp_path / "moved")
    result = run("costs", f"runs=[{tmp_path / 'published'},{moved}]", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert f"{published} lies in the published folder {tmp_path / 'published'}" in lines[0]
    assert f"{moved} does not lie at <runs>/digits/vae/c1/seed=0" in lines[1]
    assert not (published / "costs.json").exists()


def test_a_report_shows_the_measured_speeds_in_place_of_those_of_training(tmp_path: Path) -> None:
    path = add_run(tmp_path, "gan", 0, {"fid": 1.0})
    for expected in (5.0, 20.5):
        (table,) = make_tables(find_runs(tmp_path), 5)
        assert table.models[0].values("images_per_second") == [expected]
        assert table.models[0].values("train_seconds") == [2.0]
        assert any("in turns" in remark for remark in table.remarks) == (expected == 20.5)
        write_costs(path, COSTS)


def test_a_table_says_why_measured_speeds_are_not_compared(tmp_path: Path) -> None:
    costs = [COSTS, COSTS | {"environment": {"threads": 8}}, COSTS | {"together": "other"}]  # type: ignore[operator]
    last = []
    for seed, own in enumerate(costs):
        write_costs(add_run(tmp_path, "gan", seed, {"fid": 1.0}), own | {"seed": seed})
        last.append(make_tables(find_runs(tmp_path), 5)[0].remarks[0].partition("benchmarks.costs)")[2])
    add_run(tmp_path, "vae", 0, {"fid": 1.0})
    last.append(make_tables(find_runs(tmp_path), 5)[0].remarks[0].partition("benchmarks.costs)")[2])
    assert last == [
        "",
        ", on different devices, processors or numbers of threads; speeds are not compared",
        ", for 3 of 3 runs, in 2 measurements; speeds are not compared",
        ", for 3 of 4 runs, in 2 measurements; speeds are not compared",
    ]


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
        read_costs(tmp_path, {"config_id": "c1", "seed": 0})


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


class ReadyMeter:
    """Has measured already, except what it is interrupted in."""

    id = COSTS["together"]
    interrupted_in: int | None = None

    def __init__(self, *settings: object) -> None:
        pass

    def measure(self, run: Run) -> MeasuredCosts:
        seed = int(run.record["seed"])
        if seed == self.interrupted_in:
            raise Interrupted(signal.SIGINT)
        return {**COSTS, "seed": seed}


def test_a_run_that_cannot_be_written_costs_a_line_and_the_others_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, paths = os.replace, [add_run(tmp_path / "runs", "gan", seed, {}) for seed in range(3)]

    def replace(source: Any, target: Any) -> None:
        if Path(target).match("seed=1/costs.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        real(source, target)

    monkeypatch.setattr("benchmarks.multirun.costs.Meter", ReadyMeter)
    monkeypatch.setattr(files.os, "replace", replace)
    result = run("costs", cwd=tmp_path)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "seed=1/costs.json: No space left on device; free some space" in result.stderr
    assert "2 runs measured in turns" in result.stdout
    assert [path.name for path in paths if (path / "costs.json").exists()] == ["seed=0", "seed=2"]
    assert not list(paths[1].glob(".costs*"))


def test_an_interrupted_measurement_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = add_run(tmp_path / "runs", "gan", 0, {})
    write_costs(path, COSTS)
    add_run(tmp_path / "runs", "gan", 1, {})
    before = (path / "costs.json").read_bytes()
    monkeypatch.setattr(ReadyMeter, "interrupted_in", 1)
    monkeypatch.setattr("benchmarks.multirun.costs.Meter", ReadyMeter)
    result = run("costs", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (
        128 + signal.SIGINT,
        "error: interrupted by SIGINT; nothing was written; the same command measures all runs from the start\n",
    )
    assert (path / "costs.json").read_bytes() == before
    assert len(list(tmp_path.rglob("costs.json"))) == 1


@pytest.mark.parametrize("block_size", [1, 3, 8, 20])
def test_every_window_has_whole_rounds_of_players(block_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minibatch takes 0.1 seconds, and every fifth one 0.6: 5 minibatches of 2 images a second, in blocks of any length."""
    at = 0.0

    def now() -> float:
        return at

    monkeypatch.setattr(speed, "clock", now)
    monkeypatch.setattr(speed, "now", now)
    watch, trainer = speed.Stopwatch(2, 5, 3.0, round=5), mock.Mock(should_stop=False)
    while not trainer.should_stop:
        at += sum(0.6 if (watch.minibatches + i) % 5 == 0 else 0.1 for i in range(1, block_size + 1))
        watch.on_train_batch_end(trainer, None, None, torch.zeros(block_size, 2), 0)
    assert watch.usual_speed == pytest.approx(10)
    assert watch.speed == pytest.approx(10)


def test_a_measurement_ends_though_a_player_hardly_ever_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    at = 0.0

    def now() -> float:
        return at

    monkeypatch.setattr(speed, "clock", now)
    monkeypatch.setattr(speed, "now", now)
    watch, trainer = speed.Stopwatch(2, 5, 1.0, round=10**9), mock.Mock(should_stop=False)
    while not trainer.should_stop:
        at += 0.1
        watch.on_train_batch_end(trainer, None, None, torch.zeros(1, 2), 0)
    assert at == pytest.approx(10.5, abs=0.2)
    assert watch.usual_speed == pytest.approx(20)


def test_a_round_has_a_turn_of_every_player() -> None:
    players: Any = [mock.Mock(every=every) for every in (1, 4, 6)]
    assert speed.round_of(players) == 12
    assert speed.round_of([mock.Mock(every=10**9)]) == speed.LONGEST_ROUND


class Sampler:
    """Draws samples in a number of seconds each, by its own clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.at, self.sizes = seconds, 0.0, list[int]()

    def clock(self) -> float:
        return self.at

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        self.at += n * self.seconds
        self.sizes.append(n)
        return torch.zeros(n, 1)

    def scoring(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@pytest.mark.parametrize(
    ("seconds", "sizes"),
    [
        (0.001, [1, 4, 16, 64, 256, 256, 256]),  # two batches of 256 are 0.5 seconds
        (0.5, [1, 4, 16, 64]),  # a batch of 256 would take two minutes
        (20.0, [1]),
    ],
)
def test_samples_that_take_long_are_drawn_in_smaller_batches(seconds: float, sizes: list[int]) -> None:
    model: Any = Sampler(seconds)
    assert speed.sampling_speed(model, seconds=0.3, clock=model.clock) == pytest.approx(1 / seconds)
    assert model.sizes == sizes
