"""A folder of images of the user's own, from its classifier to its scores."""

import json
import shutil
from pathlib import Path

import pytest

import benchmarks
from benchmarks.errors import UserError
from tests.conftest import Result, run
from tests.datamodules.fakes import folder_of_images


def test_an_image_folder_with_classes_is_learned_from_without_a_network(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("cat", "dog"):
        folder_of_images(tmp_path / "photos" / name, 40, 20, 30, 3)
    own = {"GENBENCH_ENCODERS": str(tmp_path / "encoders"), "HTTPS_PROXY": "http://127.0.0.1:9"}
    words = [
        "datamodule=image_folder",
        f"datamodule.folder={tmp_path / 'photos'}",
        "datamodule.size=16",
        "data_dir=data",
    ]
    result = run("train_encoder", *words, "epochs=1", "dim=4", "accelerator=cpu", cwd=tmp_path, **own)
    assert result.returncode == 0, result.stderr
    words += ["datamodule.leave_out=dog", "feature_encoder=image-folder-cnn", "datamodule.batch_size=8"]
    words += [
        "budget.amount=800",
        "curve_points=1",
        "trainer=cpu",
        "~protocol.metrics.ais",
        "~protocol.metrics.inversion",
    ]
    words += ["protocol.samples=20", "protocol.metrics.anomaly.inversion.steps=5", "protocol.second_encoder=null"]
    result = run("train", "model=ae", *words, cwd=tmp_path, **own)
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "data" / "image_folder_cache").glob("*.npy"))
    sheet = json.loads(next((tmp_path / "runs").glob("image_folder/ae/*/*/scores/*.json")).read_text())
    scores = {score["name"]: score for score in sheet["scores"]}
    assert sheet["protocol"]["encoder"] == "image-folder-cnn"
    assert scores["recon_mse"]["value"] > 0
    assert scores["auroc_reconstruction"]["detail"]["left_out"] == 1
    assert 0 <= scores["auroc_reconstruction"]["value"] <= 1


def test_images_are_known_by_their_content_wherever_they_lie(tmp_path: Path) -> None:
    """The folder is not in the config id: seeds of several machines are one row, and other images are refused."""
    cheap = ("datamodule.size=8", "datamodule.batch_size=4", "network=mlp_narrow", "curve_points=1", "trainer=cpu")
    scored = ("protocol=selection", "protocol.samples=4", "protocol.examples=4", "budget.amount=80", "model=ae")

    def train(folder: str, *words: str) -> Result:
        words = ("datamodule=image_folder", f"datamodule.folder={folder}", "data_dir=data", *cheap, *scored, *words)
        return run("train", *words, cwd=tmp_path)

    shutil.copytree(folder_of_images(tmp_path / "here", 12, 9, 9, 3), tmp_path / "there")
    folder_of_images(tmp_path / "other", 13, 9, 9, 3)
    assert train("here").returncode == 0
    (path,) = tmp_path.glob("runs/image_folder/ae/*/seed=0")
    assert "already finished and scored" in train("there").stdout
    loaded = benchmarks.load(path, data_dir=str(tmp_path / "data"), folder=tmp_path / "there")
    assert loaded.data.info.id == loaded.record["data"]["id"]
    with pytest.raises(UserError, match="name the folder to read with folder=PATH"):
        _ = benchmarks.load(path).data
    longer = train("other", "budget.amount=160")
    assert longer.returncode == 0, longer.stderr
    assert "goes on from" not in longer.stdout
    for words in ((), ("protocol.samples=5",)):
        refused = train("other", *words)
        assert refused.returncode == 1
        assert "seed=0 was trained on other data" in refused.stderr
        assert "datamodule.name=NAME" in refused.stderr
    (path / "run.json").unlink()  # as if it had been interrupted
    assert "last.ckpt was trained on other data" in train("other").stderr
