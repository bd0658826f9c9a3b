"""Building a report: each run once, byte for byte again, whatever one bad record holds."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.records.files import RecordError
from benchmarks.records.runs import Run
from benchmarks.reporting.build import write_report
from tests.reporting.fakes import add_run


def test_a_run_that_is_named_twice_counts_once(runs: list[Run], tmp_path: Path, capsys: Any) -> None:
    write_report([run.path for run in runs] + [tmp_path], tmp_path / "out", "x")
    assert "| vae | 3 |" in (tmp_path / "out" / "leaderboard.md").read_text()


def test_copies_of_a_run_under_other_seeds_count_once_and_are_named(tmp_path: Path, capsys: Any) -> None:
    """A folder that was copied by hand, with its seed edited, made ten seeds of one run."""
    for seed in range(4):
        path = add_run(tmp_path / "<b>runs", "vae", seed, {"fid": 1.0 + seed}) / "run.json"
        checksum = "a" * 64 if seed else "b" * 64
        path.write_text(json.dumps(json.loads(path.read_text()) | {"checkpoint": {"sha256": checksum}}))
    report = write_report([tmp_path / "<b>runs"], tmp_path / "out", "x")
    line = "seeds 2 and 1 have the same checksum of the checkpoint"
    assert [row.seeds for row in report.tables[0].rows] == ["2"]
    assert f"{line} (copies that do not count: 2; the page lists them)\n" in capsys.readouterr().err
    for name in ("index.html", "leaderboard.md"):
        text = (tmp_path / "out" / name).read_text()
        assert line in text
        assert line.replace("seeds 2", "seeds 3") in text
        assert "<b>runs" not in text


def test_a_report_is_rebuilt_byte_for_byte(runs: list[Run], tmp_path: Path, capsys: Any) -> None:
    for out in ("one", "two"):
        write_report([tmp_path], tmp_path / out, "again")
    first, second = (
        {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*") if path.is_file()}
        for out in ("one", "two")
    )
    assert first == second
    documents = {"index.html", "verdicts.md", "leaderboard.md", "leaderboard.tex"}
    written = documents | {"leaderboard.csv", "claims.csv", "comparisons.csv"}
    assert written <= {path.name for path in first}


def test_one_bad_record_does_not_cost_the_report(runs: list[Run], tmp_path: Path, capsys: Any) -> None:
    (runs[0].path / "run.json").write_text("{")
    write_report([tmp_path], tmp_path / "out", "x")
    assert "left out" in capsys.readouterr().err
    path = add_run(tmp_path, "vae", 0, {"fid": 1.0}, config="c2")
    (path / "config.yaml").write_text("{")
    write_report([tmp_path], tmp_path / "out", "x")
    assert f"{path / 'config.yaml'} cannot be read" in capsys.readouterr().err
    assert "vae (c2)" in (tmp_path / "out" / "leaderboard.md").read_text()


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"names": {}}, "lacks names.datamodule"),
        ({"names": {"datamodule": "digits", "model": 3, "network": "mlp"}}, "has names.model 3: expected str"),
        ({"data": {}}, "lacks data.id"),
        ({"data": {"id": [1]}}, "has data.id [1]: expected str"),
        ({"data": {"id": "d1", "sizes": 3}}, "has data.sizes 3: expected object"),
        ({"data": {"id": "d1", "sizes": {"test": "x"}}}, "has data.sizes.test 'x': expected int | null"),
        ({"budget": {"amount": 5}}, "lacks budget.unit"),
        ({"budget": {"unit": "images", "amount": "x"}}, "has budget.amount 'x': expected int | float"),
        ({"spent": {"images": "many"}}, "has spent.images 'many': expected int | float | null"),
        ({"data": {"id": "d1", "sizes": {}, "binarize": "none", "dequantize": False}}, "lacks data.sizes.test"),
        ({"cost": {"parameters": 1e300}}, "has cost.parameters 1e+300: expected float <= 1e+70"),
        ({"environment": [1]}, "has environment [1]: expected object | null"),
        ({"packages": 3}, "has packages 3: expected object | null"),
        ({"git": [1]}, "has git [1]: expected object | null"),
    ],
)
def test_a_record_with_keys_of_another_kind_is_left_out(
    keys: dict[str, Any], line: str, runs: list[Run], tmp_path: Path, capsys: Any
) -> None:
    path = runs[0].path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))
    write_report([tmp_path], tmp_path / "out", "x")
    (error,) = capsys.readouterr().err.splitlines()
    assert error == f"error: {path} {line}; restore the record or move it away (left out)"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_record_with_a_number_that_json_does_not_have_is_left_out(
    value: float, runs: list[Run], tmp_path: Path, capsys: Any
) -> None:
    path = runs[0].path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cost": {"parameters": value}}))
    write_report([tmp_path], tmp_path / "out", "x")
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {path} is damaged (JSON is malformed")
    assert error.endswith("restore it or move it away (left out)")


def test_a_report_without_any_whole_record_says_so(tmp_path: Path) -> None:
    path = add_run(tmp_path, "vae", 0, {"fid": 1.0}) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"names": {}}))
    with pytest.raises(RecordError, match=r"^every record is left out; restore the records that are named above$"):
        write_report([tmp_path], tmp_path / "out", "x")
    assert not (tmp_path / "out").exists()


def test_names_of_a_record_make_no_path_outside_of_the_report(runs: list[Run], tmp_path: Path) -> None:
    """A network of this name once put pictures into any folder."""
    for run in runs:
        record = json.loads((run.path / "run.json").read_text())
        record["names"]["network"] = "x/../../../escaped/mine"
        (run.path / "run.json").write_text(json.dumps(record))
        Image.new("L", (8, 8)).save(run.path / "samples.png")
    out = tmp_path / "a" / "b" / "report"
    before = set(tmp_path.rglob("*"))
    write_report([run.path for run in runs], out, "t")
    new = set(tmp_path.rglob("*")) - before
    assert any(path.suffix == ".png" for path in new)
    assert all(path in (out, *out.parents) or path.is_relative_to(out) for path in new)
    assert not [path for path in out.iterdir() if path.is_dir() and path.name != "pictures"]


def test_the_terminal_lists_claims_that_no_run_can_answer_without_their_reasons(tmp_path: Path, capsys: Any) -> None:
    for model in ("vae", "gan"):
        add_run(tmp_path / "runs", model, 0, {"fid": 10.0})
    (tmp_path / "claims").mkdir()
    for name, right in (("a", "vae"), ("b", "wgan")):
        text = f"title: title {name}\nquantity: fid\nleft: gan\nright: {right}\nexpect: lower\n"
        (tmp_path / "claims" / f"{name}.yaml").write_text(text)
    write_report([tmp_path / "runs"], tmp_path / "out", "t", tmp_path / "claims")
    printed = capsys.readouterr().out
    first, others = printed.split("Undecided, because a model or a score is missing here  (the page names it)")
    assert "title a" in first
    assert others.startswith("\n  ? title b\n")
    assert "no scored runs" not in printed
    assert "no scored runs" in (tmp_path / "out" / "index.html").read_text()
