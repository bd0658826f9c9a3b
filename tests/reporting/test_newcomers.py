"""Models that no claim names: compared column by column, and never a verdict."""

import json
from pathlib import Path
from typing import Any

from scipy import stats

from benchmarks.records.runs import find_runs
from benchmarks.reporting.build import write_report
from benchmarks.reporting.claim_files import load_claims
from benchmarks.reporting.leaderboard import make_tables
from benchmarks.reporting.newcomers import OPEN, Newcomer, newcomers
from tests.reporting.fakes import EVIL, add_run

NOISE = (0.0, 1.0, 2.0, 3.0, 4.0)


def meet(root: Path) -> Newcomer:
    (new,) = newcomers(make_tables(find_runs(root)), load_claims(), 5)
    return new


def test_a_new_model_is_better_worse_or_open_against_each_baseline_in_each_column(tmp_path: Path) -> None:
    for seed, noise in enumerate(NOISE):
        add_run(tmp_path, "vae", seed, {"fid": 100 + noise, "recon_mse": 1 + noise})
        add_run(tmp_path, "gan", seed, {"fid": 41 + noise, "recon_mse": 50 + noise})
        add_run(tmp_path, "mine", seed, {"fid": 40 + noise, "recon_mse": 50 + noise})
    new = meet(tmp_path)
    outcomes = {column.name: [m.outcome if m else None for m in meetings] for column, meetings in new.columns}
    assert (new.model, new.baselines) == ("mine", ["vae", "gan"])
    assert outcomes["fid"] == ["better", OPEN]
    assert outcomes["recon_mse"] == ["worse", OPEN]
    assert "elbo" not in outcomes
    assert new.lines[0].startswith("against vae: better in FID; worse in MSE")


def test_what_is_not_known_of_a_row_from_elsewhere_keeps_it_from_no_comparison(tmp_path: Path) -> None:
    external = {"kind": "samples", "file": {"name": "a.npz", "sha256": "0" * 64}, "remarks": []}
    for seed, noise in enumerate(NOISE):
        ours = add_run(tmp_path, "gan", seed, {"fid": 41 + noise})
        theirs = add_run(tmp_path, "mine", seed, {"fid": 90 + noise})
        for path, more in ((ours, {"facts": {"latent size": "16"}}), (theirs, {"facts": {}, "external": external})):
            record = json.loads((path / "run.json").read_text())
            (path / "run.json").write_text(json.dumps(record | more))
    new = meet(tmp_path)
    assert new.lines[0].startswith("against gan: worse in FID")
    assert "not known of mine, and taken to be as in most rows: latent size" in new.lines[1]


def test_the_number_of_seeds_is_that_of_the_power_of_a_t_test(tmp_path: Path) -> None:
    for seed, noise in enumerate(NOISE):
        add_run(tmp_path, "gan", seed, {"fid": 42 + noise})
        add_run(tmp_path, "mine", seed, {"fid": 40 + noise})
    ((_, (meeting,)), *_) = meet(tmp_path).columns
    assert meeting is not None
    seeds = int(meeting.seeds.split("; ")[1].split()[0])
    # one pair in the column, three statements: Welch's test of equal numbers and spreads is Student's
    deviation, alpha = stats.tstd(NOISE), 0.05 / 3

    def power(n: int) -> float:
        shift = 2 / (deviation * (2 / n) ** 0.5)
        return float(stats.nct.sf(stats.t.isf(alpha, 2 * n - 2), 2 * n - 2, shift))

    assert power(seeds - 1) < 0.8 <= power(seeds)


def test_few_seeds_decide_nothing_and_the_report_says_how_many_it_takes(tmp_path: Path, capsys: Any) -> None:
    for seed, noise in enumerate(NOISE[:3]):
        add_run(tmp_path / "runs", "gan", seed, {"fid": 100 + noise})
        add_run(tmp_path / "runs", EVIL, seed, {"fid": 40 + noise})
    report = write_report([tmp_path / "runs"], tmp_path / "out", "x")
    ((_, (meeting,)), *_) = report.newcomers[0].columns
    assert meeting is not None
    assert (meeting.outcome, meeting.seeds) == (OPEN, "3 seeds; 5 are needed")
    assert "against gan: not decided: 5 columns (FID: 3 seeds; 5 are needed)" in capsys.readouterr().out
    shown = (tmp_path / "out" / "index.html").read_text()
    assert "3 seeds; 5 are needed" in shown
    assert EVIL not in shown
    assert "3 seeds; 5 are needed" in (tmp_path / "out" / "leaderboard.md").read_text()


def test_models_that_claims_name_are_no_newcomers(five_seeds: Any, tmp_path: Path) -> None:
    assert newcomers(make_tables(five_seeds), load_claims(), 5) == []
