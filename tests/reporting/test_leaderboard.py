"""Records to tables: what may be compared, means over seeds, titles, labels, baselines."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from benchmarks.errors import UserError
from benchmarks.records.files import RecordError
from benchmarks.records.paths import BASELINES
from benchmarks.records.roots import find_all
from benchmarks.records.runs import Run, Score, ScoreSheet, find_runs, write_sheet
from benchmarks.reporting.cells import cell_text
from benchmarks.reporting.labels import parse_nicknames
from benchmarks.reporting.leaderboard import make_tables
from benchmarks.reporting.page import page
from benchmarks.reporting.report import Report
from tests.conftest import ROOT
from tests.reporting.fakes import add_run, sheet

AMOUNTS = ("1,000", "9,000")


def test_a_row_is_mean_and_deviation_over_seeds(runs: list[Run]) -> None:
    (table,) = make_tables(runs)
    rows = {row.label: row for row in table.rows}
    assert rows["vae"].cells["fid"].mean == pytest.approx(12.0)
    assert rows["vae"].cells["fid"].deviation == pytest.approx(2.0)
    assert rows["vae"].seeds == "3"
    assert cell_text(rows["vae"].cells["fid"]) == "12.0 ± 2.0"


def test_scores_stand_in_the_parts_of_what_they_measure_and_unknown_ones_apart(tmp_path: Path) -> None:
    path = add_run(tmp_path, "vae", 0, {})
    names = ["unheard_of", "ais", "fid", "recon_mse", "inversion_mse", "fid_fitted", "kid", "iwae"]
    scores = [Score(name, 1.0, "", None, 100) for name in names]
    write_sheet(path, ScoreSheet({"name": "quick", "split": "test"}, "p1", "scored", scores))
    write_sheet(tmp_path / "digits" / BASELINES / "d1" / "real train", sheet({"fid": 0.1}))
    (table,) = make_tables(find_runs(tmp_path))
    parts = {part: [column.name for column in columns] for part, columns, _ in table.parts}
    assert parts.pop("Cost")
    assert parts == {
        "Samples": ["fid", "kid"],
        "Likelihood": ["iwae", "ais"],
        "Reconstruction": ["recon_mse", "inversion_mse"],
        "The detour": ["fid_fitted"],
        "Other scores": ["unheard_of"],
    }
    # a baseline row stands where it has a number
    rows = {part: [row.label for row in rows] for part, _, rows in table.parts}
    assert rows["Samples"] == ["vae", "real train"]
    assert rows["Likelihood"] == ["vae"]


@pytest.mark.parametrize(
    ("score", "title"),
    [
        (Score("fid", 1.0, "", False, 10_000, {"encoder": "mnist-cnn", "reference": 9}), "FID (mnist-cnn, 10k)"),
        (Score("recall", 1.0, "", True, 500, {"encoder": "cnn", "neighbours": 5}), "recall (cnn, k = 5, 500)"),
        (Score("iwae", 1.0, "nats", True, 1000, {"k": 5000}), "IWAE (K = 5,000, 1k)"),
        (Score("ais", 1.0, "nats", True, 32, {"temperatures": 1000}), "AIS (1,000 temperatures, 32)"),
        (Score("active_units", 3.0, "", None, 450, {"of": 16}), "active units (of 16)"),
        (Score("modes", 3.0, "", None, 26_000, {"of": 1000, "encoder": "mnist-cnn"}), "modes (mnist-cnn, of 1,000)"),
        (Score("elbo", 3.0, "nats", None, 26_000), "ELBO"),
    ],
)
def test_a_title_says_what_the_number_depends_on(score: Score, title: str, tmp_path: Path) -> None:
    path = add_run(tmp_path, "vae", 0, {})
    write_sheet(path, ScoreSheet({"name": "quick", "split": "test"}, "p1", "scored", [score]))
    (table,) = make_tables(find_runs(tmp_path))
    assert title in [column.title for column in table.columns]


def test_a_run_whose_samples_are_no_numbers_has_diverged(tmp_path: Path) -> None:
    add_run(tmp_path, "gan", 0, {"fid": 3.0, "recon_mse": 1.0})
    bad = add_run(tmp_path, "gan", 1, {})
    scores = [Score("fid", None, "", False, 0, {"reason": "not finite"}), Score("recon_mse", 3.0, "", False, 9)]
    write_sheet(bad, ScoreSheet({"name": "quick", "split": "test"}, "p1", "diverged", scores))
    (table,) = make_tables(find_runs(tmp_path))
    (row,) = table.rows
    assert row.seeds == "1, 1 diverged"
    assert cell_text(row.cells["fid"]) == "3 (1 of 2)"
    assert row.cells["recon_mse"].mean == 2.0


def test_a_class_that_was_left_out_is_named(runs: list[Run]) -> None:
    (table,) = make_tables(runs)
    assert "left out" not in table.notes
    assert "class 4 left out" in replace(table, data={**table.data, "leave_out": 4}).notes


def test_a_damaged_baseline_is_named_and_the_others_stand(runs: list[Run], tmp_path: Path, capsys: Any) -> None:
    (path,) = (tmp_path / "digits" / BASELINES / "d1" / "pixel noise").glob("scores/*.json")
    path.write_text("{")
    (table,) = make_tables(runs)
    assert [row.label for row in table.rows if row.is_baseline] == ["real train"]
    assert f"{path} is damaged" in capsys.readouterr().err


def test_a_seed_without_a_value_is_not_dropped_unseen(tmp_path: Path) -> None:
    for seed, fid in enumerate([1.0, 3.0, None]):
        add_run(tmp_path, "vae", seed, {"fid": fid})
    (table,) = make_tables(find_runs(tmp_path))
    assert cell_text(table.rows[0].cells["fid"]) == "2.0 ± 1.4 (2 of 3)"


def test_a_diverged_run_is_counted_and_not_averaged(runs: list[Run]) -> None:
    (table,) = make_tables(runs)
    (gan,) = [row for row in table.rows if row.label == "gan"]
    assert gan.seeds == "3, 1 diverged"
    assert gan.cells["fid"].n == 3


def test_baselines_of_the_same_data_and_protocol_stand_in_the_table(runs: list[Run]) -> None:
    (table,) = make_tables(runs)
    assert [(row.label, row.cells["fid"].mean) for row in table.rows if row.is_baseline] == [
        ("real train", 0.1),
        ("pixel noise", 900.0),
    ]


def test_a_baseline_without_any_number_is_named_with_its_reason(tmp_path: Path) -> None:
    add_run(tmp_path, "vae", 0, {"fid": 1.0})
    (table,) = make_tables(find_runs(tmp_path))
    assert table.remarks == []
    for name, value in (("real train", None), ("pixel noise", 2.0)):
        write_sheet(tmp_path / "digits" / "_baselines" / "d1" / name, sheet({"fid": value}))
    (table,) = make_tables(find_runs(tmp_path))
    assert table.remarks == ["real train is missing: does not bound"]
    assert "Note:</strong> real train is missing" in page(Report(tables=[table]))


def test_the_best_is_marked_in_the_columns_direction_and_a_baseline_never_is(runs: list[Run]) -> None:
    (table,) = make_tables(runs)
    best = {(row.label, name) for row in table.rows for name, cell in row.cells.items() if cell.is_best}
    assert ("gan", "fid") in best
    assert ("real train", "fid") not in best
    assert not {label for label, name in best if name == "elbo"}, "one bound alone is not the best of anything"


def test_headers_name_what_a_number_depends_on(runs: list[Run]) -> None:
    (table,) = make_tables(runs)
    assert "FID (digits-cnn, 1k)" in [column.title for column in table.columns]


@pytest.mark.parametrize("change", [{"protocol_id": "p2"}, {"network": "dcgan"}])
def test_numbers_that_are_not_comparable_never_meet(change: dict[str, Any], tmp_path: Path) -> None:
    add_run(tmp_path, "vae", 0, {"fid": 1.0})
    add_run(tmp_path, "gan", 0, {"fid": 2.0}, **change)
    assert [len([r for r in t.rows if not r.is_baseline]) for t in make_tables(find_runs(tmp_path))] == [1, 1]


def test_configurations_of_one_model_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    add_run(tmp_path, "vae", 0, {"fid": 1.0}, config="c1", beta=1.0)
    add_run(tmp_path, "vae", 0, {"fid": 2.0}, config="c2", beta=4.0)
    (table,) = make_tables(find_runs(tmp_path))
    assert [row.label for row in table.rows] == ["vae (beta=1.0)", "vae (beta=4.0)"]


def test_settings_are_brief_in_labels_and_still_tell_rows_apart(tmp_path: Path) -> None:
    for i, beta in enumerate([0.12345678, 0.12349999, 0.5]):
        add_run(tmp_path, "vae", 0, {"fid": 1.0}, config=f"c{i}", beta=beta)
    (table,) = make_tables(find_runs(tmp_path))
    assert sorted(row.label for row in table.rows) == ["vae (beta=0.5)", "vae (c0)", "vae (c1)"]


def test_folders_of_two_machines_are_in_no_label(tmp_path: Path) -> None:
    for i in range(2):
        path = add_run(tmp_path, "vae", 0, {"fid": 1.0}, config=f"c{i}")
        folders = {"data_dir": f"/{i}/data", "cache_dir": f"/{i}/cache", "folder": f"/{i}/photos"}
        (path / "config.yaml").write_text(yaml.safe_dump({"model": {"beta": i + 1}, "datamodule": folders}))
    (table,) = make_tables(find_runs(tmp_path))
    assert sorted(row.label for row in table.rows) == ["vae (beta=1)", "vae (beta=2)"]


def test_a_class_is_named_after_its_part_and_what_a_row_lacks_is_not_in_its_label(tmp_path: Path) -> None:
    bernoulli = {"_target_": "models.likelihoods.Bernoulli"}
    gaussian = {"_target_": "models.likelihoods.Gaussian", "squash": {"_target_": "torch.nn.Sigmoid"}}
    parts = [bernoulli, {**gaussian, "scale": "fixed"}, {**gaussian, "scale": "learned"}]
    for i, likelihood in enumerate(parts):
        path = add_run(tmp_path, "vae", 0, {"fid": 1.0}, config=f"c{i}")
        (path / "config.yaml").write_text(yaml.safe_dump({"model": {"likelihood": likelihood}}))
    (table,) = make_tables(find_runs(tmp_path))
    expected = ["Bernoulli", "Gaussian, scale=fixed", "Gaussian, scale=learned"]
    assert sorted(row.label for row in table.rows) == [f"vae (likelihood={words})" for words in expected]


def test_a_trial_of_a_search_is_no_row(tmp_path: Path) -> None:
    add_run(tmp_path, "vae", 0, {"fid": 1.0})
    path = add_run(tmp_path, "vae", 1, {}, config="c2")
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(record | {"search": {"role": "trial"}}))
    (path / "scores" / "quick-p1.json").unlink()
    on_validation = sheet({"fid": 5.0}, "v1")
    on_validation.protocol["split"] = "val"
    write_sheet(path, on_validation)
    (table,) = make_tables(find_runs(tmp_path))
    assert [(row.label, row.cells["fid"].mean) for row in table.rows] == [("vae", 1.0)]
    # somebody asked for it again, as for any run
    write_sheet(path, sheet({"fid": 5.0}))
    (table,) = make_tables(find_runs(tmp_path))
    assert sorted(row.cells["fid"].mean or 0 for row in table.rows) == [1.0, 5.0]


def test_a_copy_of_a_run_is_no_other_seed(tmp_path: Path, capsys: Any) -> None:
    for folder in ("a", "b"):
        add_run(tmp_path / folder, "vae", 0, {"fid": 1.0})
    bad: list[RecordError] = []
    (table,) = make_tables(find_all([tmp_path], bad.append))
    assert not bad
    assert [row.seeds for row in table.rows] == ["1"]
    assert "is a copy of" in capsys.readouterr().err


def test_budgets_that_differ_are_pointed_out(tmp_path: Path) -> None:
    for seed, amount in enumerate([1000, 2000]):
        path = add_run(tmp_path, "vae", seed, {"fid": 1.0})
        record = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps(record | {"budget": {"unit": "images", "amount": amount}}))
    (table,) = make_tables(find_runs(tmp_path))
    assert "DIFFERENT budgets" in table.notes
    row = replace(table.rows[0], runs=table.rows[0].runs[:1])
    assert "budget 1,000 images each" in replace(table, rows=[row]).notes


def test_rows_of_different_budgets_are_marked_and_compared_apart(tmp_path: Path) -> None:
    """Measured once: a row of ten times the budget was bold, and † marked rows of the small budget."""
    for config, amount, shift in (("c1", 1000, 0.0), ("c2", 9000, -3.0)):
        for model, mean in (("vae", 9.0), ("gan", 5.0), ("wgan", 5.0)):
            for seed in range(5):
                fid = mean + shift + 0.1 * seed + 0.01 * (model == "wgan")
                path = add_run(tmp_path, model, seed, {"fid": fid}, config=config)
                record = json.loads((path / "run.json").read_text())
                (path / "run.json").write_text(json.dumps(record | {"budget": {"unit": "images", "amount": amount}}))
    (table,) = make_tables(find_runs(tmp_path))
    assert "DIFFERENT budgets: best, †, ranks and p-values are among rows of one budget" in table.notes
    by_budget = {amount: [row for row in table.rows if f"[budget {amount} images]" in row.label] for amount in AMOUNTS}
    for rows in by_budget.values():
        assert {row.model: row.cells["fid"].is_best for row in rows} == {"gan": True, "vae": False, "wgan": False}
        assert {row.model: row.cells["fid"].is_tied for row in rows} == {"gan": False, "vae": False, "wgan": True}
        ranks = {row.model: (row.cells["fid"].rank or (0,))[0] for row in rows}
        assert ranks == {"gan": 1, "wgan": 2, "vae": 3}
    of_one = [{row.label for row in rows} for rows in by_budget.values()]
    pairs = [{c.a, c.b} for c in table.comparisons if c.column == "fid"]
    assert len(pairs) == 6
    assert all(any(pair <= labels for labels in of_one) for pair in pairs)


def test_a_seed_without_the_tables_protocol_counts_as_a_seed_without_a_value(tmp_path: Path) -> None:
    """Measured once: 44 of 50 seeds had no sheet of a protocol, and its table did not know of them."""
    for seed in range(3):
        path = add_run(tmp_path, "gan", seed, {"fid": 5.0 + seed}, protocol_id="p1")
        if seed < 2:
            write_sheet(
                path, replace(sheet({"fid": 5.0 + seed}, "p2"), protocol=sheet({}).protocol | {"name": "standard"})
            )
    first, second = make_tables(find_runs(tmp_path))
    assert (first.protocol_id, second.protocol_id) == ("p1", "p2")
    assert [len(table.models[0].runs) for table in (first, second)] == [3, 3]
    assert [len(table.models[0].measured) for table in (first, second)] == [3, 3]
    assert [len(table.models[0].values("fid")) for table in (first, second)] == [3, 2]


def test_a_nickname_labels_a_row_and_never_hides_its_model(tmp_path: Path) -> None:
    for config, beta in (("c1", 1.0), ("c2", 4.0), ("c3", 9.0)):
        path = add_run(tmp_path, "vae", 0, {"fid": 1.0}, config=config, beta=beta)
        if config != "c3":
            record = json.loads((path / "run.json").read_text())
            (path / "run.json").write_text(json.dumps(record | {"nickname": "gan"}))
    (table,) = make_tables(find_runs(tmp_path))
    assert sorted(row.label for row in table.models) == ["vae (beta=9.0)", "vae: gan (c1)", "vae: gan (c2)"]
    (table,) = make_tables(find_runs(tmp_path), nicknames={"c2": "heavy", "c3": "heavier"})
    assert sorted(row.label for row in table.models) == ["vae: gan", "vae: heavier", "vae: heavy"]


def test_the_documented_nicknames_are_read_as_a_shell_and_hydra_pass_them_on() -> None:
    texts = re.findall(r"`([^`]*nicknames=\[[^`]+)`", (ROOT / "docs" / "paper_table.md").read_text(encoding="utf-8"))
    overrides = OverridesParser.create().parse_overrides([word for text in texts for word in shlex.split(text)])
    names = [parse_nicknames(override.value()) for override in overrides]
    assert names == [{"4c8104c8": "wide"}, {"4c8104c8": "wide, deep"}]


@pytest.mark.parametrize("words", [["c1"], ["c1:"], [":x"], ["c1:\x1b[31m"], ["c1:" + "x" * 61], [7]])
def test_what_is_no_nickname_is_one_line(words: list[Any]) -> None:
    with pytest.raises(UserError, match="expected the id of a configuration and a name"):
        parse_nicknames(words)
