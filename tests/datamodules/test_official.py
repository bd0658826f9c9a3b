"""The data sets that have an official test split, from small files made here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.errors import DataError
from datamodules.kmnist import EMNIST
from datamodules.torchvision_data import read_idx
from tests.datamodules.fakes import Official, md5, message_of, rows


def test_the_official_test_split_is_left_as_it_is_and_in_its_order(official: Official) -> None:
    official.write()
    data = official.make()
    assert data.shape == official.shape
    np.testing.assert_array_equal(data.splits["test"], official.test, strict=True)  # channels first


def test_validation_is_held_out_of_official_training_data_alone(official: Official) -> None:
    official.write()
    splits = official.make(val_size=15).splits
    train, val = rows(splits["train"]), rows(splits["val"])
    assert (len(train), len(val)) == (45, 15)
    assert sorted(train + val) == sorted(rows(official.train))
    assert not set(val) & set(train)
    assert not set(train + val) & set(rows(splits["test"]))


def test_official_data_is_split_alike_on_every_load_and_downloads_nothing(
    official: Official, downloads: list[str]
) -> None:
    official.write()
    assert official.make().info == official.make().info
    assert official.make(14).info.id != official.make(15).info.id
    assert downloads == []


def test_official_labels_belong_to_their_images(official: Official) -> None:
    official.write()
    labelled: Any = official.make()
    for images, labels in labelled.labelled().values():
        assert images[:, 0, 0, 0].tolist() == labels.tolist()


@pytest.mark.parametrize("val_size", [60, 61])
def test_official_training_data_cannot_all_be_held_out(official: Official, val_size: int) -> None:
    official.write()
    assert "60 examples are too few" in message_of(official.make(val_size))


def test_missing_files_that_cannot_be_fetched_are_an_error_that_says_what_to_do(
    official: Official, downloads: list[str]
) -> None:
    message = message_of(official.make())
    assert downloads
    assert str(official.folder) in message
    assert all(name in message for name in official.files if name != "batches.meta")
    assert "DATA_DIR" in message
    assert "could not be downloaded" in message
    assert "(from http" in message


def test_one_missing_file_is_fetched_and_the_others_are_left_alone(official: Official, downloads: list[str]) -> None:
    official.write()
    first = next(iter(official.files))
    (official.folder / first).unlink()
    assert first in message_of(official.make())
    assert downloads
    found = {path.name: path.read_bytes() for path in official.folder.iterdir()}
    assert found == {name: data for name, data in official.files.items() if name != first}


def test_a_truncated_file_is_an_error_that_names_it_and_it_is_left_as_it_is(
    official: Official, downloads: list[str]
) -> None:
    official.write()
    name, whole = next(iter(official.files.items()))
    path = official.folder / name
    path.write_bytes(whole[:1000])
    message = message_of(official.make())
    assert str(path) in message
    assert md5(whole[:1000]) in message
    assert md5(whole) in message
    assert path.read_bytes() == whole[:1000]
    assert downloads == []


def test_a_truncated_file_is_found_though_another_is_missing(official: Official, downloads: list[str]) -> None:
    official.write()
    if len(official.files) == 1:  # EMNIST is one archive
        return
    first, second = list(official.files)[:2]
    (official.folder / first).unlink()
    (official.folder / second).write_bytes(b"short")
    assert str(official.folder / second) in message_of(official.make())
    assert (official.folder / second).read_bytes() == b"short"
    assert downloads == []


def test_missing_files_are_fetched(delivers: Official) -> None:
    np.testing.assert_array_equal(delivers.make().splits["test"], delivers.test)


def test_a_download_is_checked(delivers: Official) -> None:
    name = next(iter(delivers.files))
    whole = delivers.files[name]
    delivers.files[name] = whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:]  # a pixel
    assert str(delivers.folder) in message_of(delivers.make())


def test_an_unchecked_processed_folder_is_not_read(tmp_path: Path, official: Official) -> None:
    official.write()
    processed = official.folder.parent / "processed"
    processed.mkdir(exist_ok=True)
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(20, 28, 28, dtype=torch.uint8), torch.zeros(20, dtype=torch.long)), processed / name)
    assert np.array_equal(official.make().splits["test"], official.test)


def test_an_emnist_without_the_asked_subset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"datamodule\.subset is 'greek'; expected one of byclass, bymerge, balanced"):
        EMNIST("somewhere", "greek", name="emnist", batch_size=4)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08\x01\0\0\0\x05abc", b"\0\0\x0b\x01\0\0\0\x03abc"], ids=["empty", "short", "int16"]
)
def test_bytes_that_are_no_idx_file_are_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="not in the idx format"):
        read_idx(content)
