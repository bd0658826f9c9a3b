"""CelebA, from a small folder in the published layout."""

from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from datamodules.celeba import CelebA
from tests.datamodules.fakes import md5, message_of, values_in

# the official parts in an order of their own: train 0, validation 1, test 2
PARTS = [0, 2, 0, 1, 0, 2, 1, 0, 0]


def celeba(folder: Path, **options: int) -> CelebA:
    return CelebA(str(folder), str(folder / "cache"), **{"size": 8, "name": "celeba", "batch_size": 4, **options})  # type: ignore[arg-type]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of 178x218 pixels, grey value 20·i inside the central square of 140 and white outside."""
    images = tmp_path / "celeba" / "img_align_celeba"
    images.mkdir(parents=True)
    for i in range(len(PARTS)):
        pixels = np.full((218, 178, 3), 255, np.uint8)
        pixels[39:179, 19:159] = 20 * i
        Image.fromarray(pixels).save(images / f"{i + 1:06}.jpg", "PNG")
    partition = "".join(f"{i + 1:06}.jpg {part}\n" for i, part in enumerate(PARTS))
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text(partition)
    pin(monkeypatch, md5(partition.encode()))
    return tmp_path


def pin(monkeypatch: pytest.MonkeyPatch, digest: str) -> None:
    others = [row for row in torchvision.datasets.CelebA.file_list if row[2] != "list_eval_partition.txt"]
    monkeypatch.setattr(torchvision.datasets.CelebA, "file_list", [*others, ("id", digest, "list_eval_partition.txt")])


def test_the_official_parts_are_the_splits_and_the_central_square_is_resized(published: Path) -> None:
    splits = celeba(published).splits
    for number, split in enumerate(("train", "val", "test")):
        assert splits[split].shape[1:] == (3, 8, 8)  # type: ignore[index]
        assert values_in(splits[split]) == [20 * i for i, part in enumerate(PARTS) if part == number]  # type: ignore[index]


def test_another_crop_has_its_own_cache_and_sees_more(published: Path) -> None:
    assert celeba(published).splits["train"].max() == 160
    assert celeba(published, crop=178).splits["train"].max() > 240
    assert "less than the crop of 200" in message_of(celeba(published, crop=200))


def test_missing_images_and_a_changed_list_are_named(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (published / "celeba" / "img_align_celeba" / "000003.jpg").unlink()
    message = message_of(celeba(published))
    assert "000003.jpg" in message
    assert "unpack img_align_celeba.zip" in message
    pin(monkeypatch, "0" * 32)
    assert "list_eval_partition.txt is damaged" in message_of(celeba(published))


def test_a_celeba_that_cannot_be_fetched_is_asked_for(tmp_path: Path, downloads: list[str]) -> None:
    message = message_of(celeba(tmp_path))
    assert downloads
    assert str(tmp_path / "celeba") in message
    assert "list_eval_partition.txt" in message
    assert "img_align_celeba" in message


def test_a_crop_or_size_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"datamodule\.crop is 0"):
        celeba(tmp_path, crop=0)
    with pytest.raises(ValueError, match=r"datamodule\.size is 2"):
        celeba(tmp_path, size=2)
