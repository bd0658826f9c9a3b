"""Arrays of others: what numpy wrote is read as numpy reads it, and everything else is one line."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.errors import UserError
from benchmarks.external import arrays
from benchmarks.external.arrays import read_arrays
from tests.external.fakes import noise
from tests.records.fakes import Canary

KEYS = ("samples", "latents")


def npy(array: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array), **options)
    return out.getvalue()


def zipped(path: Path, compression: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("dtype", ["u1", "i8", "f2", "f4", ">f8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_wrote_is_read(dtype: str, order: str, save: Callable[..., None], tmp_path: Path) -> None:
    array = np.asarray(noise(5, 3, 4), np.dtype(dtype), order=order)  # type: ignore[call-overload]
    save(tmp_path / "a.npz", samples=array, labels=np.arange(5))
    np.save(tmp_path / "a.npy", array)
    for name, others in (("a.npz", ["labels"]), ("a.npy", [])):
        read, left = read_arrays(tmp_path / name, KEYS)
        assert read.keys() == {"samples"}
        np.testing.assert_array_equal(read["samples"], array)
        assert left == others


def test_an_array_without_a_name_is_the_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", noise(4), np.arange(4))
    read, left = read_arrays(tmp_path / "a.npz", KEYS)
    assert read["samples"].shape == (4, 8, 8)
    assert left == ["arr_1"]


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    objects = np.array([Canary(tmp_path / "touched")], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", samples=objects)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(UserError, match="array of Python objects, and nothing is unpickled"):
            read_arrays(tmp_path / name, KEYS)
    assert not (tmp_path / "touched").exists()


def huge_header(shape: tuple[int, ...]) -> bytes:
    """A header that promises more than there is."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return out.getvalue() + b"\0" * 100


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy(np.zeros((9, 8, 8)))[:-7], "is truncated or too long"),
        (npy(np.zeros((9, 8, 8))) + b"x", "is truncated or too long"),
        (huge_header((2**40, 8, 8)), "is truncated or too long"),
        (npy(np.array(["text"])), "has the type <U4; expected uint8 or float"),
        (npy(np.zeros(3, complex)), "has the type complex128"),
        (npy(np.zeros(3, [("x", "u1")])), "has fields"),
        (npy(np.zeros((1,) * 5)), "expected one to four dimensions"),
        (b"\x93NUMPY\x03\x00" + b"\0" * 90, "not an array of numpy's format"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 70000, "has a header of 65,535 bytes"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16, "is damaged"),
        (b"PK\x03\x04", "not an array"),
        (b"", "not an array"),
    ],
)
def test_what_is_no_array_is_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    for path in (tmp_path / "a.npy", zipped(tmp_path / "a.npz", samples=content)):
        with pytest.raises(UserError, match=said) as error:
            read_arrays(path, KEYS)
        assert "\n" not in str(error.value)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.npz", samples=npy(np.zeros((4000, 32, 32), np.uint8)))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(arrays, "MOST_BYTES", 10**6)
    with pytest.raises(UserError, match="unpacks to 4,096,128 bytes; at most 1,000,000"):
        read_arrays(path, KEYS)


def test_a_size_that_the_archive_misstates_is_found(tmp_path: Path) -> None:
    """The directory of the archive says 200 bytes, and the member unpacks to more."""
    path = zipped(tmp_path / "a.npz", samples=npy(np.zeros(10**6, np.uint8)))
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        start = content.index(signature) + offset
        content[start : start + 4] = (200).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError):
        read_arrays(path, KEYS)


@pytest.mark.parametrize("kind", ["missing", "link", "folder", "cut", "flipped", "twice", "other names", "lzma"])
def test_a_file_that_cannot_be_read_is_one_line(kind: str, tmp_path: Path) -> None:
    path, good = tmp_path / "a.npz", zipped(tmp_path / "good.npz", samples=npy(noise(50)))
    content = good.read_bytes()
    match kind:
        case "link":
            path.symlink_to(good)
        case "folder":
            path.mkdir()
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "flipped":
            path.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
        case "twice":
            zipped(path, samples=npy(noise(2)), other00=npy(noise(2)))
            path.write_bytes(path.read_bytes().replace(b"other00", b"samples"))
        case "other names":
            zipped(path, images=npy(noise(2)))
        case "lzma":
            zipped(path, zipfile.ZIP_LZMA, samples=npy(noise(2)))
    with pytest.raises(UserError) as error:
        read_arrays(path, KEYS)
    assert "\n" not in str(error.value)
    assert "a.npz" in str(error.value)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_a_users_error_or_an_array(data: st.DataObject, tmp_path: Path) -> None:
    is_archive = data.draw(st.booleans())
    path = tmp_path / ("a.npz" if is_archive else "a.npy")
    (np.savez_compressed if is_archive else np.save)(path, np.arange(40.0).reshape(10, 4))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        read, _ = read_arrays(path, KEYS)
    except UserError:
        return
    assert read["samples"].dtype.kind in "biuf"
