"""LaTeX and CSV."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.errors import UserError
from benchmarks.records.runs import Run, find_runs
from benchmarks.reporting.claim_files import load_claims
from benchmarks.reporting.exports import _csv, leaderboard_csv
from benchmarks.reporting.latex import MOST_COLUMNS, latex
from benchmarks.reporting.leaderboard import make_tables
from benchmarks.reporting.report import Report
from benchmarks.reporting.verdicts import answer_all
from tests.reporting.fakes import add_run


def test_latex_has_every_row_and_escapes_what_a_record_says(tmp_path: Path) -> None:
    add_run(tmp_path, "a_b & 50% $x$ #1 {~^}\\|", 0, {"fid": 1.0})
    text = latex(Report(tables=make_tables(find_runs(tmp_path))))
    row = next(line for line in text.splitlines() if line.startswith("a"))
    assert row.startswith(
        r"a\_b \& 50\% \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\}\textbackslash{}\textbar{} & 1 & "
    )
    assert "Too few seeds" in text
    assert "is not significantly worse" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule")


def test_latex_tables_have_captions_labels_and_widths_that_fit_and_claims_come_last(runs: list[Run]) -> None:
    tables = make_tables(runs)
    text = latex(Report(tables=tables, answers=answer_all(load_claims(), tables)))
    whole = [body.split(r"\end{table}")[0] for body in text.split(r"\begin{table}")[1:]]
    labels = re.findall(r"\\label{([^}]*)}", text)
    assert (
        len(whole) == len(labels) == len(set(labels)) == text.count(r"\caption{") >= 5
    )  # samples, likelihood, cost in two
    assert labels[-1] == "tab:claims"
    for body in whole[:-1]:
        (columns,) = re.findall(r"\\begin{tabular}{@{}l(r+)@{}}", body)
        assert len(columns) <= 1 + MOST_COLUMNS
        lines = body.split(r"\toprule")[1].split(r"\bottomrule")[0].splitlines()
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines if line.endswith(r"\\")} == {len(columns)}
    assert "FID: digits-cnn, 1k." in text
    assert r" & FID $\downarrow$ \\" in text


def test_latex_has_the_columns_that_were_asked_for_in_their_order(runs: list[Run]) -> None:
    text = latex(Report(tables=make_tables(runs)), ["elbo", "fid"])
    assert text.count(r"\begin{table}") == 1
    assert r"model & seeds & ELBO $\uparrow$ & FID $\downarrow$ \\" in text
    with pytest.raises(UserError, match=r"latex\.columns has 'fdi'; expected some of elbo, fid"):
        latex(Report(tables=make_tables(runs)), ["fdi"])


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_spreadsheet_takes_no_text_of_a_record_for_a_formula(start: str, tmp_path: Path) -> None:
    add_run(tmp_path, f"{start}1+1", 0, {"fid": 1.0, "elbo": -3.0})
    lines = {
        line["column"]: line for line in csv.DictReader(io.StringIO(leaderboard_csv(make_tables(find_runs(tmp_path)))))
    }
    fid, elbo = lines["fid"], lines["elbo"]
    assert fid["row"] == fid["model"] == f"'{start}1+1"
    assert fid["mean"] == "1.0"
    assert elbo["mean"] == "-3.0", "a number is a number"


@given(st.lists(st.none() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False), max_size=8))
def test_a_number_of_a_csv_is_the_number(numbers: list[float | None]) -> None:
    line = ["=1", True, 1, *numbers, "-x", None]
    (cells,) = csv.reader(io.StringIO(_csv([], [line]).partition("\n")[2]))
    assert cells[:3] + cells[len(numbers) + 3 :] == ["'=1", "True", "1", "'-x", ""]
    assert [float(cell) if cell else None for cell in cells[3:-2]] == numbers


def test_the_csv_holds_every_cell(runs: list[Run]) -> None:
    rows = list(csv.DictReader(io.StringIO(leaderboard_csv(make_tables(runs)))))
    (fid,) = [row for row in rows if row["row"] == "vae" and row["column"] == "fid"]
    assert (float(fid["mean"]), float(fid["deviation"]), int(fid["seeds"])) == (12.0, 2.0, 3)
    (none,) = [row for row in rows if row["row"] == "gan" and row["column"] == "elbo"]
    assert (none["mean"], none["reason"]) == ("", "does not bound")
