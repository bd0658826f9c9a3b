"""Pictures of runs: copied beside the page; one that cannot be trusted is named and left out."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from benchmarks.errors import UserError
from benchmarks.reporting import gallery
from benchmarks.reporting.build import write_report
from benchmarks.reporting.gallery import EMBEDDED_ROWS, GAP, LABEL_HEIGHT, LABEL_SIZE, SHEET_COLUMNS, _wrapped
from tests.reporting.fakes import add_run


def png(size: tuple[int, int] = (8, 8)) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 64).save(out, format="PNG")
    return out.getvalue()


def huge() -> bytes:
    """The head of a picture of 400 megapixels, and content that unpacks to as many bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(50_020_000)))
        + chunk(b"IEND", b"")
    )


def link(path: Path) -> None:
    secret = path.with_name("secret.txt")
    secret.write_bytes(png())
    path.symlink_to(secret)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(png()[:60]),
        lambda path: path.write_bytes(huge()),
        lambda path: path.write_bytes(b"a private key"),
        lambda path: Image.new("L", (8, 8)).save(path, "BMP"),
        lambda path: path.mkdir(),
        os.mkfifo,
        link,
    ],
    ids=["empty", "short", "bomb", "text", "format", "folder", "pipe", "link"],
)
def test_a_bad_picture_is_named_and_left_out(
    make: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("vae", "gan"):
        path = add_run(tmp_path / "runs", model, 0, {"fid": 1.0})
        (path / "samples.png").write_bytes(png())
    (path / "samples.png").unlink()
    make(path / "samples.png")
    report = write_report([tmp_path / "runs"], tmp_path / "out", "x")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path / 'samples.png'} cannot be read and is left out (")
    (pictures,) = report.pictures.values()
    assert list(pictures) == ["samples"]
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 1


def test_a_sheet_shows_every_row_in_lines_and_wraps_labels(tmp_path: Path) -> None:
    greys = range(20, 20 + 9 * EMBEDDED_ROWS, 9)
    for grey in [*greys, 200, 210]:
        path = add_run(tmp_path / "runs", f"m{grey}", 0, {"fid": 1.0})
        Image.new("L", (60, 40), grey).save(path / "samples.png")
    write_report([tmp_path / "runs"], tmp_path / "out", "x")
    (sheet,) = (tmp_path / "out").glob("*samples.png")
    image = np.asarray(Image.open(sheet).convert("L"))
    assert image.shape[1] == SHEET_COLUMNS * 60 + (SHEET_COLUMNS - 1) * GAP
    assert all((image == grey).sum() >= 60 * 40 for grey in [*greys, 200, 210]), "rows beyond the embedded ones too"


def test_pictures_that_would_make_a_sheet_of_gigabytes_are_smaller_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wide picture and a high one, each within the bound of a picture, once asked for 10^15 pixels."""
    monkeypatch.setattr(gallery, "MOST_SHEET_PIXELS", 2**14)
    for model, size in (("vae", (9000, 1)), ("gan", (1, 9000))):
        path = add_run(tmp_path / "runs", model, 0, {"fid": 1.0})
        Image.new("L", size).save(path / "samples.png")
    write_report([tmp_path / "runs"], tmp_path / "out", "x")
    (sheet,) = (tmp_path / "out").glob("*samples.png")
    with Image.open(sheet) as image:
        assert image.size == (90 + GAP + 1, LABEL_HEIGHT + 90 + GAP)  # a side of the square root of half of 2^14


def test_a_label_is_wrapped_between_words_to_the_width_of_its_picture() -> None:
    font = ImageFont.load_default(LABEL_SIZE)
    lines = _wrapped("sn_gan with a trunk of spectral norm", 100)
    assert " ".join(lines) == "sn_gan with a trunk of spectral norm"
    assert all(font.getlength(line) <= 100 for line in lines)
    assert all(font.getlength(f"{line} {after.split()[0]}") > 100 for line, after in pairwise(lines))
    assert _wrapped("unbreakable_name_of_a_model", 10) == ["unbreakable_name_of_a_model"]


def test_a_link_in_the_place_of_the_copies_is_refused(tmp_path: Path) -> None:
    add_run(tmp_path / "runs", "vae", 0, {"fid": 1.0})
    for folder in ("out", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "out" / "pictures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="pictures is a link to another folder"):
        write_report([tmp_path / "runs"], tmp_path / "out", "x")
