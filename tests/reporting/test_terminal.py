"""Tables in the terminal: every number and every word of a heading is whole, at any width."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.records.runs import Score, ScoreSheet, find_runs, write_sheet
from benchmarks.reporting.leaderboard import make_tables
from benchmarks.reporting.table import Table
from benchmarks.reporting.terminal import TERMINAL_ROWS, print_tables, text_of
from tests.reporting.fakes import add_run

NAMES = (
    "fid",
    "fid_inf",
    "kid",
    "mind",
    "precision",
    "recall",
    "density",
    "coverage",
    "modes",
    "mode_kl",
    "high_quality",
)
LONG = "a-model-whose-name-is-longer-than-a-third-of-eighty-characters"


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Eleven scores of samples of two models, with long numbers and a long name."""
    for model in ("vae", LONG):
        for seed in range(2):
            path = add_run(tmp_path, model, seed, {})
            scores = [Score(name, 12345.678 + i + seed / 7, "nats", False, 1000) for i, name in enumerate(NAMES)]
            write_sheet(path, ScoreSheet({"name": "quick", "split": "test"}, "p1", "scored", scores))
    (table,) = make_tables(find_runs(tmp_path))
    return table


@pytest.mark.parametrize("width", [60, 80, 140, 400])
def test_no_number_and_no_word_of_a_heading_is_broken(table: Table, width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        print_tables(console, [table])
    text = captured.get()
    assert "…" not in text
    _, columns, _ = table.parts[0]
    for i, column in enumerate(columns):
        assert text.count(f"{12345.678 + i + 1 / 14:,.2f} ± 0.10") == 2, column.name
        assert all(re.search(rf"(?<![^\s│┃]){re.escape(word)}(?![^\s│┃])", text) for word in column.heading.split())
    folded = "".join(line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│"))
    assert text.count("vae") == text.count("model ") == folded.count(LONG)
    assert text.count(", continued") == text.count("model ") - len(table.parts)
    assert (", continued" in text) == (width < 400)
    assert max(map(len, text.splitlines())) <= max(width, 60)


def test_the_rest_of_a_long_table_is_on_the_page(tmp_path: Path) -> None:
    for i in range(TERMINAL_ROWS + 3):
        add_run(tmp_path, "vae", 0, {"fid": 1.0 + i}, config=f"{i:08x}", beta=float(i))
    text = text_of(print_tables, make_tables(find_runs(tmp_path)))
    assert text.count("3 more rows are on the page") == text.count("model ")
    assert f"beta={TERMINAL_ROWS - 1}" in text
