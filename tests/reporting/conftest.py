"""Folders of invented runs, as fixtures."""

from pathlib import Path

import pytest

from benchmarks.records.paths import BASELINES
from benchmarks.records.runs import Run, find_runs, write_sheet
from tests.reporting.fakes import add_run, sheet


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    for seed, (vae, gan) in enumerate([(10.0, 5.0), (12.0, 7.0), (14.0, 9.0)]):
        add_run(tmp_path, "vae", seed, {"fid": vae, "elbo": -20.0 - seed})
        add_run(tmp_path, "gan", seed, {"fid": gan, "elbo": None})
    add_run(tmp_path, "gan", 3, {}, status="diverged", error="the critic's loss is nan")
    write_sheet(tmp_path / "digits" / BASELINES / "d1" / "real train", sheet({"fid": 0.1}))
    write_sheet(tmp_path / "digits" / BASELINES / "d1" / "pixel noise", sheet({"fid": 900.0}))
    write_sheet(tmp_path / "digits" / BASELINES / "other" / "real train", sheet({"fid": 77.0}))
    return find_runs(tmp_path)


@pytest.fixture
def five_seeds(tmp_path: Path) -> list[Run]:
    for seed in range(5):
        add_run(tmp_path, "vae", seed, {"fid": 10.0 + 0.1 * seed})
        add_run(tmp_path, "gan", seed, {"fid": 5.0 + 0.1 * seed})
        add_run(tmp_path, "wgan", seed, {"fid": 5.05 + 0.1 * seed})
    add_run(tmp_path, "ae", 0, {"fid": 3.0})
    return find_runs(tmp_path)
