"""Folders of images whose sub-folders are classes."""

from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import DataError
from datamodules.image_folder import ImageFolder
from tests.datamodules.fakes import SPLITS, image_folder, message_of, picture, values_in

ANIMALS = ["ant", "bee", "cat"]


def in_classes(folder: Path, names: list[str], n: int = 10) -> Path:
    """n images of each class, of grey value 20·(number of the class) + 1."""
    for k, name in enumerate(names):
        for i in range(n):
            picture(folder / name / f"{i}.png", (20 * k + 1,) * 3)
    return folder


def class_of(value: int) -> int:
    return (value - 1) // 20


def refusal(data: ImageFolder) -> str:
    with pytest.raises(DataError) as caught:
        data.labelled()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("deeper", [False, True])
def test_sub_folders_are_classes_numbered_by_name(tmp_path: Path, deeper: bool) -> None:
    folder = in_classes(tmp_path / "images", ANIMALS)
    if deeper:
        picture(folder / "bee" / "queens" / "one.png", (21, 21, 21))
    data = image_folder(folder)
    assert data.class_names == ANIMALS
    labelled = data.labelled()
    for split in SPLITS:
        images, labels = labelled[split]
        assert np.array_equal(images, data.splits[split])
        assert labels.dtype == np.int64
        assert labels.tolist() == [class_of(value) for value in values_in(images)]
    assert sum(len(labels) for _, labels in labelled.values()) == 30 + deeper


def test_classes_change_neither_the_data_nor_their_id(tmp_path: Path) -> None:
    data = image_folder(in_classes(tmp_path / "images", ANIMALS))
    assert isinstance(data.splits["train"], np.memmap)
    before = data.info
    data.labelled()
    assert image_folder(tmp_path / "images").info == before
    assert before.leave_out is None


def test_train_and_test_have_the_classes_of_their_own_sub_folders(tmp_path: Path) -> None:
    for part in ("train", "test"):
        in_classes(tmp_path / "images" / part, ANIMALS)
    data = image_folder(tmp_path / "images")
    assert data.class_names == ANIMALS
    for images, labels in data.labelled().values():
        assert labels.tolist() == [class_of(value) for value in values_in(images)]
    picture(tmp_path / "images" / "test" / "Cat" / "0.png", (1, 1, 1))
    assert "has the classes Cat, train lacks them" in refusal(image_folder(tmp_path / "images"))
    assert image_folder(tmp_path / "images").info.sizes["test"] == 31, "without classes the folder still serves"


def test_a_class_of_validation_images_is_one_of_training_images(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        in_classes(tmp_path / "images" / part, ANIMALS)
    assert image_folder(tmp_path / "images").class_names == ANIMALS
    picture(tmp_path / "images" / "val" / "dog" / "0.png", (1, 1, 1))
    assert f"{Path('images') / 'val'} has the classes dog, train lacks them" in refusal(
        image_folder(tmp_path / "images")
    )


@pytest.mark.parametrize("leave_out", ["bee", 1])
def test_a_class_is_left_out_by_name_or_number(tmp_path: Path, leave_out: str | int) -> None:
    data = image_folder(in_classes(tmp_path / "images", ANIMALS), leave_out=leave_out)
    for split in SPLITS:
        assert 1 not in map(class_of, values_in(data.splits[split]))
        odd = [np.rint(x.numpy() * 255).astype(np.uint8) for x in data.left_out(split, 4)]
        assert all(class_of(value) == 1 for x in odd for value in values_in(x))
    assert sum(len(data.labelled()[split][1]) for split in SPLITS) == 30
    assert data.info.leave_out == 1
    assert data.info.id == image_folder(tmp_path / "images", leave_out="bee").info.id
    assert data.info.id != image_folder(tmp_path / "images").info.id


def test_a_number_that_is_the_name_of_a_folder_means_that_folder(tmp_path: Path) -> None:
    """Names are sorted as texts: the folder 2 is class 2, after 1 and 10."""
    data = image_folder(in_classes(tmp_path / "images", ["1", "10", "2"]), leave_out=10)
    assert set(map(class_of, values_in(data.splits["train"]))) == {0, 2}
    assert data.info.leave_out == 1


@pytest.mark.parametrize("leave_out", ["dog", 3, -1])
def test_a_class_that_no_folder_has_is_refused_with_those_there_are(tmp_path: Path, leave_out: str | int) -> None:
    message = message_of(image_folder(in_classes(tmp_path / "images", ANIMALS), leave_out=leave_out))
    assert message == f"datamodule.leave_out is {leave_out!r}; {tmp_path / 'images'} has the classes ant, bee, cat"


def test_images_without_classes_say_so_and_what_to_do(tmp_path: Path) -> None:
    folder = in_classes(tmp_path / "images", ANIMALS)
    picture(folder / "stray.png", (9, 9, 9))
    assert "images outside of sub-folders" in refusal(image_folder(folder))
    assert "images outside of sub-folders" in message_of(image_folder(folder, leave_out="bee"))
    single = image_folder(in_classes(tmp_path / "single", ["ant"]))
    assert "has the single class ant; put the images of each class into a sub-folder" in refusal(single)
