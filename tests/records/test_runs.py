"""Records: written whole or not at all, never edited, and refused in one line when they cannot be trusted."""

import json
from pathlib import Path

import pytest

from benchmarks.records.files import SCHEMA, RecordError
from benchmarks.records.runs import (
    Score,
    ScoreSheet,
    find_runs,
    has_ended,
    read_record,
    read_sheets,
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


def test_a_bad_score_sheet_is_named(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    path = write_sheet(tmp_path, SHEET)
    sheet = json.loads(path.read_text())
    sheet["scores"][0]["surprise"] = 1
    path.write_text(json.dumps(sheet))
    with pytest.raises(RecordError, match="surprise"):
        read_sheets(tmp_path)


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
