"""Intervals, ranks and comparisons of rows with enough seeds."""

from benchmarks.records.runs import Run
from benchmarks.reporting.exports import comparisons_csv, markdown
from benchmarks.reporting.leaderboard import make_tables
from benchmarks.reporting.page import page
from benchmarks.reporting.report import Report


def test_rows_with_seeds_enough_have_intervals_ranks_and_comparisons(five_seeds: list[Run]) -> None:
    (table,) = make_tables(five_seeds)
    cells = {row.label: row.cells["fid"] for row in table.rows}
    low, high = cells["vae"].interval or (0, 0)
    assert 10.0 <= low < 10.2 < high <= 10.4
    assert {label: cell.rank for label, cell in cells.items()}["vae"] == (3, 3, 3)
    pairs = {(c.a, c.b): c for c in table.comparisons if c.column == "fid"}
    assert set(pairs) == {("vae", "gan"), ("vae", "wgan"), ("gan", "wgan")}
    assert pairs["vae", "gan"].adjusted_p < 1e-4
    assert pairs["gan", "wgan"].adjusted_p > 0.05
    assert pairs["gan", "wgan"].adjusted_p == max(c.adjusted_p for c in pairs.values())
    line = comparisons_csv([table]).splitlines()[1]
    assert line.startswith("digits,d1,mlp,quick,p1,fid,vae,gan,")


def test_a_row_with_too_few_seeds_gets_no_statement_and_the_report_says_so(five_seeds: list[Run]) -> None:
    (table,) = make_tables(five_seeds)
    cells = {row.label: row.cells["fid"] for row in table.rows}
    assert cells["ae"].is_best  # by its number
    assert cells["ae"].interval is None
    assert cells["ae"].rank is None
    assert not any(cell.is_tied for cell in cells.values()), "tied with what one seed says"
    for text in (page(Report(tables=[table])), markdown(Report(tables=[table]))):
        assert "Too few seeds for intervals, ranks and comparisons (5 finished seeds are needed): ae (1)." in text
    assert not make_tables(five_seeds, min_seeds=6)[0].comparisons


def test_rows_that_chance_may_have_ordered_share_the_best(five_seeds: list[Run]) -> None:
    (table,) = make_tables([run for run in five_seeds if "ae" not in run.path.parts])
    cells = {row.label: row.cells["fid"] for row in table.rows}
    assert cells["gan"].is_best
    assert cells["wgan"].is_tied
    assert not cells["vae"].is_tied
    assert "5.25 ± 0.16†" in markdown(Report(tables=[table]))
