"""The study of speed: each kind of step at the tiny size, ratios within rounds, and loops that train as they should."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.scoring.restore import load_data, load_model
from benchmarks.studies import speed_costs, speed_loops, speed_scoring
from benchmarks.studies.ledger import Step
from benchmarks.studies.loops import How, bare, times
from benchmarks.studies.place import Place, Target, prepared
from benchmarks.studies.pythae_loop import can_run, pythae_speed
from benchmarks.studies.stacked import SEEDS
from benchmarks.training.configure import RunConfig
from benchmarks.training.speed import clock
from models.game import GenerativeModel
from tests.conftest import run

# one player, so that the tests are short
TARGET = Target("ae", "mlp")


@pytest.fixture
def place() -> Iterator[Place]:
    with prepared(is_tiny=True, name="speed", device="cpu") as tiny:
        yield tiny


def rows(steps: list[Step]) -> list[dict[str, Any]]:
    return [dict(row) for step in steps for table in step.work().values() for row in table]


def test_ratios_are_of_one_round() -> None:
    """A machine that halves its speed after the second round moves no ratio."""
    speeds = {"a": [200.0, 220.0, 100.0], "b": [100.0, 100.0, 50.0]}
    assert times(speeds, "a", "b") == 2


def test_seconds_are_of_the_processor_where_one_thread_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.process_time", lambda: 1.0)
    monkeypatch.setattr("time.perf_counter", lambda: 2.0)
    for threads, seconds in ((1, 1.0), (2, 2.0)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert clock() == seconds


def test_the_program_prints_the_tables_of_a_part_and_repeats_no_step(tmp_path: Path) -> None:
    words = ("part=loops", "size=tiny", "minutes=20")
    first, second = (run("studies.speed", *words, cwd=tmp_path) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "[1/1] loops-mlp-wgan_gp" in first.stdout
    assert "[1/1]" not in second.stdout
    table = first.stdout.partition("## The loop beside other loops")[2]
    assert "times bare eager" in table
    assert table in second.stdout
    assert (tmp_path / "reports" / "speed" / "results.json").is_file()


def test_costs_and_growth_have_a_row_for_each_case(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def train(words: list[str], **_: Any) -> None:
        made.append(words)

    monkeypatch.setattr(speed_costs.subprocess, "run", train)
    costs, batch, data, jobs = rows([*speed_costs.costs(place, [TARGET]), *speed_costs.growth(place, [TARGET])])
    assert all(value > 0 for key, value in costs.items() if key not in ("model", "network"))
    assert costs["first point, s"] >= costs["point of the curve, s"]
    assert (batch["batch"], data["training images"], jobs["jobs"]) == (8, 100, 1)
    assert min(batch["images/s"], data["images/s"]) > 0
    assert {"-m", "benchmarks.train", "model=ae", "seed=0"} <= set(made[0])


def test_scoring_has_the_seconds_of_each_metric_that_applies(place: Place) -> None:
    (search,) = rows(speed_scoring.inversion(place, [TARGET]))
    assert (search["rounds"], search["whole rounds"]) in {(n, m) for n in range(1, 5) for m in range(2, 4)}
    assert search["inversion MSE"] > 0
    assert search["times that of whole rounds"] > 0.5
    (row,) = rows(speed_scoring.scoring(place, [TARGET]))
    assert {"features of the data", "fid", "ais", "inversion", "reconstruction", "all but ais"} <= set(row)
    assert not {"known_truth", "anomaly", "bound"} & set(row), "do not apply to an autoencoder on digits"
    others = ("model", "network", "ais", "features of the data", "all but ais")
    assert row["all but ais"] == pytest.approx(sum(value for name, value in row.items() if name not in others))


@pytest.mark.slow
def test_the_first_step_of_a_process_is_timed(place: Place) -> None:
    (row,) = rows(speed_costs.start(place, [TARGET]))
    assert row["of the processor"] > 0.5
    assert row["peak memory, MiB"] > 100
    assert 0 < row["next job, s"] < row["seconds"], "a process that has trained a run has loaded torch"


def test_a_compiled_loss_is_timed_and_bf16_beside_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the last stage of compilation, which needs a C++ compiler."""
    compile_: Callable[..., Any] = torch.compile
    monkeypatch.setattr(torch, "compile", lambda loss, **_: compile_(loss, dynamic=False, backend="aot_eager"))
    ours, rounded = rows([*speed_loops.compiled(place, [TARGET]), *speed_loops.bf16(place, [TARGET])])
    assert 0 < ours["products, share"] < 1
    assert ours["bound"] == pytest.approx(1 / ours["products, share"])
    assert ours["compiling, s"] > 0
    assert rounded["bf16, times float32"] > 0


@pytest.mark.parametrize("how", ["bare eager", "bare bf16"])
def test_a_bare_loop_moves_the_weights_of_every_player(place: Place, how: How) -> None:
    """Also of the generator, whose turn is every fifth; the images of a cycle are five minibatches."""
    config = speed_loops.configured(place, Target("wgan_gp", "mlp"))
    data = load_data(config.parts.datamodule)
    model, moved = watched(config)
    play, images = bare(model, data, torch.device("cpu"), how)
    assert images == 5 * data.batch_size
    play()
    assert moved()


def test_stacked_seeds_are_timed_beside_each_other(place: Place) -> None:
    gan, refused = rows(speed_loops.seeds(place, [Target("wgan_gp", "mlp"), Target("began", "mlp")]))
    assert min(gan[f"{n} seeds"] for n in SEEDS) > 0
    assert refused == {"model": "began", "network": "mlp", "data": "digits"}, "a turn of BEGAN reads more than weights"


@pytest.mark.skipif(find_spec("pythae") is None, reason="pythae is not installed")
def test_pythaes_trainer_trains_our_model(place: Place) -> None:
    config = speed_loops.configured(place, Target("vae", "mlp"))
    model, moved = watched(config)
    assert can_run(model)
    assert not can_run(load_model(speed_loops.configured(place, Target("wgan_gp", "mlp")).parts.model))
    assert pythae_speed(model, load_data(config.parts.datamodule), 4, 0.05, clock) > 0
    assert moved()


def watched(config: RunConfig) -> tuple[GenerativeModel, Callable[[], bool]]:
    """The model of a configuration, and whether each of its weight matrices has moved; the last bias of a critic never does."""
    model = load_model(config.parts.model)
    before = {name: w.detach().clone() for name, w in model.named_parameters() if w.dim() > 1}
    return model, lambda: all(not torch.equal(model.get_parameter(name), w) for name, w in before.items())
