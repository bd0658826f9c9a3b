"""Submissions: layout, range and type are found and said; what does not fit the data is one line; what is odd is a remark."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.errors import UserError
from benchmarks.external.checks import check_counts, remarks_on
from benchmarks.external.shapes import Range, fit
from benchmarks.external.submission import Submission, read_submission
from tests.external.fakes import noise

DIGITS, COLOUR = (1, 8, 8), (3, 8, 8)


@pytest.mark.parametrize("shape", [DIGITS, COLOUR])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("kind", "bounds"),
    [("uint8", (0, 255)), ("int64", (0, 255)), ("float32", (0, 1)), ("float16", (-1, 1)), ("float64", (0, 255))],
)
def test_layout_and_range_are_found(shape: tuple[int, ...], layout: str, kind: str, bounds: Range) -> None:
    grey = noise(40, *shape)
    grey[0, 0, 0, :2] = 0, 255
    stored = (grey.astype(np.float64) / 255 * (bounds[1] - bounds[0]) + bounds[0]).round(6).astype(kind)
    stored = stored if layout == "NCHW" else stored.transpose(0, 2, 3, 1)
    fitted = fit(stored, "x", shape)
    assert (fitted.layout, fitted.bounds) == (layout, bounds)
    values = fitted.array / 255 if fitted.array.dtype == np.uint8 else fitted.array
    np.testing.assert_allclose(values, grey / 255, atol=2e-3 if kind == "float16" else 1e-6)
    assert not fitted.remarks


def test_grey_images_need_no_channel() -> None:
    fitted = fit(noise(9), "x", DIGITS)
    assert fitted.layout == "NHW"
    assert fitted.array.shape == (9, 1, 8, 8)


@pytest.mark.parametrize(
    ("array", "shape", "said"),
    [
        (noise(9, 3, 8, 8), DIGITS, r"x has shape \(9, 3, 8, 8\).*the number of channels is not 1"),
        (noise(9, 8, 8, 1), COLOUR, "the number of channels is not 3"),
        (noise(9, 9, 9), DIGITS, r"expected \(N, 1, 8, 8\) or \(N, 8, 8, 1\)"),
        (noise(9, 64), DIGITS, "it is flat: reshape it"),
        (noise(0, 8, 8), DIGITS, "x is empty"),
        (np.full((3, 8, 8), np.nan), DIGITS, "x has NaN or infinity in 3 of 3 entries"),
        (np.full((3, 8, 8), np.inf, np.float16), DIGITS, "NaN or infinity"),
        (np.full((3, 8, 8), 1, np.uint8), DIGITS, "no value above 1"),
        # unclipped samples of 0 to 1, and grey levels 0 to 16, are not 0 to 255
        (np.linspace(-0.02, 1.02, 128).reshape(2, 8, 8), DIGITS, "values from -0.02 to 1.02, and its range is none of"),
        (np.linspace(0, 1.5, 128, dtype=np.float32).reshape(2, 8, 8), DIGITS, "state range="),
        (np.linspace(0, 16, 128).reshape(2, 8, 8), DIGITS, "state range="),
        (np.linspace(0, 16, 128).reshape(2, 8, 8).astype(np.int64), DIGITS, "state range="),
        (noise(9).astype(int) - 9, DIGITS, r"none of \[0,1\], \[-1,1\], \[0,255\]; state range="),
        (3 * np.random.default_rng(0).normal(size=(9, 8, 8)), DIGITS, "state range="),
        (noise(9, 2), (2,), "expected float points"),
        (np.zeros((9, 3)), (2,), "expected float points"),
    ],
)
def test_what_does_not_fit_the_data_is_one_line(array: Any, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        fit(array, "x", shape)


def test_a_stated_range_clips_with_a_remark() -> None:
    array = np.linspace(-3, 3, 10 * 64).reshape(10, 8, 8)
    fitted = fit(array, "x", DIGITS, stated=(-1.5, 1.5))
    assert (fitted.array.min(), fitted.array.max()) == (0, 1)
    (remark,) = fitted.remarks
    assert remark == "50.00% of the values of x lie outside -1.5 to 1.5 (-3 to 3) and are clipped"
    np.testing.assert_allclose(fitted.array.reshape(-1)[320], (array.reshape(-1)[320] + 1.5) / 3, atol=1e-6)


def test_black_images_are_taken_if_their_range_is_stated() -> None:
    fitted = fit(np.zeros((3, 8, 8), np.uint8), "x", DIGITS, stated=(0.0, 255.0))
    assert (fitted.array.dtype, fitted.array.max()) == (np.uint8, 0)


def test_reconstructions_have_the_range_of_the_samples(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((20, 8, 8), np.float32)
    np.savez(tmp_path / "a.npz", samples=2 * x - 1, reconstructions=x)  # no reconstruction is below 0
    submission = read_submission(tmp_path / "a.npz", DIGITS)
    assert submission.reconstructions is not None
    np.testing.assert_allclose(submission.reconstructions[:, 0], (x + 1) / 2, atol=1e-6)


# folders of images


def save(folder: Path, images: Any, suffix: str = "png", **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:03}.{suffix}", **options)
    return folder


def test_a_folder_of_images_is_read_in_order_and_as_it_is(tmp_path: Path) -> None:
    grey, colour = noise(12), noise(12, 8, 8, 3)
    for shape, images in ((DIGITS, grey), (DIGITS, np.repeat(grey[..., None], 3, 3)), (COLOUR, colour)):
        submission = read_submission(save(tmp_path / "a", images), shape)
        expected = grey[:, None] if shape == DIGITS else colour.transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(submission.samples, expected)
    both = save(tmp_path / "b" / "samples", grey).parent
    save(both / "reconstructions", grey[:5])
    submission = read_submission(both, DIGITS)
    assert submission.reconstructions is not None
    assert (len(submission.samples), len(submission.reconstructions)) == (12, 5)
    assert submission.sha256 != read_submission(both / "samples", DIGITS).sha256


@pytest.mark.parametrize(
    ("images", "suffix", "said"),
    [
        (noise(2, 9, 8), "png", "000.png cannot be taken .it has 8x9 pixels; expected 8x8"),
        (noise(2, 8, 8, 3), "png", "it has colours; expected grey images"),
        (noise(2, 8, 8, 4), "png", "it is transparent in places"),
        (noise(2).astype(np.int32), "tif", "it has pixels of kind I"),
    ],
)
def test_an_image_that_does_not_fit_is_named(images: Any, suffix: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        read_submission(save(tmp_path / "a", images, suffix), DIGITS)


def turned(image: Image.Image, path: Path) -> None:
    exif = image.getexif()
    exif[0x0112] = 3
    image.save(path, exif=exif)


def of_16_bits(_: Image.Image, path: Path) -> None:
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress((b"\0" + b"\x80\xff" * 24) * 8),
        b"IEND": b"",
    }
    chunks = [struct.pack(">I", len(x)) + k + x + struct.pack(">I", zlib.crc32(k + x)) for k, x in parts.items()]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize(
    ("name", "save_as", "said"),
    [
        (
            "a.png",
            lambda image, path: image.save(path, save_all=True, append_images=[image.rotate(90)]),
            "several frames",
        ),
        (
            "a.tif",
            lambda image, path: image.save(path, save_all=True, append_images=[image.rotate(90)]),
            "several frames",
        ),
        (
            "a.tif",
            lambda image, path: image.convert("CMYK").save(path),
            "pixels of kind CMYK; expected grey or RGB of 8",
        ),
        ("a.jpg", turned, "its EXIF orientation turns it"),
        ("a.png", of_16_bits, "pixels of kind RGB;16B"),
        ("a.png", lambda _, path: path.write_bytes(b"text"), "it is no PNG, JPEG, BMP, WEBP, TIFF, PPM"),
    ],
)
def test_an_image_that_would_not_be_read_as_it_is_is_refused(
    name: str, save_as: Callable[[Image.Image, Path], Any], said: str, tmp_path: Path
) -> None:
    save_as(Image.fromarray(noise(1)[0]), tmp_path / name)
    with pytest.raises(UserError, match=said):
        read_submission(tmp_path, DIGITS)


def test_what_is_not_read_of_a_folder_is_said(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        save(tmp_path / name, noise(2))
    with pytest.raises(UserError, match=r"holds no images; expected files .* and no sub-folders \(it has cat/, dog/\)"):
        read_submission(tmp_path, DIGITS)
    save(tmp_path, noise(2))
    (tmp_path / "003.gif").touch()
    (tmp_path / "._000.png").touch()  # of macOS
    (remark,) = read_submission(tmp_path, DIGITS).remarks
    assert remark == "3 other entries of the folder were not read: 003.gif, cat/, dog/"


def test_links_and_files_that_are_no_images_are_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", noise(2))
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(UserError, match="is a link"):
        read_submission(tmp_path / "link", DIGITS)
    (folder / "000.png").unlink()
    (folder / "000.png").symlink_to(folder / "001.png")
    with pytest.raises(UserError, match="it is a link"):
        read_submission(folder, DIGITS)
    (folder / "000.png").unlink()
    (folder / "000.png").write_bytes(b"text")
    with pytest.raises(UserError, match=r"000\.png cannot be taken"):
        read_submission(folder, DIGITS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        read_submission(tmp_path / "empty", DIGITS)


def test_lossy_images_get_a_remark(tmp_path: Path) -> None:
    (remark,) = read_submission(save(tmp_path / "a", noise(2), "jpg"), DIGITS).remarks
    assert "lossy compression changes FID" in remark


# checks against the data


def submission(**arrays: Any) -> Submission:
    return Submission(name="a.npz", sha256="0" * 64, **arrays)


def test_too_few_samples_say_what_to_do() -> None:
    with pytest.raises(
        UserError, match=r"a\.npz has 9 samples, and protocol quick compares 1,000: submit 991 more, choose"
    ):
        check_counts(submission(samples=noise(9, *DIGITS)), 1000, 450, "quick", "test")
    few = submission(samples=noise(9, *DIGITS), reconstructions=noise(8, *DIGITS))
    with pytest.raises(UserError, match="8 reconstructions, and protocol quick reads 9 examples of the test split"):
        check_counts(few, 9, 9, "quick", "test")


def test_odd_submissions_get_remarks() -> None:
    data = {"train": noise(200, *DIGITS), "test": noise(50, *DIGITS)}
    honest = noise(100, *DIGITS)
    assert not list(remarks_on(submission(samples=honest), data, "test"))
    doubled = np.concatenate([honest[:80], honest[:20]])
    assert list(remarks_on(submission(samples=doubled), data, "test")) == [
        "20 of 100 samples are copies of other samples"
    ]
    # floats that round to training images are copies of them
    copied = np.concatenate([honest[:90] / 255, (data["train"][:7] + 0.3).clip(0, 255) / 255, data["test"][:3] / 255])
    assert list(remarks_on(submission(samples=copied.astype(np.float32)), data, "test")) == [
        "7 of 100 samples are copies of images of the train split",
        "3 of 100 samples are copies of images of the test split",
    ]
    dark = {split: array // 4 for split, array in data.items()}
    (remark,) = remarks_on(submission(samples=255 - noise(100, *DIGITS) // 4), dark, "test")
    assert remark.endswith("are the samples inverted, or in another range?")
    # reconstructions of 0 to 1 beside samples of -1 to 1 become half as dark
    faded = 128 + dark["test"] // 2
    remark, *_ = remarks_on(submission(samples=noise(100, *DIGITS) // 4, reconstructions=faded), dark, "test")
    assert "mean grey value of the reconstructions" in remark
    near = (data["test"] * 0.9).astype(np.uint8)
    for order, count in ((slice(None), 0), (slice(None, None, -1), 1)):
        found = list(remarks_on(submission(samples=honest, reconstructions=near[order]), data, "test"))
        assert len(found) == count
