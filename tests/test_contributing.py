"""The worked examples of CONTRIBUTING.md, executed as they stand in a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_worked_examples_work(tmp_path: Path) -> None:
    for package in ("models", "datamodules", "benchmarks", "conf"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    text = (ROOT / "CONTRIBUTING.md").read_text()
    files = re.findall(r"^`([\w/.]+)`:[^\n]*\n\n```(?:python|yaml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(files) == 9
    for name, content in files:
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(content)

    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> str:
        result = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout

    train, search = re.findall(r"^```sh\n(python .*?)\n```", text, re.MULTILINE | re.DOTALL)
    assert "mean_gap" in run(*train.replace("python", sys.executable, 1).split())
    searched = run(*search.replace("python", sys.executable, 1).split())
    assert "pearson_gan · trial 1 of 1" in searched
    assert "A χ² GAN's samples have a mean nearer to the data's than a GAN's" in searched
    (sheet,) = tmp_path.glob("runs/moons/pearson_gan/*/seed=0/scores/with_mean_gap-*.json")
    scores = {score["name"]: score["value"] for score in json.loads(sheet.read_text())["scores"]}
    assert scores["mean_gap"] > 0

    # the contract tests find the newcomers by themselves
    words = ["-q", "-p", "no:cacheprovider", "-k", "pearson_gan or moons or mean_gap"]
    tests = ["tests/models/test_contracts.py", "tests/test_configs.py", "tests/test_architecture.py"]
    passed = re.search(r"(\d+) passed", run(sys.executable, "-m", "pytest", *words, *tests))
    assert passed is not None
    assert int(passed.group(1)) > 20
