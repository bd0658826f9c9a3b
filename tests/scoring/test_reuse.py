"""Scores that are taken over from an earlier sheet of the same run."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.metrics.base import Column
from benchmarks.records.examples import examples_of, write_examples
from benchmarks.records.runs import Score, ScoreSheet, write_sheet
from benchmarks.scoring.reuse import Earlier
from tests.conftest import CHEAP_PROTOCOL, one_run, run


def sheets_of(path: Path) -> dict[str, dict[str, Any]]:
    sheets = {file.name: json.loads(file.read_text()) for file in (path / "scores").glob("*.json")}
    return {name: {score["name"]: score for score in sheet["scores"]} for name, sheet in sheets.items()}


def test_only_what_changed_is_measured_again(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    path = one_run(tmp_path, "vae")
    ((first, before),) = sheets_of(path).items()
    result = run("evaluate", f"runs={path}", *CHEAP_PROTOCOL, "protocol.metrics.iwae.k=3", "reuse=true", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    (measured,) = [line for line in result.stdout.splitlines() if "seconds:" in line]
    assert not {"ais", "fid", "inversion"} & set(measured.split())
    (second, after) = next((name, scores) for name, scores in sheets_of(path).items() if name != first)
    assert list(after) == list(before)
    assert {name for name in after if after[name] != before[name]} == {"iwae"}
    assert after["iwae"]["detail"]["k"] == 3
    kept, own = examples_of(path, second, "recon_mse"), examples_of(path, first, "recon_mse")
    assert kept is not None
    assert own is not None
    np.testing.assert_array_equal(kept[0], own[0])
    assert kept[1] == own[1]


def test_damaged_values_by_example_are_named_and_not_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = [Score(name, 1.0, "", False, 3) for name in ("recon_mse", "recon_ssim")]
    described = {"name": "quick", "split": "test", "metrics": {"reconstruction": {}}, "versions": {}}
    sheet = write_sheet(tmp_path, ScoreSheet(described, "p1", "scored", scores))
    write_examples(sheet, {"recon_mse": np.array([1.0, np.nan, 2.0]), "recon_ssim": np.ones(3)})
    columns = [Column("recon_mse", "", False), Column("recon_ssim", "", True)]
    known = Earlier(tmp_path, described).known("reconstruction", columns)
    assert known is not None
    assert (known.scores, list(known.examples)) == (scores, ["recon_ssim"])
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}: the values by example of recon_mse under quick-p1.json are damaged" in line


def test_a_protocol_with_other_samples_is_measured_whole(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    path = one_run(tmp_path, "gan")
    result = run("evaluate", f"runs={path}", *CHEAP_PROTOCOL, "protocol.samples=120", "reuse=true", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    (measured,) = [line for line in result.stdout.splitlines() if "seconds:" in line]
    assert "ais" in measured


def test_reuse_is_true_or_false(tmp_path: Path) -> None:
    result = run("evaluate", "runs=.", "reuse=maybe", cwd=tmp_path)
    assert result.returncode == 1
    assert "reuse is 'maybe'; expected true or false" in result.stderr
