"""Folders of images and their cache."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from datamodules.errors import DataError
from tests.datamodules.fakes import caches, greys, image_folder, message_of, picture, random_images, values_in


def test_a_folder_of_images_is_split_into_tenths_and_the_rest(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(30))
    data = image_folder(tmp_path / "images")
    assert data.info.sizes == {"train": 24, "val": 3, "test": 3}
    assert sorted(itertools.chain(*(values_in(array) for array in data.splits.values()))) == list(range(30))
    assert image_folder(tmp_path / "images").info == data.info


def test_images_are_one_memory_mapped_file_of_bytes(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(20))
    splits = image_folder(tmp_path / "images", channels=3).splits
    (cache,) = caches(tmp_path)
    for split, array in splits.items():
        assert isinstance(array, np.memmap), split
        assert Path(array.filename) == cache
        assert array.dtype == np.uint8
        assert array.shape[1:] == (3, 8, 8)


@pytest.mark.parametrize(("channels", "pixel"), [(1, [76]), (3, [255, 0, 0])])
def test_images_are_grey_or_in_colour_channels_first(tmp_path: Path, channels: int, pixel: list[int]) -> None:
    for i in range(3):
        picture(tmp_path / "images" / f"{i}.png", (255, 0, 0))
    train = image_folder(tmp_path / "images", channels=channels).splits["train"]
    assert train.shape == (1, channels, 8, 8)
    assert train[0].reshape(channels, -1).T.tolist() == [pixel] * 64


@pytest.mark.parametrize("wide", [True, False])
def test_an_image_that_is_not_square_is_cropped_to_its_centre(tmp_path: Path, wide: bool) -> None:
    image = Image.new("L", (60, 20))
    image.paste(255, (20, 0, 40, 20))
    (tmp_path / "images").mkdir()
    for i in range(3):
        (image if wide else image.rotate(90, expand=True)).save(tmp_path / "images" / f"{i}.png")
    for array in image_folder(tmp_path / "images").splits.values():
        assert (array >= 235).all()  # the filter looks a little beyond the square


def test_an_image_is_turned_as_its_camera_was(tmp_path: Path) -> None:
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 0, 8, 4))
    turned = Image.Exif()
    turned[0x0112] = 3  # by 180 degrees
    (tmp_path / "images").mkdir()
    for i in range(3):
        image.save(tmp_path / "images" / f"{i}.png", exif=turned)
    pixels = image_folder(tmp_path / "images").splits["train"][0, 0]
    assert (pixels[:4] == 0).all()
    assert (pixels[4:] == 255).all()


def test_an_image_is_made_smaller_with_antialiasing(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    (tmp_path / "images").mkdir()
    for i in range(3):
        Image.fromarray(stripes).save(tmp_path / "images" / f"{i}.png")
    pixels = image_folder(tmp_path / "images").splits["train"].astype(int)
    assert abs(pixels[..., 1:-1] - 127).max() < 10


def test_images_lie_in_sub_folders_or_not_among_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for i, place in enumerate(["a.png", "b/c.PNG", "b/d/e.bmp", "f.ppm"]):
        picture(folder / place, (i, i, i))
    (folder / "notes.txt").write_text("no image")
    splits = image_folder(folder).splits
    assert sorted(itertools.chain(*(values_in(array) for array in splits.values()))) == [0, 1, 2, 3]


def test_train_and_test_folders_are_the_splits(tmp_path: Path) -> None:
    greys(tmp_path / "images" / "train", range(20))
    greys(tmp_path / "images" / "test", range(200, 205))
    splits = image_folder(tmp_path / "images").splits
    assert sorted(values_in(splits["test"])) == list(range(200, 205))
    assert (len(splits["train"]), len(splits["val"])) == (18, 2)
    assert sorted(values_in(splits["train"]) + values_in(splits["val"])) == list(range(20))


def test_a_folder_of_validation_images_is_the_validation_split(tmp_path: Path) -> None:
    for i, name in enumerate(("train", "val", "test")):
        greys(tmp_path / "images" / name, range(50 * i, 50 * i + 10))
    splits = image_folder(tmp_path / "images").splits
    assert {name: sorted(values_in(splits[name])) for name in ("train", "val", "test")} == {
        name: list(range(50 * i, 50 * i + 10)) for i, name in enumerate(("train", "val", "test"))
    }


@pytest.mark.parametrize("names", [["Train", "Test"], ["training", "validation"], ["train"], ["train", "val"]])
def test_splits_under_other_names_are_not_mixed(names: list[str], tmp_path: Path) -> None:
    for name in names:
        greys(tmp_path / "images" / name, range(10))
    message = message_of(image_folder(tmp_path / "images"))
    assert f"{', '.join(sorted(names))}, which look like splits; name them train, test" in message
    greys(tmp_path / "images" / "bus", range(10))  # so that a train is a vehicle
    assert sum(image_folder(tmp_path / "images").info.sizes.values()) == 10 * len(names) + 10


def test_files_that_a_mac_adds_are_not_read_and_links_are_followed(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    for name in ("._0.png", "__MACOSX/._0.png", ".cache/0.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\0\5\x16\7")
    greys(tmp_path / "elsewhere", range(20, 25))
    (tmp_path / "images" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "images")
    assert sum(image_folder(tmp_path / "images").info.sizes.values()) == 15


def test_resized_images_are_written_once(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    first = image_folder(tmp_path / "images").info
    (cache,) = caches(tmp_path)
    before = cache.stat()
    assert image_folder(tmp_path / "images").info == first
    assert caches(tmp_path) == [cache]
    assert (cache.stat().st_mtime_ns, cache.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_another_size_or_number_of_channels_has_its_own_cache(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    for size, channels in [(8, 1), (8, 3), (16, 1)]:
        assert image_folder(tmp_path / "images", size=size, channels=channels).splits["val"].shape == (
            1,
            channels,
            size,
            size,
        )
    assert len(caches(tmp_path)) == 3


def test_a_changed_image_is_read_anew(tmp_path: Path) -> None:
    for value in range(10):
        picture(tmp_path / "images" / f"{value}.bmp", (value, value, value))
    before = image_folder(tmp_path / "images")
    assert sorted(itertools.chain(*map(values_in, before.splits.values()))) == list(range(10))
    path = tmp_path / "images" / "0.bmp"
    size, time = path.stat().st_size, path.stat().st_mtime_ns
    picture(path, (99, 99, 99))
    os.utime(path, ns=(time, time + 1_000_000))
    assert path.stat().st_size == size
    after = image_folder(tmp_path / "images")
    assert sorted(itertools.chain(*map(values_in, after.splits.values()))) == [*range(1, 10), 99]
    assert after.info.id != before.info.id
    assert len(caches(tmp_path)) == 2


def test_an_added_image_is_read(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    assert sum(image_folder(tmp_path / "images").info.sizes.values()) == 10
    greys(tmp_path / "images", range(11))
    assert sum(image_folder(tmp_path / "images").info.sizes.values()) == 11


@pytest.mark.parametrize("kept", [0, 40, -30])
def test_an_unreadable_image_is_named_and_leaves_no_cache(tmp_path: Path, kept: int) -> None:
    greys(tmp_path / "images", range(10))
    image = Image.fromarray(random_images(1, 32, 32, 3)[0])
    broken = tmp_path / "images" / "broken.png"
    image.save(broken)
    broken.write_bytes(broken.read_bytes()[:kept])
    message = message_of(image_folder(tmp_path / "images"))
    assert str(broken) in message
    assert caches(tmp_path) == []
    image.save(broken)
    assert sum(image_folder(tmp_path / "images").info.sizes.values()) == 11


def test_all_unreadable_images_are_named_at_once(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "images" / "float.tif")
    for i in range(3):
        (tmp_path / "images" / f"broken{i}.png").write_bytes(b"")
    message = message_of(image_folder(tmp_path / "images"))
    assert "4 images cannot be read" in message
    assert all(f"broken{i}.png" in message for i in range(3))
    assert "float.tif cannot be read as an image (it has 32 bits a pixel; save it with 8 or 16)" in message


def test_a_failure_while_resizing_leaves_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    greys(tmp_path / "images", range(10))

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("datamodules.resized.Resizing.read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _ = image_folder(tmp_path / "images").splits
    assert (tmp_path / "cache").is_dir()
    assert caches(tmp_path) == []


def test_a_folder_without_images_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "notes.txt").write_text("no image")
    message = message_of(image_folder(folder))
    assert str(folder) in message
    assert ".png" in message


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_folder_that_is_none_is_an_error_that_names_it(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "images").write_text("a file")
    message = message_of(image_folder(tmp_path / "images"))
    assert str(tmp_path / "images") in message
    assert "datamodule.folder" in message


@pytest.mark.parametrize(
    ("options", "named"),
    [({"folder": None}, "folder"), ({"folder": ""}, "folder"), ({"channels": 2}, "channels"), ({"size": 3}, "size")],
    ids=str,
)
def test_no_folder_or_a_shape_that_makes_no_sense_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=rf"datamodule\.{named}"):
        image_folder(**{"folder": "somewhere", **options})


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_to_split_are_an_error(tmp_path: Path, count: int) -> None:
    greys(tmp_path / "images", range(count))
    assert f"holds too few images, {count}; expected 3 or more" in message_of(image_folder(tmp_path / "images"))


def test_too_few_training_images_to_hold_any_out_are_an_error(tmp_path: Path) -> None:
    greys(tmp_path / "images" / "train", range(1))
    greys(tmp_path / "images" / "test", range(5))
    assert "holds too few images, 1; expected 2 or more" in message_of(image_folder(tmp_path / "images"))


def test_folders_of_the_same_name_have_their_own_caches(tmp_path: Path) -> None:
    seen = []
    for home, grey in (("a", 10), ("b", 200)):
        folder = tmp_path / home / "pics"
        for i in range(10):
            picture(folder / f"{i}.bmp", (grey, grey, grey))
            os.utime(folder / f"{i}.bmp", (0, 0))
        data = image_folder(folder, cache_dir=str(tmp_path / "cache"))
        seen.append(set(values_in(data.splits["train"])))
    assert seen == [{10}, {200}]


def test_grey_values_of_16_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for i in range(10):
        Image.fromarray(np.full((8, 8), 300 * 100, np.uint16)).save(tmp_path / "images" / f"{i}.png")
    assert set(values_in(image_folder(tmp_path / "images").splits["train"])) == {30_000 >> 8}


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    broken = tmp_path / "images" / "broken.ppm"
    broken.write_bytes(b"P6\n24\x9d255\n255\n")
    assert str(broken) in message_of(image_folder(tmp_path / "images"))


def flip(cache: Path) -> None:
    content = bytearray(cache.read_bytes())
    content[-1] ^= 1
    cache.write_bytes(content)


def pipe(cache: Path) -> None:
    cache.unlink()
    os.mkfifo(cache)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "harm",
    [
        lambda cache: cache.write_bytes(cache.read_bytes()[:-100]),
        lambda cache: cache.write_bytes(b""),
        flip,
        lambda cache: np.save(cache, np.load(cache)[:, :, :4]),
        lambda cache: np.save(cache, np.load(cache).astype(np.int8)),
        lambda cache: np.save(cache, np.array([{}] * 10), allow_pickle=True),
        lambda cache: cache.with_suffix(".sha256").unlink(),
        lambda cache: cache.with_suffix(".sha256").write_bytes(b"\xff"),
        pipe,
    ],
    ids=["short", "empty", "a bit", "shape", "type", "pickle", "no checksum", "bad checksum", "pipe"],
)
def test_a_damaged_cache_is_named_and_made_again(
    harm: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    greys(tmp_path / "images", range(10))
    before = np.array(image_folder(tmp_path / "images").splits["train"])
    (cache,) = caches(tmp_path)
    harm(cache)
    for lines in (1, 0):  # the second time, the cache is whole again
        assert np.array_equal(image_folder(tmp_path / "images").splits["train"], before)
        warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
        assert len(warnings) == lines
        assert all(f"the cache {cache} is damaged" in line for line in warnings)
    assert caches(tmp_path) == [cache]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        _ = image_folder(tmp_path / "images").splits


def test_names_of_images_need_not_be_utf8(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    before = image_folder(tmp_path / "images").splits["train"]
    (tmp_path / "images").rename(tmp_path / os.fsdecode(b"\xe9t\xe9"))
    folder = tmp_path / os.fsdecode(b"\xe9t\xe9")
    for file in list(folder.iterdir()):
        file.rename(folder / os.fsdecode(os.fsencode(file.name).replace(b".", b"\xff.")))
    assert np.array_equal(image_folder(folder).splits["train"], before)


def test_a_size_that_would_fill_a_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 4 to 2048 pixels"):
        image_folder(tmp_path, size=2**20)


def test_postscript_under_the_name_of_a_picture_reaches_no_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow looks at the content, and would hand PostScript, a language of programs, to Ghostscript."""
    called: list[Any] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *words, **_: called.append(words))
    greys(tmp_path / "images", range(10))
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "b.png", "EPS")
    assert (tmp_path / "images" / "b.png").read_bytes().startswith(b"%!PS")
    assert str(tmp_path / "images" / "b.png") in message_of(image_folder(tmp_path / "images"))
    assert called == []
    assert caches(tmp_path) == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM"])
def test_every_format_of_pictures_is_read_whatever_the_name_says(kind: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for i in range(10):
        Image.new("RGB", (8, 8), (77, 77, 77)).save(tmp_path / "images" / f"{i}.png", kind)
    assert sum(image_folder(tmp_path / "images").info.sizes.values()) == 10
