"""Building a report: each run once, byte for byte again, whatever one bad record holds."""

from pathlib import Path
from typing import Any

from benchmarks.records.runs import Run
from benchmarks.reporting.build import write_report
from tests.reporting.fakes import add_run


def test_a_run_that_is_named_twice_counts_once(runs: list[Run], tmp_path: Path, capsys: Any) -> None:
    write_report([run.path for run in runs] + [tmp_path], tmp_path / "out", "x")
    assert "| vae | 3 |" in (tmp_path / "out" / "leaderboard.md").read_text()


def test_a_report_is_rebuilt_byte_for_byte(runs: list[Run], tmp_path: Path, capsys: Any) -> None:
    for out in ("one", "two"):
        write_report([tmp_path], tmp_path / out, "again")
    first, second = (
        {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*") if path.is_file()}
        for out in ("one", "two")
    )
    assert first == second
    written = {"index.html", "leaderboard.md", "leaderboard.csv", "leaderboard.tex", "claims.csv", "comparisons.csv"}
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
