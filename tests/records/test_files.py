"""Files: replaced whole or not at all, strict JSON, and reading of regular files only."""

import json
import math
import os
import stat
import subprocess
from pathlib import Path

import pytest

from benchmarks.errors import UserError
from benchmarks.records.files import (
    digest,
    file_name,
    finite_or_none,
    read_bytes,
    remove_dead_leftovers,
    replacing,
    write_json,
    write_text,
)


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_text(path, "old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.json"]


def test_a_written_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("x")
    write_text(tmp_path / "ours", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours")]
    assert modes[0] == modes[1]


def test_json_never_holds_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())


def test_missing_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    for is_precious in (True, False):
        write_text(path, "σ² = 1\n", is_precious)
        assert path.read_text(encoding="utf-8") == "σ² = 1\n"
    assert os.listdir(path.parent) == ["x.txt"]


def test_a_digest_is_of_the_value_and_not_of_the_order_of_keys() -> None:
    value = {"a": 1, "b": {"c": [1, 2], "d": None}}
    assert digest(value) == digest(json.loads('{"b": {"d": null, "c": [1, 2]}, "a": 1}'))
    assert digest(value) != digest({"a": 1, "b": {"c": [2, 1], "d": None}})
    assert len(digest(value)) == 8
    assert int(digest(value), 16) >= 0


def test_what_json_cannot_hold_is_none() -> None:
    assert [finite_or_none(x) for x in (math.nan, math.inf, -math.inf)] == [None] * 3
    assert finite_or_none(-1.5) == -1.5


def test_a_regular_file_is_read_whole_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes; at most 4 are expected"):
        read_bytes(path, 4)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "y", 5)


@pytest.mark.timeout(20)
def test_a_pipe_a_link_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    for path, said in (
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path / "link", "a link"),
        (tmp_path, "not a regular file"),
    ):
        with pytest.raises(OSError, match=said):
            read_bytes(path, 100)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = tmp_path / "removed"
    removed.mkdir()
    monkeypatch.chdir(removed)
    removed.rmdir()
    with pytest.raises(UserError, match="the folder report cannot be made"):
        write_text(Path("report/index.html"), "x")


def test_a_name_of_a_file_names_no_folder() -> None:
    assert file_name("x/../../../etc-mlp_narrow") == "x----------etc-mlp_narrow"
    assert "/" not in file_name("".join(map(chr, range(1, 2000))))


def test_temporary_files_of_dead_processes_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    dead, living = tmp_path / f".a.json.{process.pid}-ab_1", tmp_path / f".a.json.{os.getpid()}-ab_1"
    for path in (dead, living, tmp_path / ".mine", tmp_path / "a.json"):
        path.touch()
    remove_dead_leftovers(tmp_path, tmp_path / "missing")
    assert {path.name for path in tmp_path.iterdir()} == {living.name, ".mine", "a.json"}
    with replacing(tmp_path / "b.json"):
        remove_dead_leftovers(tmp_path)
    assert (tmp_path / "b.json").is_file()
