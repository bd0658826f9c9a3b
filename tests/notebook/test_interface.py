"""Three lines of Python: a run with its model, its data and its scores; tables as frames."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

import benchmarks
from benchmarks.errors import UserError
from benchmarks.records.files import RecordError
from benchmarks.records.runs import Score, ScoreSheet, write_sheet
from benchmarks.scoring.restore import load_model
from benchmarks.training.pictures import image_grid
from tests.conftest import composed
from tests.reporting.fakes import add_run
from tests.reporting.test_gallery import huge
from tests.test_evaluate import untrained


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A finished run with random weights, a picture and two sheets."""
    path = untrained(tmp_path / "runs", model="vae")
    image_grid(torch.rand(8, 1, 8, 8)).save(path / "samples.png")
    for name, samples, value in (("quick", 10, 2.0), ("standard", 20, 3.0)):
        scores = [Score("fid", value, "", False, samples), Score("ais", None, "nats", True, 0, {"reason": "not <yet>"})]
        write_sheet(path, ScoreSheet({"name": name, "split": "test", "samples": samples}, "p1", "scored", scores))
    return path


def test_a_run_has_its_model_data_scores_and_pictures(path: Path) -> None:
    run = benchmarks.load(path)
    assert dict(run.scores) == {"fid": 3.0, "ais": None}, "of the protocol with the most samples"
    assert run.why("ais") == "not <yet>"
    assert run.why("fid") is None
    with pytest.raises(UserError, match="has no score 'fdi'; it has fid, ais"):
        run.why("fdi")
    samples = run.model.sample(16)
    assert samples.shape == (16, 1, 8, 8)
    assert not samples.requires_grad
    assert not run.model.training
    assert run.model is run.model
    assert run.data.splits["test"].shape == (450, 1, 8, 8)
    assert isinstance(run.show(), Image.Image)
    assert run.show().size == Image.open(path / "samples.png").size
    assert benchmarks.show(samples).size == image_grid(samples).size
    with pytest.raises(UserError, match="has no picture 'walks'; it has samples"):
        run.show("walks")
    (path / "samples.png").write_bytes(huge())
    with pytest.raises(RecordError, match=r"samples\.png cannot be read"):
        run.show()
    assert "<td>fid</td>" in run._repr_html_()
    assert "1 sheets" not in repr(run)


def test_averaged_weights_are_the_ones_that_sample() -> None:
    config: Any = OmegaConf.to_container(composed("model=gan", "network=mlp_narrow").model, resolve=True)
    model = load_model(config | {"ema_decay": 0.5})
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight.add_(torch.randn_like(weight))  # as training does; the average stays where it was

    def samples() -> Tensor:
        return model.sample(3, torch.Generator().manual_seed(0))

    with model.scoring():
        averaged = samples()
    assert not torch.equal(samples(), averaged)
    assert model.settled() is model
    torch.testing.assert_close(samples(), averaged)
    with model.scoring():
        torch.testing.assert_close(samples(), averaged)


def test_several_runs_or_none_are_one_line(path: Path, tmp_path: Path) -> None:
    assert benchmarks.load(tmp_path / "runs").path == path
    assert benchmarks.load(f"{tmp_path}/runs/*/v*").path == path
    (path.parents[1] / "interrupted" / path.name).mkdir(parents=True)
    assert benchmarks.load(path.parents[1] / "*" / path.name).path == path
    untrained(tmp_path / "runs", seed=1)
    with pytest.raises(UserError, match="holds 2 runs; name one of them"):
        benchmarks.load(tmp_path / "runs")
    with pytest.raises(UserError, match="is not a folder"):
        benchmarks.load(tmp_path / "nothing")


def test_data_are_had_by_name() -> None:
    assert benchmarks.data("digits").splits["train"].shape[1:] == (1, 8, 8)
    assert benchmarks.data("digits", ["datamodule.binarize=fixed"]).is_binary
    with pytest.raises(UserError, match="did you mean digits"):
        benchmarks.data("digit")


def test_tables_are_frames(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    for seed, value in enumerate((1.0, 2.0)):
        add_run(tmp_path, "gan", seed, {"fid": value, "elbo": None})
        add_run(tmp_path, "vae", seed, {"fid": 3 * value, "elbo": -value})
    frame = benchmarks.leaderboard(tmp_path)
    assert isinstance(frame, pandas.DataFrame)
    rows = frame.set_index("row")
    assert rows.loc["gan", "fid"] == 1.5
    assert rows.loc["vae", ["seeds", "elbo"]].tolist() == [2, -1.5]
    assert rows.elbo.isna().tolist() == [row == "gan" for row in rows.index]
    long = benchmarks.leaderboard(tmp_path, min_seeds=2, long=True).set_index(["row", "column"])
    assert long.loc[("gan", "elbo"), "reason"] == "does not bound"
    assert long.loc[("gan", "fid"), "deviation"] == pytest.approx(0.5**0.5)
    assert not list(tmp_path.glob("*.html"))
    verdicts = benchmarks.verdicts(tmp_path, min_seeds=2)
    assert set(verdicts.verdict) == {"undecided"}
    with pytest.raises(UserError, match="min_seeds is 1"):
        benchmarks.leaderboard(tmp_path, min_seeds=1)


def test_without_pandas_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"pip install 'genbench\[notebook\]'"):
        benchmarks.leaderboard(tmp_path)
