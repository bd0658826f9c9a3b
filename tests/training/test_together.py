"""Seeds that are trained together: each run is what it would be alone, and can go on alone."""

import csv
import json
import math
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hydra import initialize_config_module

from benchmarks.records.paths import checkpoint_path
from benchmarks.signals import Interrupted
from benchmarks.training import callbacks, together
from benchmarks.training.configure import RunConfig, configure_seeds
from benchmarks.training.seeds import train_together
from models.stack import CannotStack, Stack
from tests.conftest import TINY, one_run, run
from tests.training.fakes import interrupted_at

TOGETHER = ("checkpoint_seconds=0", "seed=0,1", "seeds_per_job=2")
WORDS = (*(word for word in TINY if not word.startswith("protocol")), "protocol=curve", *TOGETHER)


def curve_of(path: Path) -> list[dict[str, float]]:
    """The curve without its clock."""
    rows = csv.DictReader((path / "curve.csv").read_text().splitlines())
    return [{key: float(value) for key, value in row.items() if key != "seconds"} for row in rows]


def record_of(path: Path) -> Any:
    return json.loads((path / "run.json").read_text())


def scores_of(path: Path) -> dict[str, float]:
    (sheet,) = path.glob("scores/*.json")
    return {score["name"]: score["value"] for score in json.loads(sheet.read_text())["scores"]}


def seeds(folder: Path, model: str) -> list[Path]:
    return sorted(folder.glob(f"runs/digits/{model}/*/seed=*"))


def files_of(path: Path) -> set[Path]:
    """A run of which a checkpoint was written once has no previous one."""
    return {file.relative_to(path) for file in path.rglob("*") if file.name != "previous.ckpt"}


def content_of(path: Path) -> Any:
    return torch.load(checkpoint_path(path), weights_only=True)


def assert_close(value: Any, expected: Any, rel: float) -> None:
    """Compares nested numbers and tensors."""
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(value, expected, rtol=rel, atol=rel, equal_nan=True)
    elif isinstance(expected, dict):
        assert value.keys() == expected.keys()
        for key in expected:
            assert_close(value[key], expected[key], rel)
    elif isinstance(expected, list | tuple):
        assert len(value) == len(expected)
        for one, other in zip(value, expected, strict=True):
            assert_close(one, other, rel)
    elif isinstance(expected, float) and math.isfinite(expected):
        assert value == pytest.approx(expected, rel=rel, abs=rel)
    elif not isinstance(expected, float):
        assert value == expected


def stopped(folder: Path, *words: str) -> Any:
    """A sweep that a signal interrupts in a block of minibatches."""
    with interrupted_at(5):
        return run("train", "-m", *words, cwd=folder)


@pytest.fixture(autouse=True)
def _no_report() -> Iterator[None]:
    """The pages of sweeps are tested elsewhere."""
    with mock.patch("benchmarks.reporting.build.write_report"):
        yield


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_each_run_is_what_it_is_alone(model: str, sweep: Path, tmp_path: Path) -> None:
    result = run("train", "-m", f"model={model}", *TINY, *TOGETHER, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    for seed in (0, 1):
        path, alone = one_run(tmp_path, model, seed), one_run(sweep, model, seed)
        record, expected = record_of(path), record_of(alone)
        assert (record["loop"], record["environment"]["seeds_together"]) == ("stacked", 2)
        assert "seeds_per_job" not in record["command"], "the command is for one run, and would be refused"
        assert record["cost"]["neighbours"] >= 1, "its times are not those of a run alone"
        assert record["cost"]["peak_memory_bytes"] is None
        for key in ("steps", "config_id", "seed", "budget", "status", "data"):
            assert record[key] == expected[key]
        assert record["spent"]["images"] == expected["spent"]["images"]
        for row, wanted in zip(curve_of(path), curve_of(alone), strict=True):
            assert row == pytest.approx(wanted, rel=2e-2)
        state, wanted = content_of(path), content_of(alone)
        for parts in (state, wanted):
            del parts["callbacks"]  # the curve, as above, and the clock
            if model == "vae":
                del parts["random_states"]  # a decoder is calibrated after the training, with the seed of the run
        assert_close(state, wanted, 2e-2)
        assert scores_of(path).keys() == scores_of(alone).keys()
        assert files_of(path) == files_of(alone)


GAN = ("model=gan", "model.ema_decay=0.9", *WORDS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two seeds together."""
    folder = tmp_path_factory.mktemp("whole")
    with mock.patch("benchmarks.reporting.build.write_report"):
        assert run("train", "-m", *GAN, cwd=folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep, interrupted."""
    folder = tmp_path_factory.mktemp("cut")
    result = stopped(folder, *GAN)
    assert "the run is saved after" in result.stderr
    assert [len(list(path.glob("checkpoints/*.ckpt"))) for path in seeds(folder, "gan")] == [2, 2]
    assert not list(folder.rglob("run.json"))
    return folder


def assert_equal_ends(folder: Path, other: Path) -> None:
    """To the bit."""
    for path, wanted in zip(seeds(folder, "gan"), seeds(other, "gan"), strict=True):
        assert record_of(path)["loop"] == "stacked"
        assert (curve_of(path), scores_of(path)) == (curve_of(wanted), scores_of(wanted))


def test_runs_that_were_interrupted_together_go_on_together(whole: Path, cut: Path, tmp_path: Path) -> None:
    shutil.copytree(cut, tmp_path, dirs_exist_ok=True)
    assert run("train", "-m", *GAN, cwd=tmp_path).returncode == 0
    assert_equal_ends(tmp_path, whole)


def test_a_run_goes_on_alone_where_its_stack_stopped(sweep: Path, tmp_path: Path) -> None:
    stopped(tmp_path, "model=vae", *WORDS)
    alone = [word for word in WORDS if not word.startswith("seed")]
    assert run("train", "model=vae", *alone, "seed=1", cwd=tmp_path).returncode == 0
    path = one_run(tmp_path, "vae", 1)
    assert (record_of(path)["loop"], record_of(path)["environment"]["seeds_together"]) == ("stacked", 2), "in part"
    for row, wanted in zip(curve_of(path), curve_of(one_run(sweep, "vae", 1)), strict=True):
        assert row == pytest.approx(wanted, rel=2e-2)


def test_seeds_whose_checkpoints_are_of_different_moments(whole: Path, cut: Path, tmp_path: Path) -> None:
    """A process that was killed between two checkpoints: the last moment that all seeds have counts."""
    shutil.copytree(cut, tmp_path / "one")
    checkpoint_path(seeds(tmp_path / "one", "gan")[1]).unlink()
    result = run("train", "-m", *GAN, cwd=tmp_path / "one")
    assert (result.returncode, result.stderr) == (0, "")
    assert_equal_ends(tmp_path / "one", whole)
    shutil.copytree(cut, tmp_path / "none")
    for file in checkpoint_path(seeds(tmp_path / "none", "gan")[1]).parent.glob("*"):
        file.unlink()
    result = run("train", "-m", *GAN, cwd=tmp_path / "none")
    assert result.stderr == (
        "warning: seeds are trained one after another: their checkpoints are of different moments (seed 0 at minibatch 24; "
        "seed 1 with none that can be read)\n"
    )
    assert [record_of(path)["loop"] for path in seeds(tmp_path / "none", "gan")] == ["stacked", "eager"]


def test_a_mistake_in_one_seed_stops_no_other(cut: Path, tmp_path: Path) -> None:
    """A seed out of range, and a checkpoint that lies in the folder of another seed."""
    shutil.copytree(cut, tmp_path, dirs_exist_ok=True)
    one, other = (path / "checkpoints" for path in seeds(tmp_path, "gan"))
    shutil.rmtree(other)
    shutil.copytree(one, other)
    words = [word for word in GAN if not word.startswith("seed")]
    result = run("train", "-m", *words, f"seed=0,{2**32},1", "seeds_per_job=3", cwd=tmp_path)
    assert result.returncode == 1
    told, *errors = result.stderr.splitlines()
    assert told.startswith("warning: seeds are trained one after another: ")
    assert len(errors) == 2
    assert f"seed is {2**32}; expected a whole number" in errors[0]
    assert "seed 1: " in errors[1]
    assert "is the checkpoint of configuration" in errors[1]
    assert record_of(seeds(tmp_path, "gan")[0])["status"] == "finished"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("model=began",), "its loss leaves _real on the model"),
        (("model=vae", "budget=seconds", "budget.amount=0.2"), "a budget of seconds is shared by the seeds of a stack"),
        (("model=ae", "model.optimizer._target_=torch.optim.NAdam", "~model.optimizer.fused"), "NAdam is not known"),
    ],
)
def test_what_cannot_be_stacked_is_trained_one_after_another(
    words: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    kept = [word for word in WORDS if not ("seconds" in words[1:2] and word.startswith("budget"))]
    result = run("train", "-m", *kept, *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: seeds are trained one after another: ")
    assert reason in line
    assert [record_of(path)["loop"] for path in tmp_path.glob("runs/digits/*/*/seed=*")] == ["eager"] * 2


def test_a_seed_that_diverges_leaves_the_others_alone(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Stack.training_step

    def spoil(self: Stack, blocks: Any, batch_idx: int) -> None:
        step(self, blocks, batch_idx)
        if batch_idx == 3:
            with torch.no_grad():
                for weight in self.lanes[0].parameters():
                    weight.fill_(math.nan)

    monkeypatch.setattr(Stack, "training_step", spoil)
    monkeypatch.setattr(callbacks, "BLOCKS_BETWEEN_LOOKS", 1)
    result = run("train", "-m", "model=vae", *WORDS, cwd=tmp_path)
    assert (
        "warning: digits · mlp · vae · seed 0 diverged, the other seeds go on: the autoencoder's loss is nan"
        in result.stderr
    )
    bad, good = seeds(tmp_path, "vae")
    assert record_of(bad)["status"] == "diverged"
    assert record_of(bad)["spent"]["images"] < record_of(good)["spent"]["images"]
    assert record_of(good)["status"] == "finished"
    for row, wanted in zip(curve_of(good), curve_of(one_run(sweep, "vae", 1)), strict=True):
        assert row == pytest.approx(wanted, rel=2e-2)


def test_only_runs_that_have_not_ended_are_trained_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[list[int]] = []
    fit = together.fit_together

    def note(lanes: Any, tell: Any) -> Any:
        trained.append([lane.training.config.seed for lane in lanes])
        return fit(lanes, tell)

    monkeypatch.setattr("benchmarks.training.seeds.fit_together", note)
    words = [word for word in WORDS if not word.startswith("seed")]
    assert run("train", "model=ae", *words, "seed=2", cwd=tmp_path).returncode == 0
    result = run("train", "-m", "model=ae", *words, "seed=0,0,1,2,3", "seeds_per_job=3", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert trained == [[0, 1]], "a seed that is named twice is one run"
    together_with = [record_of(path)["environment"].get("seeds_together") for path in seeds(tmp_path, "ae")]
    assert together_with == [2, 2, None, None]


def configs_of(folder: Path, *words: str, numbers: Sequence[int] = (0, 1)) -> list[RunConfig]:
    with initialize_config_module("conf", version_base="1.3"):
        return list(configure_seeds([*TINY, *words, f"runs_dir={folder}/runs"], numbers).values())


def test_a_process_that_died_after_the_training_leaves_a_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibrated decoder is calibrated again, and is equal to the bit."""
    configs = configs_of(tmp_path, "model=vae")

    def die(training: Any, fitted: Any) -> None:
        raise Interrupted(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr("benchmarks.training.seeds.finish", die)
        with pytest.raises(Interrupted):
            train_together(configs)
    expected = [content_of(config.path)["state_dict"] for config in configs]
    train_together(configs)
    assert [record_of(config.path)["loop"] for config in configs] == ["stacked"] * 2
    for config, weights in zip(configs, expected, strict=True):
        assert_close(content_of(config.path)["state_dict"], weights, 0)


def test_a_longer_run_goes_on_from_as_many_seeds_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.training.run.save_pictures", lambda *parts: None)
    monkeypatch.setattr("benchmarks.training.run.sampling_speed", lambda model: 1.0)
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    train_together(configs_of(parts, "model=ae", "curve_points=1", "budget.amount=1280", numbers=(0, 1)))
    train_together(configs_of(parts, "model=ae", "curve_points=1", "budget.amount=1280", numbers=(2, 3, 4)))
    for folder in (parts, whole):
        for numbers in ((0, 1), (2, 3)):
            train_together(configs_of(folder, "model=ae", "curve_points=1", numbers=numbers))
    for config, other, goes_on in zip(
        configs_of(parts, "model=ae", "curve_points=1", numbers=range(4)),
        configs_of(whole, "model=ae", "curve_points=1", numbers=range(4)),
        (True, True, False, False),
        strict=True,
    ):
        assert ("extended_from" in record_of(config.path)) is goes_on
        assert_close(content_of(config.path)["state_dict"], content_of(other.path)["state_dict"], 0)


def test_a_refusal_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(lanes: Any, tell: Any) -> Any:
        raise CannotStack("the reason")

    monkeypatch.setattr("benchmarks.training.seeds.fit_together", refuse)
    for _ in range(2):
        train_together(configs_of(tmp_path, "model=ae"))
    line = "warning: seeds are trained one after another: the reason\n"
    assert capsys.readouterr().err == line
    train_together(configs_of(tmp_path, "model=vae", "model.beta=${seed}", numbers=(1, 2)))
    assert "a setting follows the seed" in capsys.readouterr().err


def test_a_stack_is_for_sweeps_and_of_a_number(tmp_path: Path) -> None:
    result = run("train", "model=ae", "seeds_per_job=2", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (
        1,
        "error: seeds_per_job is for sweeps, which have several seeds: -m seed=0,1,2,3,4 seeds_per_job=5\n",
    )
    for size in ("0", "-1"):
        result = run("train", "-m", "model=ae", f"seeds_per_job={size}", "launcher=local", cwd=tmp_path)
        assert result.returncode == 1
        assert "expected a whole number of 1 or more" in result.stderr
    assert not list(tmp_path.rglob("run.json"))
