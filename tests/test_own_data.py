"""A folder of images of the user's own, from its classifier to its scores."""

import json
from pathlib import Path

from tests.conftest import run
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
