"""Checkpoints on disk: the last two, with checksums that find any damage."""

import json
import os
from pathlib import Path

import pytest
import torch

from benchmarks.records import checkpoints
from benchmarks.records.checkpoints import checksum, find_checkpoint, previous_path, rotate, why_damaged
from benchmarks.records.files import RecordError
from benchmarks.records.paths import checkpoint_path


def written(path: Path, *contents: bytes) -> list[str]:
    """Rotates in each content; the checksums."""
    return [rotate(path, lambda file, content=content: file.write_bytes(content) and None) for content in contents]


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path)
    sums = written(path, b"one", b"two", b"three")
    assert (path.read_bytes(), previous_path(path).read_bytes()) == (b"three", b"two")
    assert [checksum(path), checksum(previous_path(path))] == [sums[2], sums[1]]
    assert why_damaged(path) is why_damaged(previous_path(path)) is None
    assert {file.name for file in path.parent.iterdir()} == {"last.ckpt", "previous.ckpt", "checksums.json"}


def test_every_single_bit_flip_is_found(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path)
    content = os.urandom(64)
    written(path, content)
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(flipped))
        assert why_damaged(path) is not None
    path.write_bytes(content)
    assert why_damaged(path) is None


@pytest.mark.parametrize("step", ["writing the list", "keeping the previous one", "putting the new one in place"])
def test_a_process_that_is_killed_while_it_rotates_leaves_a_whole_checkpoint(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint_path(tmp_path)
    written(path, b"one", b"two")

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    real, calls = os.replace, {"n": 0}

    def replace(source: Path, target: Path) -> None:
        calls["n"] += 1
        # the list is the first rename, then the previous checkpoint, then the last one
        if calls["n"] == {"keeping the previous one": 2, "putting the new one in place": 3}.get(step):
            raise Killed
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace)
        if step == "writing the list":
            patched.setattr(checkpoints, "write_json", kill)
        with pytest.raises(Killed):
            written(path, b"three")
    whole = [file for file in (path, previous_path(path)) if file.is_file() and why_damaged(file) is None]
    assert whole
    assert whole[0].read_bytes() == b"two"


def test_the_checkpoint_of_a_record_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path)
    first, second, third = written(path, b"one", b"two", b"three")
    assert find_checkpoint(tmp_path, third) == path
    assert find_checkpoint(tmp_path, second) == previous_path(path)
    with pytest.raises(RecordError, match="is not the checkpoint that the record of the run was made with"):
        find_checkpoint(tmp_path, first)
    assert find_checkpoint(tmp_path, None) == path, "records of earlier versions have no checksum"
    path.unlink()
    previous_path(path).unlink()
    with pytest.raises(RecordError, match="is missing"):
        find_checkpoint(tmp_path, third)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"schema": 1, "sha256": 3}), json.dumps({"schema": 1})])
def test_a_damaged_list_is_named(text: str, tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path)
    written(path, b"one")
    path.with_name("checksums.json").write_text(text)
    with pytest.raises(RecordError, match=r"checksums\.json"):
        why_damaged(path)


def test_checkpoints_of_earlier_versions_have_no_list_and_are_read(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"x": torch.randn(3)}, path)
    assert why_damaged(path) is None


def test_however_many_processes_die_right_after_the_list_every_whole_file_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three dead processes once pushed the checksums of both whole files off the list."""
    path = checkpoint_path(tmp_path)
    written(path, b"one", b"two")
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target).name != "checksums.json":
            raise KeyboardInterrupt
        real(source, target)

    for content in (b"three", b"four", b"five", b"six"):
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", replace)
            with pytest.raises(KeyboardInterrupt):
                written(path, content)
        assert (path.read_bytes(), previous_path(path).read_bytes()) == (b"two", b"one")
        assert why_damaged(path) is why_damaged(previous_path(path)) is None


def test_a_disk_that_is_full_of_the_checkpoint_is_found_before_anything_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint_path(tmp_path)
    written(path, b"one", b"two")

    def fsync(handle: int) -> None:
        if os.fstat(handle).st_size == 5:  # the list is larger
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="No space left"):
            written(path, b"three")
    assert (path.read_bytes(), previous_path(path).read_bytes()) == (b"two", b"one")
    assert why_damaged(path) is why_damaged(previous_path(path)) is None


def test_a_damaged_checkpoint_never_takes_the_place_of_the_one_before_it(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path)
    written(path, b"one", b"two")
    path.write_bytes(b"twp")
    written(path, b"three")
    assert (path.read_bytes(), previous_path(path).read_bytes()) == (b"three", b"one")


def test_without_a_checksum_in_the_record_the_list_still_finds_a_flipped_bit(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path)
    written(path, b"one")
    path.write_bytes(b"onf")
    with pytest.raises(RecordError, match=r"last\.ckpt is damaged"):
        find_checkpoint(tmp_path, None)
    path.with_name("checksums.json").unlink()
    assert find_checkpoint(tmp_path, None) == path, "runs of earlier versions have no list"


def test_the_first_rotation_of_a_run_of_an_earlier_version_keeps_its_checkpoint_whole(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"without a list")
    written(path, b"one")
    assert previous_path(path).read_bytes() == b"without a list"
    assert why_damaged(previous_path(path)) is None
