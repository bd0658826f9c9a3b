"""Several folders of runs: lists, globs, overlaps, and copies of a run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UserError
from benchmarks.records.files import RecordError
from benchmarks.records.roots import find_all, folders_of
from benchmarks.records.runs import Run, Score, ScoreSheet, write_record, write_sheet
from tests.records.fakes import RECORD

NAMES = {"datamodule": "digits", "network": "mlp", "model": "vae"}


def add(run: Path, protocol_id: str = "p1", **keys: Any) -> Path:
    write_record(run, RECORD | {"names": NAMES} | keys)
    write_sheet(run, ScoreSheet({"name": "quick"}, protocol_id, "scored", [Score("fid", 1.5, "", False, 10)]))
    return run


def read(*roots: Path) -> tuple[list[Run], list[str]]:
    bad: list[RecordError] = []
    return find_all(roots, bad.append), [str(error) for error in bad]


def test_a_key_names_one_folder_several_or_a_glob(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/vae", "a/vae_2", "a/gan", "b[1]"):
        Path(name).mkdir(parents=True)
    Path("a/vae_file").touch()
    names = [str(path) for path in folders_of(["b[1]", "a/vae*", "a/vae"])]
    assert names == ["b[1]", "a/vae", "a/vae_2"]
    assert folders_of("a") == [Path("a")]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "runs is 3; expected a folder, a glob, or a list"),
        ([], "expected a folder, a glob, or a list"),
        (["a", None], "expected a folder, a glob, or a list"),
        ("x*", r"runs=x\* matches no folder"),
        (["a", "nowhere"], "nowhere is not a folder; set runs=PATH"),
    ],
)
def test_a_value_that_names_no_folder_is_refused(value: Any, message: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    with pytest.raises(UserError, match=message):
        folders_of(value)


def test_folders_that_overlap_are_read_once_without_a_word(tmp_path: Path, capsys: Any) -> None:
    add(tmp_path / "a" / "seed=0")
    runs, bad = read(tmp_path, tmp_path / "a", tmp_path / "a" / "seed=0")
    assert ([run.path for run in runs], bad) == ([tmp_path / "a" / "seed=0"], [])
    assert capsys.readouterr().err == ""


def test_of_equal_copies_the_one_with_the_most_scores_counts(tmp_path: Path, capsys: Any) -> None:
    first, second = add(tmp_path / "a"), tmp_path / "b"
    shutil.copytree(first, second)
    write_sheet(second, ScoreSheet({"name": "standard"}, "p2", "scored", []))
    runs, bad = read(tmp_path / "a", tmp_path / "b")
    assert ([run.path for run in runs], bad) == ([second], [])
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning == f"warning: {first} is a copy of {second}; the copy does not count"
    write_sheet(first, ScoreSheet({"name": "full"}, "p3", "scored", []))
    runs, (line,) = read(tmp_path / "a", tmp_path / "b")
    assert runs == []
    assert "each has scores that the other lacks (python -m benchmarks.merge unites them)" in line


def test_copies_that_disagree_are_named_and_none_is_chosen(tmp_path: Path) -> None:
    first, second = add(tmp_path / "a"), add(tmp_path / "b", finished_at="later")
    other = add(tmp_path / "c", seed=1)
    runs, (line,) = read(tmp_path)
    assert [run.path for run in runs] == [other]
    assert line.startswith(f"{first} and {second} are the same run, and their records differ in finished_at")
    path = second / "run.json"
    path.write_text(json.dumps({key: v for key, v in json.loads(path.read_text()).items() if key != "finished_at"}))
    (sheet,) = (second / "scores").iterdir()
    sheet.write_text(sheet.read_text().replace("1.5", "2.5"))
    _, (line,) = read(tmp_path)
    assert "their scores in quick-p1.json differ" in line


def test_records_without_names_are_copies_of_nothing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add(tmp_path / name, names={"model": "vae"})
    runs, bad = read(tmp_path)
    assert (len(runs), bad) == (2, [])
