"""Encoders that the user trains, on folders of images with classes."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.encoders.base import load_encoder, names, own_folder
from benchmarks.errors import UserError
from benchmarks.train_encoder import check_name
from tests.conftest import Result, run
from tests.datamodules.fakes import picture
from tests.encoders.fakes import CPU, images, refusal

COLOURS = {"apple": (220, 20, 20), "leaf": (20, 200, 20), "sky": (30, 30, 220)}
QUICK = ("epochs=2", "dim=4", "width=4", "accelerator=cpu")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENBENCH_ENCODERS", str(tmp_path / "encoders"))
    return tmp_path / "encoders"


def folder(path: Path, n: int = 20) -> Path:
    for name, colour in COLOURS.items():
        for i in range(n):
            picture(path / name / f"{i}.png", (colour[0], colour[1], colour[2] + i), (16, 12))
    return path


def trained(path: Path, *words: str) -> Result:
    words = (
        "datamodule=image_folder",
        f"datamodule.folder={path}",
        "datamodule.size=16",
        "data_dir=data",
        *QUICK,
        *words,
    )
    return run("train_encoder", *words, cwd=path.parent)


def test_a_folder_with_classes_gets_a_pinned_classifier_of_its_own(tmp_path: Path, own: Path) -> None:
    path = folder(tmp_path / "things")
    result = trained(path, "datamodule.name=things", "epochs=10", "dim=16")
    assert result.returncode == 0, result.stderr
    assert "runs are scored with it by feature_encoder=things-cnn" in result.stdout
    card = json.loads((own / "things-cnn.json").read_text())
    assert (card["classes"], card["shape"], card["train_images"]) == (3, [3, 16, 16], 48)
    assert "things-cnn" in names()
    encoder = load_encoder("things-cnn", None, CPU)
    assert (encoder.name, encoder.checksum) == ("things-cnn", card["sha256"])
    assert encoder(images(5, 3, 16, 16)).shape == (5, 16)
    solid = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)[:, :, None, None].expand(-1, -1, 16, 16)
    assert encoder.classify(solid).tolist() == [0, 1, 2]  # type: ignore[attr-defined]
    weights = own / "things-cnn.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert "restore the file" in refusal("things-cnn")


def test_the_name_of_an_encoder_of_other_images_is_taken(tmp_path: Path) -> None:
    card = tmp_path / "pets-cnn.json"
    check_name("pets-cnn", tmp_path, "11111111")
    card.write_text('{"trained_on": "11111111"}')
    check_name("pets-cnn", tmp_path, "11111111")  # the same images may be learned again
    with pytest.raises(
        UserError, match=r"pets-cnn.json was trained on other data \(11111111, not 2.*datamodule.name=NAME"
    ):
        check_name("pets-cnn", tmp_path, "22222222")
    card.write_text("[]")
    with pytest.raises(UserError, match="cannot be read"):
        check_name("pets-cnn", tmp_path, "11111111")


@pytest.mark.parametrize(
    ("name", "message"),
    [("random-cnn", "random-cnn is an encoder of genbench"), ("../up-cnn", "expected letters, digits, dots")],
)
def test_a_name_that_is_none_or_genbenchs_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        check_name(name, tmp_path, "11111111")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epochs=0", "epochs is 0; expected a whole number of 1 or more"),
        ("dim=0", "dim is 0; expected"),
        ("width=1.5", "width is 1.5; expected"),
        ("lr=0", "lr is 0; expected a number above 0"),
    ],
)
def test_a_classifier_of_nothing_is_refused(word: str, message: str, tmp_path: Path, own: Path) -> None:
    result = trained(tmp_path / "nothing", word)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {message}")
    assert len(result.stderr.splitlines()) == 1


def test_a_classifier_that_learned_nothing_is_named(tmp_path: Path, own: Path) -> None:
    for name in ("a", "b"):
        for i in range(10):
            picture(tmp_path / "alike" / name / f"{i}.png", (9, 9, 9))
    result = trained(tmp_path / "alike", "datamodule.name=alike")
    assert result.returncode == 0
    assert "warning: alike-cnn recognises no more than a guess" in result.stderr


def test_a_folder_without_classes_is_refused_and_told_what_to_do(tmp_path: Path, own: Path) -> None:
    for i in range(4):
        picture(tmp_path / "plain" / f"{i}.png", (i, i, i))
    result = trained(tmp_path / "plain")
    assert result.returncode == 1
    assert "put the images of each class into a sub-folder of its own" in result.stderr
    assert own_folder() == own


def test_the_folder_of_own_encoders_is_in_the_users_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GENBENCH_ENCODERS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert own_folder() == tmp_path / "genbench" / "encoders"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert own_folder() == tmp_path / "home" / ".local" / "share" / "genbench" / "encoders"
