"""A run with a larger budget goes on from a shorter one, and ends as a run from the start does."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from benchmarks.records.checkpoints import checksum
from benchmarks.records.paths import checkpoint_path
from tests.conftest import TINY, one_run, run

LONGER = (
    *("budget.amount=5200", *(word for word in TINY[1:] if not word.startswith("protocol."))),
    *("protocol=selection", "protocol.samples=40", "protocol.examples=40"),
)
FORMER = 2600


def longer(folder: Path, model: str, *words: str) -> tuple[Path, str]:
    result = run("train", f"model={model}", "seed=0", *LONGER, *words, cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    (path,) = (p.parent for p in folder.rglob("run.json") if json.loads(p.read_text())["budget"]["amount"] == 5200)
    return path, result.stdout


def ends(path: Path) -> tuple[dict[str, object], list[object]]:
    (sheet,) = (path / "scores").glob("selection-*.json")
    state = torch.load(checkpoint_path(path), weights_only=True)["state_dict"]
    scores = [(score["name"], score["value"]) for score in json.loads(sheet.read_text())["scores"]]
    return {name: tensor.tolist() for name, tensor in state.items()}, scores


def images(path: Path) -> list[int]:
    return [int(row["images"]) for row in csv.DictReader((path / "curve.csv").open())]


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_a_longer_run_goes_on_and_is_equal_to_the_bit(sweep: Path, tmp_path: Path, model: str) -> None:
    """The shorter run ended inside a block; the σ of the VAE was set after its end, with random numbers of its own."""
    shutil.copytree(sweep / "runs", tmp_path / "a" / "runs")
    (tmp_path / "b").mkdir()
    path, said = longer(tmp_path / "a", model)
    assert "goes on from runs/digits/" in said
    assert ": 2,600 of 5,200 images" in said
    alone, said = longer(tmp_path / "b", model)
    assert "goes on" not in said
    assert ends(path) == ends(alone)
    record, other = (json.loads((p / "run.json").read_text()) for p in (path, alone))
    former = one_run(sweep, model)
    assert record["extended_from"] == {
        "config_id": former.parent.name,
        "amount": FORMER,
        "sha256": json.loads((former / "run.json").read_text())["checkpoint"]["sha256"],
    }
    assert "extended_from" not in other
    assert record["spent"]["images"] == other["spent"]["images"]
    assert record["steps"] == other["steps"]
    assert images(path) == sorted({*images(former), *images(alone)[-1:]})
    assert record["spent"]["seconds"] > json.loads((former / "run.json").read_text())["spent"]["seconds"]


@pytest.mark.parametrize(("amount", "goes_on"), [(2600, False), (2560, True)])
def test_with_noise_a_run_goes_on_from_the_end_of_a_block_only(amount: int, goes_on: bool, tmp_path: Path) -> None:
    noise = "datamodule.dequantize=true"
    (tmp_path / "alone").mkdir()
    assert run("train", "model=ae", noise, *LONGER[1:], f"budget.amount={amount}", cwd=tmp_path).returncode == 0
    path, said = longer(tmp_path, "ae", noise)
    assert ("goes on" in said) == goes_on
    if goes_on:
        assert ends(path) == ends(longer(tmp_path / "alone", "ae", noise)[0])


def test_what_would_not_be_equal_starts_from_the_start(sweep: Path, tmp_path: Path) -> None:
    for name, words in {
        "setting": ["model.optimizer.lr=3e-3"],
        "asked for": ["extend=false"],
        "another seed": ["seed=7"],
    }.items():
        folder = tmp_path / name
        shutil.copytree(sweep / "runs", folder / "runs")
        _, said = longer(folder, "ae", *words)
        assert "goes on" not in said, name
    folder = tmp_path / "machine"
    for part, key in (("environment", "processor"), ("git", "sha")):
        shutil.copytree(sweep / "runs", folder / "runs")
        record = one_run(folder, "ae") / "run.json"
        content = json.loads(record.read_text())
        content[part][key] = "another"
        record.write_text(json.dumps(content))
        assert "goes on" not in longer(folder, "ae")[1]
        shutil.rmtree(folder)
    shutil.copytree(sweep / "runs", folder / "runs")
    damaged = checkpoint_path(one_run(folder, "ae"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert "goes on" not in longer(folder, "ae")[1]


def test_a_shorter_run_that_is_no_run_does_not_spoil_a_longer_one(sweep: Path, tmp_path: Path) -> None:
    """Its checkpoint has the checksum of the record, and lacks a part."""
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    former = one_run(tmp_path, "ae")
    path = checkpoint_path(former)
    state = torch.load(path, weights_only=True)
    del state["loops"]
    torch.save(state, path)
    (former / "checkpoints" / "checksums.json").unlink()
    record = json.loads((former / "run.json").read_text())
    record["checkpoint"]["sha256"] = checksum(path)
    (former / "run.json").write_text(json.dumps(record))
    assert "goes on" not in longer(tmp_path, "ae")[1]
