"""Scoring runs of others: each is scored on its own data, in its own place, and a bad one spoils no other."""

import json
import os
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from benchmarks.records.checks import check_place
from benchmarks.records.configurations import config_id, read_config
from benchmarks.records.files import RecordError
from benchmarks.records.paths import baselines_path, checkpoint_path, run_path
from benchmarks.records.runs import read_run, write_record
from benchmarks.scoring.restore import load_data, load_model
from tests.conftest import Result, composed, run
from tests.records.fakes import RECORD

# one cheap metric
LEFT_OUT = (
    *("inversion", "bound", "iwae", "ais", "fid", "kid", "neighbours", "anomaly"),
    *("fitted_fid", "reconstruction_fid", "interpolation_fid"),
)
CHEAP = (
    *("protocol.samples=100", "protocol.second_encoder=null"),
    *(f"~protocol.metrics.{name}" for name in LEFT_OUT),
)


@lru_cache
def data_id() -> str:
    return load_data(OmegaConf.to_container(composed().datamodule, resolve=True)).info.id  # type: ignore[arg-type]


def untrained(runs: Path, seed: int = 0, model: str = "ae", **record: Any) -> Path:
    """A finished run with random weights; its folder."""
    document: Any = OmegaConf.to_container(
        composed(f"model={model}", "network=mlp_narrow", "trainer=cpu"), resolve=True
    )
    document["names"] = {"datamodule": "digits", "network": "mlp_narrow", "model": model}
    identity = config_id(document)
    path = run_path(runs, "digits", model, identity, seed)
    checkpoint_path(path).parent.mkdir(parents=True)
    torch.save({"state_dict": load_model(document["model"]).state_dict()}, checkpoint_path(path))
    (path / "config.yaml").write_text(yaml.safe_dump(document))
    facts = {"seed": seed, "config_id": identity, "names": document["names"], "data": {"id": data_id()}}
    write_record(path, RECORD | facts | record)
    return path


def evaluate(folder: Path, *words: str) -> Result:
    return run("evaluate", *CHEAP, *words, cwd=folder)


def errors_of(result: Result) -> list[str]:
    """The error lines of a program that ended with 1 and without a traceback."""
    assert result.returncode == 1, result.stdout
    lines = [line for line in result.stderr.splitlines() if line]
    assert all(line.startswith("error: ") for line in lines), result.stderr
    return lines


def changed(path: Path, **keys: Any) -> None:
    """Other values in the record of a run."""
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(record | keys))


def written_below(folder: Path) -> list[Path]:
    """Score sheets, those of baseline rows included."""
    return sorted(folder.rglob("scores/*.json"))


def test_a_run_is_not_scored_on_other_data_than_those_of_its_record(tmp_path: Path) -> None:
    untrained(tmp_path / "runs", data={"id": "0badcafe"})
    (line,) = errors_of(evaluate(tmp_path))
    assert f"the data differ: 0badcafe in the record, {data_id()} here" in line
    assert not written_below(tmp_path)


@pytest.mark.parametrize("data", [None, [], "d", {}])
def test_a_record_that_does_not_say_its_data_is_refused_too(data: Any, tmp_path: Path) -> None:
    untrained(tmp_path / "runs", data=data)
    (line,) = errors_of(evaluate(tmp_path))
    assert ("the data differ: None in the record" if data == {} else "expected object") in line


def test_a_record_does_not_choose_which_folder_of_images_is_read(tmp_path: Path) -> None:
    path = untrained(tmp_path / "runs")
    document = read_config(path)
    words = ("datamodule=image_folder", "datamodule.folder=/etc", "datamodule.size=8")
    document["datamodule"] = OmegaConf.to_container(composed(*words).datamodule, resolve=True)
    (path / "config.yaml").write_text(yaml.safe_dump(document))
    (line,) = errors_of(evaluate(tmp_path))
    assert line == "error: the run was trained on a folder of images; name the folder to read with folder=PATH"
    (tmp_path / "mine").mkdir()
    (line,) = errors_of(evaluate(tmp_path, "folder=mine"))
    assert "/etc" not in line
    assert "mine" in line


@pytest.mark.parametrize("word", ["data_dir=null", "data_dir=mine"])
def test_a_record_does_not_choose_which_folder_of_data_is_read(word: str, tmp_path: Path) -> None:
    path = untrained(tmp_path / "runs")
    document = read_config(path)
    document["datamodule"] = OmegaConf.to_container(composed("datamodule=mnist").datamodule, resolve=True)
    document["datamodule"]["data_dir"] = "/record/of/another"
    (path / "config.yaml").write_text(yaml.safe_dump(document))
    with mock.patch.dict(os.environ, {"DATA_DIR": "default"}), mock.patch("torchvision.datasets.MNIST", refuse):
        (line,) = errors_of(evaluate(tmp_path, word))
    assert "/record" not in line
    assert f"MNIST is not in {'default' if 'null' in word else 'mine'}/MNIST/raw" in line


def refuse(*words: Any, **keywords: Any) -> None:
    raise OSError("no network")


# where a run may not lie, or what may not lie in it


def copied(path: Path, elsewhere: Path) -> Path:
    """The run in another seed's place."""
    return Path(shutil.copytree(path, path.with_name("seed=7")))


def flat(path: Path, elsewhere: Path) -> Path:
    """The run without the folders above it."""
    return Path(shutil.copytree(path, path.parents[4] / "only" / "seed=0"))


def linked(path: Path, elsewhere: Path) -> Path:
    (path / "scores").symlink_to(elsewhere)
    return path


def linked_baselines(path: Path, elsewhere: Path) -> Path:
    (path.parents[2] / "_baselines").symlink_to(elsewhere)
    return path


def linked_baselines_of_old(path: Path, elsewhere: Path) -> Path:
    (elsewhere / data_id()).mkdir()
    (path.parents[2] / "_calibration").symlink_to(elsewhere)
    return path


def linked_data(path: Path, elsewhere: Path) -> Path:
    folder = baselines_path(path.parents[3], "digits", data_id())
    folder.parent.mkdir(parents=True)
    folder.symlink_to(elsewhere)
    return path


def linked_row(path: Path, elsewhere: Path) -> Path:
    folder = baselines_path(path.parents[3], "digits", data_id())
    folder.mkdir(parents=True)
    (folder / "real train").symlink_to(elsewhere)
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (copied, "as its record says; move it there"),
        (flat, "as its record says; move it there"),
        (linked, "is a link to another folder"),
        (linked_baselines, "is a link to another folder"),
        (linked_baselines_of_old, "a link"),
        (linked_data, "a link"),
        (linked_row, "a link"),
    ],
)
def test_nothing_is_written_outside_the_place_of_a_run(
    change: Callable[[Path, Path], Path], said: str, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = change(untrained(tmp_path / "runs"), elsewhere)
    result = evaluate(tmp_path, f"runs={path}")
    assert not written_below(tmp_path)
    assert not [file for file in elsewhere.rglob("*") if file.is_file()]
    (line,) = errors_of(result)
    assert said in line


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"config_id": "deadbeef"},
        {"names": {"datamodule": "digits", "model": "vae"}},
        {"names": {"datamodule": "../digits", "model": "ae"}},
        {"config_id": "0/../../../../../../elsewhere"},
    ],
    ids=str,
)
def test_a_run_lies_where_its_record_says(change: dict[str, Any], tmp_path: Path) -> None:
    path = untrained(tmp_path / "runs")
    found = read_run(path)
    assert found is not None
    check_place(found)
    changed(path, **change)
    found = read_run(path)
    assert found is not None
    with pytest.raises(RecordError, match="as its record says; move it there"):
        check_place(found)


def test_a_copy_of_a_run_under_another_seed_is_not_scored(tmp_path: Path) -> None:
    """Its folder and its record agree, and its checkpoint names the seed that was trained."""
    path = checkpoint_path(untrained(tmp_path / "runs", seed=1))
    checkpoint = torch.load(path, weights_only=True)
    torch.save(checkpoint | {"run": [path.parents[2].name, 0]}, path)
    result = evaluate(tmp_path)
    assert result.returncode == 1
    assert "with seed 1, as the record says: the run is an edited copy of another" in result.stderr


def test_a_seed_that_is_no_number_is_refused_as_the_record_is_read(tmp_path: Path) -> None:
    path = untrained(tmp_path / "runs")
    changed(path, seed="0/../../../../../../elsewhere")
    with pytest.raises(RecordError, match="has seed '0/"):
        read_run(path)


# bad records among good ones


def partial(document: dict[str, Any]) -> None:
    document["datamodule"]["_partial_"] = True


def threads(document: dict[str, Any]) -> None:
    document["threads"] = "x"


def no_target(document: dict[str, Any]) -> None:
    del document["model"]["_target_"]


def no_model(document: dict[str, Any]) -> None:
    document["model"] = 3


@pytest.mark.parametrize("change", [partial, threads, no_target, no_model])
def test_a_bad_configuration_is_one_line_and_the_other_runs_are_scored(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    bad, good = untrained(tmp_path / "runs", seed=0), untrained(tmp_path / "runs", seed=1)
    document = read_config(bad)
    change(document)
    (bad / "config.yaml").write_text(yaml.safe_dump(document))
    assert len(errors_of(evaluate(tmp_path))) == 1
    assert len(written_below(good)) == 1
    assert not written_below(bad)


@pytest.mark.parametrize(
    "keys",
    [
        {"names": 3},
        {"names": {}},
        {"data": 3},
        {"checkpoint": {"sha256": 3}},
        {"search": "x"},
        {"schema": "x"},
    ],
    ids=str,
)
def test_a_bad_record_is_one_line_and_the_other_runs_are_scored(keys: dict[str, Any], tmp_path: Path) -> None:
    bad, good = untrained(tmp_path / "runs", seed=0), untrained(tmp_path / "runs", seed=1)
    changed(bad, **keys)
    assert len(errors_of(evaluate(tmp_path))) == 1
    assert len(written_below(good)) == 1
    assert not written_below(bad)


def test_control_characters_of_a_record_do_not_reach_the_terminal(tmp_path: Path) -> None:
    untrained(tmp_path / "runs", data={"id": "\x1b[2J"})
    assert "\x1b" not in evaluate(tmp_path).stderr
