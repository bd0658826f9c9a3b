"""Records of runs: never edited, found in order, and refused in one line when they cannot be trusted."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records.files import SCHEMA, RecordError
from benchmarks.records.runs import (
    Run,
    Score,
    ScoreSheet,
    find_runs,
    has_ended,
    read_curve,
    read_record,
    read_sheets,
    sha256_of,
    write_record,
    write_sheet,
)
from tests.records.fakes import RECORD

SHEET = ScoreSheet({"name": "quick"}, "abcd1234", "scored", [Score("fid", 1.5, "", False, 10, {"encoder": "x"})])


def test_sheets_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_sheet(tmp_path, SHEET)
    assert read_sheets(tmp_path) == [SHEET]


def test_a_failed_attempt_is_kept_beside_the_next(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD | {"status": "failed", "error": "first"})
    assert not has_ended(tmp_path)
    write_record(tmp_path, RECORD)
    assert has_ended(tmp_path)
    assert json.loads((tmp_path / "run.failed-1.json").read_text())["error"] == "first"


def test_a_run_that_has_not_ended_has_no_record(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    assert not has_ended(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 1, "stat', "is damaged"),
        ("[]", "is not a genbench record"),
        ('{"schema": "x"}', "is not a genbench record"),
        ('{"schema": 1}', "lacks status, seed, config_id, names, data"),
        (json.dumps({"schema": SCHEMA + 1}), "install a newer genbench"),
    ],
)
def test_a_bad_record_is_named_on_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=message) as caught:
        find_runs(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda sheet: sheet["scores"][0].update(value="1"), r"has scores\[0\].value '1': expected float | null"),
        (lambda sheet: sheet["scores"][0].update(n=-1), r"has scores\[0\].n -1: expected int >= 0"),
        (lambda sheet: sheet["scores"][0].update(name="a\x1b[2J"), "control characters"),
        (
            lambda sheet: sheet["scores"][0].update(detail={"of": "x"}),
            r"has detail of scores\[0\].of 'x': expected int",
        ),
        (lambda sheet: sheet["scores"][0].pop("unit"), r"lacks scores\[0\].unit"),
        (lambda sheet: sheet.update(scores=sheet["scores"] * 1001), "expected array of length <= 1000"),
        (lambda sheet: sheet.update(scores=sheet["scores"] * 2), "several scores of one name"),
        (lambda sheet: sheet.update(scores={}), "has scores {}: expected array"),
        (lambda sheet: sheet.update(status="x"), "has status 'x'"),
        (lambda sheet: sheet["protocol"].update(name="../x"), "has protocol.name '../x'"),
        (lambda sheet: sheet["protocol"].update(samples=[1]), "has protocol.samples"),
        (lambda sheet: sheet.update(protocol_id="../../x"), "has protocol_id '../../x'"),
        (lambda sheet: sheet.update(protocol_id="another"), "is the sheet quick-another.json by its content"),
    ],
)
def test_a_bad_score_sheet_is_named(change: Callable[[Any], None], said: str, tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    path = write_sheet(tmp_path, SHEET)
    sheet = json.loads(path.read_text())
    change(sheet)
    path.write_text(json.dumps(sheet))
    with pytest.raises(RecordError, match=said) as caught:
        read_sheets(tmp_path)
    assert str(path) in str(caught.value)


def test_keys_of_newer_versions_are_ignored(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD | {"of a newer version": {"x": [1]}})
    path = write_sheet(tmp_path, SHEET)
    sheet = json.loads(path.read_text())
    sheet["surprise"] = sheet["scores"][0]["surprise"] = 1
    path.write_text(json.dumps(sheet))
    assert read_sheets(tmp_path) == [SHEET]
    record = read_record(tmp_path)
    assert record is not None
    assert RECORD.items() <= record.items()


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\x1b[2J", b"a\nb"])
def test_a_folder_with_an_unprintable_name_is_left_out(name: bytes, tmp_path: Path) -> None:
    write_record(tmp_path / "good", RECORD)
    write_record(tmp_path / os.fsdecode(name), RECORD)
    told: list[RecordError] = []
    assert [run.path.name for run in find_runs(tmp_path, told.append)] == ["good"]
    assert "rename the folder" in str(told[0])


def test_a_report_can_leave_a_bad_record_out(tmp_path: Path) -> None:
    write_record(tmp_path / "good", RECORD)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    told: list[RecordError] = []
    assert [run.path.name for run in find_runs(tmp_path, told.append)] == ["good"]
    assert "bad" in str(told[0])


def test_no_runs_and_no_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="holds no finished run"):
        find_runs(tmp_path)
    with pytest.raises(RecordError, match="is not a folder"):
        find_runs(tmp_path / "nowhere")


def test_a_trial_of_a_search_is_a_row_once_it_was_scored_on_the_test_split() -> None:
    record = RECORD | {"search": {"id": "1", "role": "trial", "trial": 0}}
    sheets = {split: ScoreSheet({"name": "q", "split": split}, "p", "scored", []) for split in ("val", "test")}
    for scored, is_trial in (([], True), (["val"], True), (["val", "test"], False)):
        run = Run(Path(), record, [sheets[split] for split in scored])
        assert (run.was_trial, run.is_trial) == (True, is_trial)
    for search in (None, {"role": "confirmation"}):
        assert not Run(Path(), RECORD | {"search": search}, []).was_trial


def test_runs_are_found_in_order_of_paths_part_by_part(tmp_path: Path) -> None:
    """As text, "a-b" comes before "a/b"; by parts, after it."""
    for name in ("a-b/seed=0", "a/b/seed=1", "a/b/seed=0"):
        write_record(tmp_path / name, RECORD)
    found = [run.path.relative_to(tmp_path).as_posix() for run in find_runs(tmp_path)]
    assert found == ["a/b/seed=0", "a/b/seed=1", "a-b/seed=0"]


def test_a_curve_is_read_without_its_empty_cells(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text("images,val_fid,val_elbo\n64,,-3.5\n128,1e-3,\n")
    assert read_curve(tmp_path) == [{"images": 64, "val_elbo": -3.5}, {"images": 128, "val_fid": 1e-3}]


@pytest.mark.parametrize(
    "content",
    [
        *(None, b"", b"images\nmany\n", b"\xff\xfe\x00", b"images\n\x00\n", b"images\nnan\n", b"images\n1e300\n"),
        *(b"images\n" + b"1" * 200_000 + b"\n", b"images\n" + b"1\n" * 18_000_000),
    ],
    ids=lambda content: repr(content)[:30],
)
def test_a_curve_that_cannot_be_read_is_empty(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "curve.csv").write_bytes(content)
    assert read_curve(tmp_path) == []
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (1 if content else 0)
    assert all(str(tmp_path / "curve.csv") in line for line in lines)


def test_the_checksum_of_a_checkpoint_is_the_records() -> None:
    assert sha256_of(RECORD | {"checkpoint": {"sha256": "abc"}}) == "abc"
    for checkpoint in (None, {}, "abc", []):
        assert sha256_of(RECORD | {"checkpoint": checkpoint}) is None
    assert sha256_of(RECORD) is None
