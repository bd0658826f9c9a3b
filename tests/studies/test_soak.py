"""Sweeps that are killed at random moments end as sweeps that were not; what differs is found."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.studies import soak
from tests.conftest import ROOT


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    """A process of its own, because the study forks, and this one has threads. With one cheap metric; the study has them all."""
    code = (
        "import random, sys; from pathlib import Path; from benchmarks.studies import soak\n"
        "from benchmarks.studies.fuzz import PROTOCOL\n"
        "soak.WORDS = (*(word for word in soak.WORDS if not word.startswith('protocol.')), *PROTOCOL)\n"
        "draw = random.Random(int(sys.argv[1]))\n"
        "for family in sys.argv[2:]:\n"
        "    found = soak.run_soak(family, 4, draw, Path(family).resolve())\n"
        "    assert sum(found.kills.values()) == 4, found\n"
        "    assert not found.differences, found.differences"
    )
    words = [sys.executable, "-c", code, str(torch.initial_seed()), "ae", "vae", "gan", "wgan", "wgan_gp"]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr


def test_the_comparison_finds_what_differs(sweep: Path, tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        shutil.copytree(sweep / "runs" / "digits" / "gan", tmp_path / name / "gan")
    assert soak.differences(tmp_path / "whole", tmp_path / "cut") == []
    runs = sorted((tmp_path / "cut").glob("gan/*/seed=*"))
    checkpoint = torch.load(runs[0] / "checkpoints" / "last.ckpt", weights_only=True)
    next(iter(checkpoint["state_dict"].values())).view(-1)[0] += 1
    torch.save(checkpoint, runs[0] / "checkpoints" / "last.ckpt")
    curve = (runs[0] / "curve.csv").read_text()
    (runs[0] / "curve.csv").write_text(curve + curve.splitlines()[-1] + "\n")
    record = json.loads((runs[1] / "run.json").read_text())
    record["steps"]["generator"] += 1
    (runs[1] / "run.json").write_text(json.dumps(record))
    (runs[1] / ".curve.csv.abc").touch()
    (runs[1] / "samples.png").unlink()
    found = soak.differences(tmp_path / "whole", tmp_path / "cut")
    place = [run.relative_to(tmp_path / "cut") for run in runs]
    assert found == [
        f"{place[1]}/samples.png is missing",
        f"{place[1]}/.curve.csv.abc is left over",
        f"{place[0]}/checkpoints/last.ckpt differs",
        f"{place[0]}/curve.csv differs",
        f"{place[1]}/run.json differs",
    ]


def test_moments_are_drawn_over_the_whole_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts are killed until the number is reached; the last attempt of each sweep is not."""
    moments, asked = iter(["training", "scoring"] * 50), list[float | None]()

    def attempt(family: str, folder: Path, kill_after: float | None) -> tuple[int, str]:
        folder.mkdir(parents=True, exist_ok=True)
        asked.append(kill_after)
        return (0, "") if kill_after is None else (-9, next(moments))

    monkeypatch.setattr(soak, "_attempt", attempt)
    found = soak.run_soak("gan", 6, random.Random(0), tmp_path)
    assert found.kills == {"training": 3, "scoring": 3}
    assert asked[0] is None
    assert asked.count(None) == found.rounds + 1
