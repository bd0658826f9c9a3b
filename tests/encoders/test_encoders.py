"""The packaged encoders and their cards, training one, and Inception, without a network."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.encoders import base
from benchmarks.encoders.base import FOLDER, FeatureEncoder, load_encoder, names
from benchmarks.encoders.cnn import Classifier, ConvEncoder
from benchmarks.encoders.fit import Fit, accuracy, fit_encoder
from benchmarks.errors import UserError
from datamodules.digits import Digits
from tests.encoders.fakes import (
    CPU,
    check_autocast_is_off,
    check_independence_of_batching,
    images,
    refusal,
    sha256,
)

CARDS = sorted(FOLDER.glob("*.json"))
TINY = Fit(seed=0, dim=8, width=4, epochs=2, lr=0.003)


def card_of(path: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return card


def classifier_of(card_path: Path) -> Classifier:
    card = card_of(card_path)
    classifier = Classifier(card["shape"], card["dim"], card["width"])
    classifier.load_state_dict(load_file(card_path.with_suffix(".safetensors")))
    return classifier


def digits(name: str = "digits") -> Digits:
    return Digits(name=name, batch_size=64)


# the packaged ones


def test_every_card_has_weights_and_all_weights_have_a_card() -> None:
    assert FOLDER / "digits-cnn.json" in CARDS
    assert [card.with_suffix(".safetensors") for card in CARDS] == sorted(FOLDER.glob("*.safetensors"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_packaged_weights_are_small_and_are_the_ones_their_card_was_written_for(path: Path) -> None:
    card, weights = card_of(path), path.with_suffix(".safetensors")
    assert weights.stat().st_size < 1_000_000
    assert card["sha256"] == sha256(weights)
    assert card["name"] == path.stem
    assert card["test_accuracy"] > 0.5
    encoder = load_encoder(path.stem, None, CPU)
    assert (encoder.name, encoder.dim, encoder.checksum) == (path.stem, card["dim"], card["sha256"])


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_features_are_the_classifiers_penultimate_layer_in_evaluation_mode(path: Path) -> None:
    card = card_of(path)
    classifier = classifier_of(path).eval()
    x = images(20, *card["shape"])
    features = load_encoder(path.stem, None, CPU)(x)
    assert features.shape == (20, card["dim"])
    assert features.dtype == torch.float32
    assert not features.requires_grad
    torch.testing.assert_close(features, classifier.features(x.float() / 255).detach())
    assert features.std(0).max() > 0


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_features_depend_on_neither_the_batch_nor_autocast(path: Path) -> None:
    encoder, x = load_encoder(path.stem, None, CPU), images(32, *card_of(path)["shape"])
    check_independence_of_batching(encoder, x)
    check_autocast_is_off(encoder, x)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_an_encoder_says_which_images_it_cannot_take(path: Path) -> None:
    encoder, shape = load_encoder(path.stem, None, CPU), tuple(card_of(path)["shape"])
    assert encoder.why_not(shape) is None
    c, h, w = shape
    for wrong in [(c + 1, h, w), (c, h + 1, w), (c, h, w + 1), (2,)]:
        reason = encoder.why_not(wrong)
        assert reason is not None
        assert path.stem in reason
        assert str(shape) in reason
        assert str(wrong) in reason


def test_the_digits_encoders_accuracy_is_what_its_card_says() -> None:
    card, data = card_of(FOLDER / "digits-cnn.json"), digits()
    assert card["test_accuracy"] >= 0.98
    assert accuracy(classifier_of(FOLDER / "digits-cnn.json"), data.labelled()["test"], "cpu") == card["test_accuracy"]


def test_the_encoder_reads_classes_as_well_as_its_card_says() -> None:
    encoder = load_encoder("digits-cnn", None, torch.device("cpu"))
    images, labels = digits().labelled()["test"]
    right = encoder.classify(torch.from_numpy(images)) == torch.from_numpy(labels)  # type: ignore[attr-defined]
    assert float(right.double().mean()) == pytest.approx(card_of(FOLDER / "digits-cnn.json")["test_accuracy"])


def test_the_digits_encoder_was_trained_on_the_digits_of_today() -> None:
    card, info = card_of(FOLDER / "digits-cnn.json"), digits().info
    assert card["trained_on"] == info.id
    assert (card["train_images"], card["test_images"]) == (info.sizes["train"], info.sizes["test"])
    assert tuple(card["shape"]) == info.shape


def test_features_tell_the_digits_apart() -> None:
    """The nearest training image in feature space has the same class."""
    labelled, encoder = digits().labelled(), load_encoder("digits-cnn", None, CPU)
    (train, train_labels), (test, test_labels) = labelled["train"], labelled["test"]
    nearest = torch.cdist(encoder(torch.from_numpy(test)), encoder(torch.from_numpy(train))).argmin(1).numpy()
    assert (train_labels[nearest] == test_labels).mean() > 0.95


def test_an_unknown_encoder_is_refused_with_the_names_of_those_there_are() -> None:
    message = refusal("vgg")
    assert "vgg" in message
    assert all(name in message for name in names())
    assert set(names()) == {path.stem for path in CARDS} | {"dinov2", "inception", "random-cnn"}


@pytest.mark.parametrize("where", [0, 100, -1])
def test_weights_that_were_tampered_with_are_refused(
    where: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suffix in ("json", "safetensors"):
        shutil.copy(FOLDER / f"digits-cnn.{suffix}", tmp_path)
    monkeypatch.setattr(base, "FOLDER", tmp_path)
    assert load_encoder("digits-cnn", None, CPU).dim == 32
    weights = tmp_path / "digits-cnn.safetensors"
    data = bytearray(weights.read_bytes())
    data[where] ^= 1
    weights.write_bytes(data)
    message = refusal("digits-cnn")
    assert weights.name in message
    assert sha256(weights)[:12] in message


def test_weights_that_were_cut_short_are_refused(tmp_path: Path) -> None:
    for suffix in ("json", "safetensors"):
        shutil.copy(FOLDER / f"digits-cnn.{suffix}", tmp_path)
    weights = tmp_path / "digits-cnn.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match=weights.name):
        ConvEncoder.from_files(tmp_path / "digits-cnn.json", CPU)


# training one


def test_training_writes_weights_and_a_card_named_after_the_data_that_load_again(tmp_path: Path) -> None:
    data = digits("my_digits")
    card = fit_encoder(data, TINY, "cpu", tmp_path / "new", "the command")
    path = tmp_path / "new" / "my-digits-cnn.json"
    assert sorted(tmp_path.joinpath("new").iterdir()) == [path, path.with_suffix(".safetensors")]
    assert card_of(path) == card
    assert card["settings"] == {"seed": 0, "dim": 8, "width": 4, "epochs": 2, "lr": 0.003, "batch_size": 128}
    assert card["command"] == "the command"
    assert card["trained_on"] == data.info.id
    assert card["test_accuracy"] == accuracy(classifier_of(path), digits().labelled()["test"], "cpu")
    encoder = ConvEncoder.from_files(path, CPU)
    assert encoder.name == card["name"] == "my-digits-cnn"
    assert encoder.checksum == sha256(path.with_suffix(".safetensors"))
    assert encoder(images(5, 1, 8, 8)).shape == (5, 8)


def test_training_learns(tmp_path: Path) -> None:
    card = fit_encoder(digits(), Fit(seed=0, dim=16, width=8, epochs=6, lr=0.01), "cpu", tmp_path, "")
    assert card["test_accuracy"] > 0.4  # chance is 0.1


def test_the_seed_of_training_decides_the_weights(tmp_path: Path) -> None:
    first, again, other = (
        fit_encoder(digits(), replace(TINY, seed=seed), "cpu", tmp_path / str(i), "")
        for i, seed in enumerate([0, 0, 1])
    )
    assert first == again
    assert first["sha256"] != other["sha256"]


def test_training_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    class Darkened(Digits):
        """The test and validation images are black."""

        def labelled(self) -> Any:
            labelled = super().labelled()
            black = {split: (np.zeros_like(labelled[split][0]), labelled[split][1]) for split in ("val", "test")}
            return {**labelled, **black}

    seen = fit_encoder(digits(), TINY, "cpu", tmp_path / "seen", "")
    unseen = fit_encoder(Darkened(name="digits", batch_size=64), TINY, "cpu", tmp_path / "unseen", "")
    assert seen["sha256"] == unseen["sha256"]
    assert seen["trained_on"] != unseen["trained_on"]


def test_accuracy_is_the_share_of_right_answers() -> None:
    class Brightness(torch.nn.Module):
        """Answers 1 for a white image and 0 for a black one."""

        def forward(self, x: Tensor) -> Tensor:
            bright = x.mean((1, 2, 3))
            return torch.stack([0.5 - bright, bright - 0.5], dim=1)

    x = np.repeat(np.array([0, 255], np.uint8), 400).reshape(800, 1, 1, 1)  # more than one of its batches
    labels = np.repeat(np.array([0, 1, 0]), [400, 300, 100])
    brightness: Any = Brightness()
    assert accuracy(brightness, (x, labels), "cpu") == 700 / 800


# Inception


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Weights as torch-fidelity keeps them, but random."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    network = module.FeatureExtractorInceptionV3
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(network, "load_state_dict", lambda *_: None)
        torch.save(network("inception", ["2048"]).state_dict(), path)
    yield path
    path.unlink()  # 96 MB


@pytest.fixture(scope="module")
def inception(inception_weights: Path) -> FeatureEncoder:
    return load_encoder("inception", str(inception_weights), CPU)


def test_inception_gives_2048_features_an_image_on_which_the_batch_has_no_say(
    inception: FeatureEncoder, inception_weights: Path
) -> None:
    x = images(2, 3, 32, 32)
    features = inception(x)
    assert features.shape == (2, 2048)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    assert features.isfinite().all()
    assert features.std(0).max() > 0
    assert (inception.name, inception.dim, inception.checksum) == ("inception", 2048, sha256(inception_weights))
    check_independence_of_batching(inception, x)


def test_inception_sees_a_grey_image_as_three_equal_channels_and_ignores_autocast(inception: FeatureEncoder) -> None:
    x = images(1, 1, 28, 28)
    torch.testing.assert_close(inception(x), inception(x.repeat(1, 3, 1, 1)))
    check_autocast_is_off(inception, x)


def test_inception_says_what_it_cannot_take(inception: FeatureEncoder) -> None:
    assert inception.why_not((1, 8, 8)) is None
    assert inception.why_not((3, 32, 32)) is None
    for wrong in [(2,), (2, 8, 8), (4, 8, 8)]:
        assert str(wrong) in str(inception.why_not(wrong))


def test_inception_weights_that_were_fetched_before_are_used(
    inception_weights: Path, tmp_path: Path, downloads: list[str]
) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    kept = tmp_path / "torch" / "hub" / "checkpoints" / URL_INCEPTION_V3.rsplit("/", 1)[1]
    kept.parent.mkdir(parents=True)
    kept.symlink_to(inception_weights)
    assert load_encoder("inception", None, CPU).checksum == sha256(inception_weights)
    assert downloads == []


def test_inception_weights_that_cannot_be_fetched_are_asked_for(tmp_path: Path, downloads: list[str]) -> None:
    message = refusal("inception")
    assert "protocol.encoder_weights" in message
    assert "no route to host" in message
    assert len(downloads) == 1
    assert downloads[0] in message
    assert not [path for path in (tmp_path / "torch").rglob("*") if path.is_file()]


def test_inception_weights_that_are_not_there_are_named(tmp_path: Path, downloads: list[str]) -> None:
    message = refusal("inception", tmp_path / "nowhere.pth")
    assert "protocol.encoder_weights" in message
    assert str(tmp_path / "nowhere.pth") in message
    assert downloads == []


@pytest.mark.parametrize("kind", ["text", "empty", "another network", "no state"])
def test_a_file_that_does_not_hold_inceptions_weights_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.pth"
    if kind == "text":
        path.write_text("these are not weights\n" * 10)
    elif kind == "empty":
        path.touch()
    else:
        torch.save(torch.nn.Linear(2, 2).state_dict() if kind == "another network" else [1, 2], path)
    assert str(path) in refusal("inception", path)


def test_inception_without_torch_fidelity_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    assert "pip install 'genbench[inception]'" in refusal("inception")


def test_weights_that_would_run_code_are_refused_before_they_do(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    weights = tmp_path / "weights.pth"
    torch.save({"trap": Trap()}, weights)
    assert "does not hold torch-fidelity's Inception weights" in refusal("inception", weights)
    assert not (tmp_path / "sprung").exists()


def test_torch_fidelity_gets_a_file_of_the_tensors_alone_and_never_the_users(
    inception_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It unpickles what it reads, and the user's file may be another one by then."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    seen: list[Path] = []

    def extractor(*_: Any, feature_extractor_weights_path: str) -> torch.nn.Module:
        seen.append(Path(feature_extractor_weights_path))
        own, users = (torch.load(path, weights_only=True, mmap=True) for path in (seen[0], inception_weights))
        assert own.keys() == users.keys()
        assert all(torch.equal(own[name], users[name]) for name in list(own)[::50])
        return torch.nn.Linear(1, 1)

    monkeypatch.setattr(module, "FeatureExtractorInceptionV3", extractor)
    assert load_encoder("inception", str(inception_weights), CPU).checksum == sha256(inception_weights)
    assert inception_weights not in [path.resolve() for path in seen]
    assert [path.exists() for path in seen] == [False], "nothing is left behind"
