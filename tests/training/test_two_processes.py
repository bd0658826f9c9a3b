"""One run on two devices, as a user starts it: two processes on the CPU."""

import csv
import json
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY, run, run_process

TWO = (
    *("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "datamodule.batch_size=32"),
    "trainer.sync_batchnorm=false",  # torch synchronises batch norm on GPUs only
)
NO_NORM = "model.decoder.norm=none"


@pytest.mark.slow
def test_a_run_of_two_processes_is_one_run_with_the_weights_of_one_process(tmp_path: Path) -> None:
    """An autoencoder draws no noise: halves of each minibatch on two processes give the steps of the whole minibatch."""
    words = [word for word in TINY if word != "trainer=cpu"]
    result = run_process("train", "model=ae", NO_NORM, *words, *TWO, "runs_dir=two", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert run("train", "model=ae", NO_NORM, *TINY, "runs_dir=one", cwd=tmp_path).returncode == 0
    folders = {}
    for name in ("one", "two"):
        (folders[name],) = (tmp_path / name).glob("digits/ae/*/seed=0")
        assert not list(folders[name].glob("run.failed-*"))
        assert not [path for path in folders[name].rglob(".*") if path.is_file()]
    records = {name: json.loads((folder / "run.json").read_text()) for name, folder in folders.items()}
    assert records["two"]["spent"]["images"] == records["one"]["spent"]["images"] == 2624
    assert records["two"]["steps"] == records["one"]["steps"]
    assert records["two"]["config_id"] != records["one"]["config_id"]
    curves = [list(csv.DictReader((folder / "curve.csv").open())) for folder in folders.values()]
    assert [row["images"] for row in curves[0]] == [row["images"] for row in curves[1]]
    assert result.stdout.count("is trained and scored") == 1, "one of the processes writes and speaks"
    states = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for folder in folders.values()
    ]
    for name, weight in states[0].items():
        torch.testing.assert_close(states[1][name], weight, rtol=1e-3, atol=1e-4)
