"""Resuming: damaged checkpoints are found, the one before is used, and one process at a time trains a run."""

import csv
import json
import multiprocessing
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.records.files import RecordError
from benchmarks.records.paths import checkpoint_path
from benchmarks.records.runs import write_record
from tests.conftest import CHEAP_PROTOCOL, TINY, one_run, run
from tests.training.fakes import interrupted_at

WORDS = ("model=gan", *TINY, "checkpoint_seconds=0")


def interrupted(folder: Path, at: int = 5) -> Path:
    """A run that was interrupted at a block, with two checkpoints; its folder."""
    with interrupted_at(at):
        run("train", *WORDS, cwd=folder)
    (path,) = folder.glob("runs/digits/gan/*/seed=0")
    assert not (path / "run.json").exists()
    return path


def ends_of(path: Path) -> list[Any]:
    """What a run ends with: scores, the curve without its clock, samples, steps."""
    (sheet,) = path.glob("scores/*.json")
    rows = csv.DictReader((path / "curve.csv").read_text().splitlines())
    curve = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    pictures = (path / "samples.png").read_bytes()
    return [sheet.read_bytes(), curve, pictures, json.loads((path / "run.json").read_text())["steps"]]


def flip(path: Path) -> None:
    """Flips one random bit of a file."""
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(bytes(content))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: random.randrange(1000)])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_a_run_resumes_from_the_checkpoint_before_a_damaged_one(
    damage: Callable[[Path], None], sweep: Path, tmp_path: Path
) -> None:
    path = interrupted(tmp_path)
    damage(checkpoint_path(path))
    result = run("train", *WORDS, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    if damage is not Path.unlink:
        (line,) = [line for line in result.stderr.splitlines() if line]
        assert line.startswith("warning: ")
        assert "last.ckpt is damaged" in line
        assert "resuming from previous.ckpt" in line
    assert ends_of(path) == ends_of(one_run(sweep, "gan"))


def test_two_damaged_checkpoints_are_an_error_and_stay(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    files = sorted(checkpoint_path(path).parent.glob("*.ckpt"))
    assert len(files) == 2
    for file in files:
        flip(file)
    before = [file.read_bytes() for file in files]
    result = run("train", *WORDS, cwd=tmp_path)
    assert result.returncode == 1
    assert "last.ckpt cannot be loaded (its checksum is not the one that was written)" in result.stderr
    assert [file.read_bytes() for file in files] == before


def test_only_the_checkpoint_of_the_record_is_scored(sweep: Path, tmp_path: Path) -> None:
    """A paused process that wakes after another has finished writes its half-trained weights over the final ones."""
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    path = one_run(tmp_path, "gan")
    (sheet,) = path.glob("scores/*.json")
    scores = sheet.read_bytes()
    sheet.unlink()
    last = checkpoint_path(path)
    shutil.copy(last, last.with_name("previous.ckpt"))
    shutil.copy(checkpoint_path(one_run(tmp_path, "gan", seed=1)), last)
    words = [f"runs={path}", *CHEAP_PROTOCOL]
    result = run("evaluate", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert sheet.read_bytes() == scores, "the rotation kept the final checkpoint, and its checksum found it"
    sheet.unlink()
    shutil.copy(last, last.with_name("previous.ckpt"))
    result = run("evaluate", *words, cwd=tmp_path)
    assert result.returncode == 1
    assert "is not the checkpoint that the record of the run was made with" in result.stderr
    assert not sheet.exists()


def test_a_record_of_a_run_that_has_ended_is_never_replaced(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    path = one_run(tmp_path, "gan")
    before = (path / "run.json").read_bytes()
    with pytest.raises(RecordError, match="never replaced"):
        write_record(path, {"status": "failed"})
    assert (path / "run.json").read_bytes() == before
    assert not list(path.glob("run.failed-*.json"))


def _train(folder: Path, barrier: Any, out: Any) -> None:
    torch.set_num_threads(1)  # as the fixture's runs have it: the number changes the last bits of sums
    barrier.wait()
    result = run("train", *WORDS, cwd=folder)
    out.put((result.returncode, result.stdout, result.stderr))


@pytest.mark.slow
def test_two_processes_that_start_one_run_train_it_once(sweep: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, out = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_train, args=(tmp_path, barrier, out)) for _ in range(2)]
    for process in processes:
        process.start()
    results = [out.get(timeout=250) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    assert [code for code, _, _ in results] == [0, 0], results
    (path,) = tmp_path.glob("runs/digits/gan/*/seed=0")
    assert not list(path.glob("run.failed-*.json"))
    assert ends_of(path) == ends_of(one_run(sweep, "gan"))
