"""Records: written whole or not at all, never edited, and refused in one line when they cannot be trusted."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records.configurations import config_id, read_config
from benchmarks.records.files import SCHEMA, RecordError, replacing, write_json, write_text
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

RECORD = {"status": "finished", "seed": 0, "config_id": "0" * 8, "names": {"model": "vae"}, "data": {"id": "d"}}
SHEET = ScoreSheet({"name": "quick"}, "abcd1234", "scored", [Score("fid", 1.5, "", False, 10, {"encoder": "x"})])
CONFIG: dict[str, Any] = {
    "model": {"latent_dim": 2},
    "datamodule": {"name": "digits", "data_dir": "a", "batch_size": 4},
    "budget": {"unit": "images", "amount": 10},
    "trainer": {"precision": "32-true", "accelerator": "cpu", "enable_progress_bar": False},
    "seed": 0,
    "runs_dir": "runs",
    "logger": None,
}


def test_what_cannot_change_a_result_is_not_in_the_config_id() -> None:
    other = CONFIG | {"seed": 1, "runs_dir": "elsewhere", "logger": {"x": 1}}
    other["datamodule"] = CONFIG["datamodule"] | {"data_dir": "b"}
    other["trainer"] = CONFIG["trainer"] | {"accelerator": "gpu", "enable_progress_bar": True}
    assert config_id(other) == config_id(CONFIG)


@pytest.mark.parametrize(
    ("group", "change"),
    [
        ("model", {"latent_dim": 3}),
        ("datamodule", {"batch_size": 8}),
        ("budget", {"amount": 11}),
        ("trainer", {"precision": "bf16-mixed"}),
    ],
)
def test_what_can_change_a_result_is_in_the_config_id(group: str, change: dict[str, Any]) -> None:
    assert config_id(CONFIG | {group: CONFIG[group] | change}) != config_id(CONFIG)


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


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"config\.yaml"):
        read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(RecordError, match=r"config\.yaml"):
        read_config(tmp_path)
