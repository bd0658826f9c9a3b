"""From records to tables and a page: what is compared, what is marked, and what is escaped."""

import csv
import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks import uncertainty
from benchmarks.claims import parse_claim
from benchmarks.exports import comparisons_csv, latex, leaderboard_csv, markdown
from benchmarks.leaderboard import Cell, cell_text, number, tables
from benchmarks.page import page
from benchmarks.report import build
from benchmarks.runs import CALIBRATION, Run, Score, ScoreSheet, find_runs, write_record, write_sheet, write_text
from benchmarks.verdicts import answer_all

EVIL = '<script>alert("1")</script>|`*'


def add_run(
    root: Path,
    model: str,
    seed: int,
    scores: dict[str, float | None],
    status: str = "finished",
    protocol_id: str = "p1",
    network: str = "mlp",
    config: str = "c1",
    error: str | None = None,
    beta: float = 1.0,
) -> Path:
    path = root / "digits" / model.replace("/", "_") / config / f"seed={seed}"
    data = {"name": "digits", "id": "d1", "sizes": {"test": 450}, "binarize": "none", "dequantize": False}
    names = {"model": model, "network": network, "datamodule": "digits"}
    cost = {"parameters": 10, "train_seconds": 2.0, "images_per_second": 5.0, "peak_memory_bytes": 2**20}
    write_record(
        path,
        {"status": status, "seed": seed, "config_id": config, "names": names, "data": data, "error": error}
        | {"command": f"python -m benchmarks.train model={model} seed={seed}"}
        | {"spent": {"images": 100, "updates": 7}, "cost": cost | {"sampling_images_per_second": 9.0}},
    )
    write_text(path / "config.yaml", f"model: {{beta: {beta}}}\ndatamodule: {{}}\nbudget: {{}}\n")
    if status == "finished":
        write_sheet(path, sheet(scores, protocol_id))
    return path


def sheet(scores: dict[str, float | None], protocol_id: str = "p1") -> ScoreSheet:
    better = {"fid": False, "elbo": True, "recon_mse": False}
    made = [
        Score(name, value, "", better[name], 1000, {"encoder": "digits-cnn"} if name == "fid" else {"reason": EVIL})
        if value is not None
        else Score(name, None, "", better[name], 0, {"reason": "does not bound"})
        for name, value in scores.items()
    ]
    protocol = {"name": "quick", "split": "test", "samples": 1000, "encoder": "digits-cnn"}
    return ScoreSheet(protocol, protocol_id, "scored", made)


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    for seed, (vae, gan) in enumerate([(10.0, 5.0), (12.0, 7.0), (14.0, 9.0)]):
        add_run(tmp_path, "vae", seed, {"fid": vae, "elbo": -20.0 - seed})
        add_run(tmp_path, "gan", seed, {"fid": gan, "elbo": None})
    add_run(tmp_path, "gan", 3, {}, status="diverged", error="the critic's loss is nan")
    write_sheet(tmp_path / "digits" / CALIBRATION / "d1" / "real train", sheet({"fid": 0.1}))
    write_sheet(tmp_path / "digits" / CALIBRATION / "d1" / "pixel noise", sheet({"fid": 900.0}))
    write_sheet(tmp_path / "digits" / CALIBRATION / "other" / "real train", sheet({"fid": 77.0}))
    return find_runs(tmp_path)


def test_a_row_is_mean_and_deviation_over_seeds(runs: list[Run]) -> None:
    (table,) = tables(runs)
    rows = {row.label: row for row in table.rows}
    assert rows["vae"].cells["fid"].mean == pytest.approx(12.0)
    assert rows["vae"].cells["fid"].deviation == pytest.approx(2.0)
    assert rows["vae"].seeds == "3"
    assert cell_text(rows["vae"].cells["fid"]) == "12.0 ± 2.0"


def test_a_run_that_is_named_twice_counts_once(runs: list[Run], tmp_path: Path, capsys: Any) -> None:
    build([run.path for run in runs] + [tmp_path], tmp_path / "out", "x")
    assert "| vae | 3 |" in (tmp_path / "out" / "leaderboard.md").read_text()


def test_scores_stand_in_the_parts_of_what_they_measure_and_unknown_ones_apart(tmp_path: Path) -> None:
    path = add_run(tmp_path, "vae", 0, {})
    names = ["unheard_of", "ais", "fid", "recon_mse", "inversion_mse", "fid_fitted", "kid", "iwae"]
    scores = [Score(name, 1.0, "", None, 100) for name in names]
    write_sheet(path, ScoreSheet({"name": "quick", "split": "test"}, "p1", "scored", scores))
    write_sheet(tmp_path / "digits" / CALIBRATION / "d1" / "real train", sheet({"fid": 0.1}))
    (table,) = tables(find_runs(tmp_path))
    parts = {part: [column.name for column in columns] for part, columns, _ in table.parts}
    assert parts.pop("Cost")
    assert parts == {
        "Samples": ["fid", "kid"],
        "Likelihood": ["iwae", "ais"],
        "Reconstruction": ["recon_mse", "inversion_mse"],
        "The detour": ["fid_fitted"],
        "Other scores": ["unheard_of"],
    }
    # a calibration row stands where it has a number
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
    (table,) = tables(find_runs(tmp_path))
    assert title in [column.title for column in table.columns]


def test_a_run_whose_samples_are_no_numbers_has_diverged(tmp_path: Path) -> None:
    add_run(tmp_path, "gan", 0, {"fid": 3.0, "recon_mse": 1.0})
    bad = add_run(tmp_path, "gan", 1, {})
    scores = [Score("fid", None, "", False, 0, {"reason": "not finite"}), Score("recon_mse", 3.0, "", False, 9)]
    write_sheet(bad, ScoreSheet({"name": "quick", "split": "test"}, "p1", "diverged", scores))
    (table,) = tables(find_runs(tmp_path))
    (row,) = table.rows
    assert row.seeds == "1, 1 diverged"
    assert cell_text(row.cells["fid"]) == "3 (1 of 2)"
    assert row.cells["recon_mse"].mean == 2.0


def test_a_class_that_was_left_out_is_named(runs: list[Run]) -> None:
    (table,) = tables(runs)
    assert "left out" not in table.notes
    table.data["leave_out"] = 4
    assert "class 4 left out" in table.notes


def test_a_damaged_calibration_row_is_named_and_the_others_stand(runs: list[Run], tmp_path: Path, capsys: Any) -> None:
    (path,) = (tmp_path / "digits" / CALIBRATION / "d1" / "pixel noise").glob("scores/*.json")
    path.write_text("{")
    (table,) = tables(runs)
    assert [row.label for row in table.rows if row.is_calibration] == ["real train"]
    assert f"{path} is damaged" in capsys.readouterr().err


def test_a_seed_without_a_value_is_not_dropped_unseen(tmp_path: Path) -> None:
    for seed, fid in enumerate([1.0, 3.0, None]):
        add_run(tmp_path, "vae", seed, {"fid": fid})
    (table,) = tables(find_runs(tmp_path))
    assert cell_text(table.rows[0].cells["fid"]) == "2.0 ± 1.4 (2 of 3)"


def test_a_diverged_run_is_counted_and_not_averaged(runs: list[Run]) -> None:
    (table,) = tables(runs)
    (gan,) = [row for row in table.rows if row.label == "gan"]
    assert gan.seeds == "3, 1 diverged"
    assert gan.cells["fid"].n == 3


def test_calibration_rows_of_the_same_data_and_protocol_stand_in_the_table(runs: list[Run]) -> None:
    (table,) = tables(runs)
    assert [(row.label, row.cells["fid"].mean) for row in table.rows if row.is_calibration] == [
        ("real train", 0.1),
        ("pixel noise", 900.0),
    ]


def test_the_best_is_marked_in_the_columns_direction_and_calibration_never_is(runs: list[Run]) -> None:
    (table,) = tables(runs)
    best = {(row.label, name) for row in table.rows for name, cell in row.cells.items() if cell.is_best}
    assert ("gan", "fid") in best
    assert ("real train", "fid") not in best
    assert not {label for label, name in best if name == "elbo"}, "one bound alone is not the best of anything"


def test_headers_name_what_a_number_depends_on(runs: list[Run]) -> None:
    (table,) = tables(runs)
    assert "FID (digits-cnn, 1k)" in [column.title for column in table.columns]


@pytest.mark.parametrize("change", [{"protocol_id": "p2"}, {"network": "dcgan"}])
def test_numbers_that_are_not_comparable_never_meet(change: dict[str, Any], tmp_path: Path) -> None:
    add_run(tmp_path, "vae", 0, {"fid": 1.0})
    add_run(tmp_path, "gan", 0, {"fid": 2.0}, **change)
    assert [len([r for r in t.rows if not r.is_calibration]) for t in tables(find_runs(tmp_path))] == [1, 1]


def test_configurations_of_one_model_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    add_run(tmp_path, "vae", 0, {"fid": 1.0}, config="c1", beta=1.0)
    add_run(tmp_path, "vae", 0, {"fid": 2.0}, config="c2", beta=4.0)
    (table,) = tables(find_runs(tmp_path))
    assert [row.label for row in table.rows] == ["vae (beta=1.0)", "vae (beta=4.0)"]


def test_settings_are_brief_in_labels_and_still_tell_rows_apart(tmp_path: Path) -> None:
    for i, beta in enumerate([0.12345678, 0.12349999, 0.5]):
        add_run(tmp_path, "vae", 0, {"fid": 1.0}, config=f"c{i}", beta=beta)
    (table,) = tables(find_runs(tmp_path))
    assert sorted(row.label for row in table.rows) == ["vae (beta=0.5)", "vae (c0)", "vae (c1)"]


def test_a_sweep_in_which_nothing_finished_is_still_a_table(tmp_path: Path) -> None:
    add_run(tmp_path, "gan", 0, {}, status="failed", error="out of memory")
    (table,) = tables(find_runs(tmp_path))
    assert [row.seeds for row in table.rows] == ["0, 1 failed"]
    assert "out of memory" in page([table], find_runs(tmp_path), {}, "x")


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_whatever_comes_from_a_record_is_escaped(tmp_path: Path) -> None:
    add_run(tmp_path, EVIL, 0, {"fid": 1.0, "elbo": -3.0})
    add_run(tmp_path, EVIL, 1, {}, status="failed", error=EVIL)
    runs = find_runs(tmp_path)
    found = tables(runs)
    text = without_scripts(page(found, [run for run in runs if run.status == "failed"], {}, EVIL))
    assert "<script" not in text
    assert EVIL not in page(found, [], {}, EVIL).split('id="data">')[1].split("</script>")[0]
    assert html.escape(EVIL, quote=False).split("|")[0].replace('"', "&#34;") in text
    marked = markdown(found, [], EVIL)
    assert "<script" not in marked.replace("\\<", "")
    # scores and cost
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in marked.splitlines() if line.startswith("|")}
    assert len(widths) == 2, "a cell border came from a record"


def without_scripts(text: str) -> str:
    """The page less its own script, its data and the plotting library, which three elements hold."""
    return re.sub(r"<script.*?</script>", "", text, count=3, flags=re.DOTALL)


def test_the_page_is_one_file_that_a_screen_reader_can_read(runs: list[Run], tmp_path: Path) -> None:
    text = without_scripts(page(tables(runs), [], {}, "quickstart"))
    parser = Text()
    parser.feed(text)
    names = [tag for tag, _ in parser.tags]
    assert not {"script", "iframe"} & set(names)
    assert [attrs["href"] for tag, attrs in parser.tags if tag == "link"] == ["data:,"]
    assert "http" not in re.sub(r"<!doctype[^>]*>|http-equiv", "", text)
    assert "default-src 'none'" in text
    assert dict(parser.tags)["html"]["lang"] == "en"
    assert names.count("caption") == names.count("table") == 3  # samples, likelihood, cost
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in parser.tags if tag == "th")
    assert "nan" not in parser.text.lower().replace("quickstart", "")
    assert "lower is better" in parser.text
    assert any(attrs.get("name") == "viewport" for tag, attrs in parser.tags if tag == "meta")


def test_each_run_is_shown_with_the_command_that_repeats_it(runs: list[Run]) -> None:
    text = page(tables(runs), [], {}, "x")
    for seed in range(3):
        assert f"<code>python -m benchmarks.train model=vae seed={seed}</code>" in text
    assert "python -m benchmarks.replay runs=" in text
    assert 'href="' in text
    assert "vae/c1/seed=2/run.json" in text


def test_a_trial_of_a_search_is_no_row(tmp_path: Path) -> None:
    add_run(tmp_path, "vae", 0, {"fid": 1.0})
    path = add_run(tmp_path, "vae", 1, {}, config="c2")
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(record | {"search": {"role": "trial"}}))
    (path / "scores" / "quick-p1.json").unlink()
    on_validation = sheet({"fid": 5.0}, "v1")
    on_validation.protocol["split"] = "val"
    write_sheet(path, on_validation)
    (table,) = tables(find_runs(tmp_path))
    assert [(row.label, row.cells["fid"].mean) for row in table.rows] == [("vae", 1.0)]
    # somebody asked for it again, as for any run
    write_sheet(path, sheet({"fid": 5.0}))
    (table,) = tables(find_runs(tmp_path))
    assert sorted(row.cells["fid"].mean or 0 for row in table.rows) == [1.0, 5.0]


def test_a_copy_of_a_run_is_no_other_seed(tmp_path: Path, capsys: Any) -> None:
    for folder in ("a", "b"):
        add_run(tmp_path / folder, "vae", 0, {"fid": 1.0})
    (table,) = tables(find_runs(tmp_path))
    assert [row.seeds for row in table.rows] == ["1"]
    assert "is the same run as" in capsys.readouterr().err


@pytest.fixture
def five_seeds(tmp_path: Path) -> list[Run]:
    for seed in range(5):
        add_run(tmp_path, "vae", seed, {"fid": 10.0 + 0.1 * seed})
        add_run(tmp_path, "gan", seed, {"fid": 5.0 + 0.1 * seed})
        add_run(tmp_path, "wgan", seed, {"fid": 5.05 + 0.1 * seed})
    add_run(tmp_path, "ae", 0, {"fid": 3.0})
    return find_runs(tmp_path)


def test_rows_with_seeds_enough_have_intervals_ranks_and_comparisons(five_seeds: list[Run]) -> None:
    (table,) = found = tables(five_seeds)
    uncertainty.add(found)
    cells = {row.label: row.cells["fid"] for row in table.rows}
    low, high = cells["vae"].interval or (0, 0)
    assert 10.0 <= low < 10.2 < high <= 10.4
    assert {label: cell.rank for label, cell in cells.items()}["vae"] == (3, 3, 3)
    pairs = {(c.a, c.b): c for c in table.comparisons if c.column == "fid"}
    assert set(pairs) == {("vae", "gan"), ("vae", "wgan"), ("gan", "wgan")}
    assert pairs["vae", "gan"].adjusted_p < 1e-4
    assert pairs["gan", "wgan"].adjusted_p > 0.05
    assert pairs["gan", "wgan"].adjusted_p == max(c.adjusted_p for c in pairs.values())
    line = comparisons_csv(found).splitlines()[1]
    assert line.startswith("digits,d1,mlp,quick,p1,fid,vae,gan,")


def test_a_row_with_too_few_seeds_gets_no_statement_and_the_report_says_so(five_seeds: list[Run]) -> None:
    (table,) = found = tables(five_seeds)
    uncertainty.add(found)
    cells = {row.label: row.cells["fid"] for row in table.rows}
    assert cells["ae"].is_best  # by its number
    assert cells["ae"].interval is None
    assert cells["ae"].rank is None
    assert not any(cell.is_tied for cell in cells.values()), "tied with what one seed says"
    for text in (page(found, [], {}, "x"), markdown(found, [], "x")):
        assert "Too few seeds for intervals, ranks and comparisons, which need 5 finished ones: ae (1)." in text
    uncertainty.add(other := tables(five_seeds), min_seeds=6)
    assert not other[0].comparisons


def test_rows_that_chance_may_have_ordered_share_the_best(five_seeds: list[Run]) -> None:
    found = tables([run for run in five_seeds if "ae" not in run.path.parts])
    uncertainty.add(found)
    cells = {row.label: row.cells["fid"] for row in found[0].rows}
    assert cells["gan"].is_best
    assert cells["wgan"].is_tied
    assert not cells["vae"].is_tied
    assert "5.25 ± 0.16†" in markdown(found, [], "x")


def test_latex_has_every_row_and_escapes_what_a_record_says(tmp_path: Path) -> None:
    add_run(tmp_path, "a_b & 50% $x$ #1 {~^}\\|", 0, {"fid": 1.0})
    text = latex(tables(find_runs(tmp_path)))
    row = next(line for line in text.splitlines() if line.startswith("a"))
    assert row.startswith(
        r"a\_b \& 50\% \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\}\textbackslash{}\textbar{} & 1 & "
    )
    assert "Too few seeds" in text
    assert "is not significantly worse" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule")


def test_curves_of_seeds_meet_at_the_end_of_the_budget(tmp_path: Path) -> None:
    """A first step that takes long passes several of the first points in one, in one seed and not in the other."""
    for seed, text in enumerate(["10,90\n20,50\n40,30", "22,70\n42,10"]):
        path = add_run(tmp_path, "vae", seed, {"fid": 1.0})
        (path / "curve.csv").write_text(f"images,val_fid\n{text}\n")
    found = tables(find_runs(tmp_path))
    shown = page(found, [], {}, "x", out=tmp_path)
    data = json.loads(shown.partition('id="data">')[2].partition("</script>")[0])
    curve = data["tables"][0]["rows"][0]["curve"]
    assert [point["images"][0] for point in curve] == [10, 21, 41]
    assert [point["val_fid"][0] for point in curve] == [90, 60, 20]


def test_a_margin_below_zero_is_drawn(tmp_path: Path) -> None:
    """Not worse by more than a margin: the margin is below zero."""
    for seed in range(5):
        add_run(tmp_path, "vae", seed, {"fid": 10.0 + seed})
        add_run(tmp_path, "gan", seed, {"fid": 9.5 + seed})
    text = "title: t\nquantity: fid\nleft: gan\nright: vae\nexpect: lower\nmargin: -4\n"
    found = tables(find_runs(tmp_path))
    answers = answer_all([parse_claim("c", text)], found)
    assert answers[0].decisive is not None
    shown = page(found, [], {}, "x", answers, out=tmp_path)
    assert [float(width) > 0 for width in re.findall(r'<rect x="[\d.-]+" width="([\d.-]+)"', shown)] == [True]


def test_budgets_that_differ_are_pointed_out(tmp_path: Path) -> None:
    for seed, amount in enumerate([1000, 2000]):
        path = add_run(tmp_path, "vae", seed, {"fid": 1.0})
        record = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps(record | {"budget": {"unit": "images", "amount": amount}}))
    (table,) = tables(find_runs(tmp_path))
    assert "budgets DIFFER" in table.notes
    table.rows[0].runs.pop()
    assert "budget 1,000 images each" in table.notes


def test_the_csv_holds_every_cell(runs: list[Run]) -> None:
    rows = list(csv.DictReader(io.StringIO(leaderboard_csv(tables(runs)))))
    (fid,) = [row for row in rows if row["row"] == "vae" and row["column"] == "fid"]
    assert (float(fid["mean"]), float(fid["deviation"]), int(fid["seeds"])) == (12.0, 2.0, 3)
    (none,) = [row for row in rows if row["row"] == "gan" and row["column"] == "elbo"]
    assert (none["mean"], none["reason"]) == ("", "does not bound")


def test_a_report_is_rebuilt_byte_for_byte(runs: list[Run], tmp_path: Path, capsys: Any) -> None:
    for out in ("one", "two"):
        build([tmp_path], tmp_path / out, "again")
    first, second = (
        {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*") if path.is_file()}
        for out in ("one", "two")
    )
    assert first == second
    written = {"index.html", "leaderboard.md", "leaderboard.csv", "leaderboard.tex", "claims.csv", "comparisons.csv"}
    assert written <= {path.name for path in first}


def test_one_bad_record_does_not_cost_the_report(runs: list[Run], tmp_path: Path, capsys: Any) -> None:
    (runs[0].path / "run.json").write_text("{")
    build([tmp_path], tmp_path / "out", "x")
    assert "left out" in capsys.readouterr().err
    path = add_run(tmp_path, "vae", 0, {"fid": 1.0}, config="c2")
    (path / "config.yaml").write_text("{")
    build([tmp_path], tmp_path / "out", "x")
    assert f"{path / 'config.yaml'} cannot be read" in capsys.readouterr().err
    assert "vae (c2)" in (tmp_path / "out" / "leaderboard.md").read_text()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.012345, "0.01235"),
        (1.0, "1"),
        (312.0, "312"),
        (-19.618, "-19.62"),
        (1234567.0, "1,234,567"),
        (3e-9, "3.00e-09"),
    ],
)
def test_numbers_have_four_digits_that_mean_something(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(None), "—"),
        (Cell(12.345), "12.35"),
        (Cell(12.345, 0.0), "12.35"),
        (Cell(12.345, 1.26), "12.3 ± 1.3"),
        (Cell(1200.4, 250.0), "1,200 ± 250"),
        (Cell(0.01234, 0.00056), "0.01234 ± 0.00056"),
    ],
)
def test_a_mean_is_shown_to_the_place_of_its_deviation(cell: Cell, text: str) -> None:
    assert cell_text(cell) == text
