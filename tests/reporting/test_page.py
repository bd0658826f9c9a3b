"""The page: escaped, accessible, complete, and without any request to a network."""

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmarks.records.runs import Run, find_runs
from benchmarks.reporting.build import make_report
from benchmarks.reporting.claim_files import parse_claim
from benchmarks.reporting.claims import Claims
from benchmarks.reporting.exports import markdown
from benchmarks.reporting.latex import latex
from benchmarks.reporting.leaderboard import make_tables
from benchmarks.reporting.page import page
from benchmarks.reporting.report import Report
from benchmarks.reporting.verdicts import answer_all
from tests.reporting.fakes import EVIL, add_run


def test_a_sweep_in_which_nothing_finished_is_still_a_table(tmp_path: Path) -> None:
    add_run(tmp_path, "gan", 0, {}, status="failed", error="out of memory")
    (table,) = make_tables(find_runs(tmp_path))
    assert [row.seeds for row in table.rows] == ["0, 1 failed"]
    assert "out of memory" in page(Report(tables=[table], failures=find_runs(tmp_path)))


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
    failures = [run for run in runs if run.status == "failed"]
    report = Report(title=EVIL, tables=make_tables(runs), failures=failures)
    text = without_scripts(page(report))
    assert "<script" not in text
    assert EVIL not in page(report).split('id="data">')[1].split("</script>")[0]
    assert html.escape(EVIL, quote=False).split("|")[0].replace('"', "&#34;") in text
    marked = markdown(replace(report, failures=[]))
    assert "<script" not in marked.replace("\\<", "")
    # scores and cost
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in marked.splitlines() if line.startswith("|")}
    assert len(widths) == 2, "a cell border came from a record"


def without_scripts(text: str) -> str:
    """The page less its own script, its data and the plotting library, which three elements hold."""
    return re.sub(r"<script.*?</script>", "", text, count=3, flags=re.DOTALL)


def test_the_page_is_one_file_that_a_screen_reader_can_read(runs: list[Run], tmp_path: Path) -> None:
    text = without_scripts(page(Report(title="quickstart", tables=make_tables(runs))))
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
    text = page(Report(tables=make_tables(runs)))
    for seed in range(3):
        assert f"<code>python -m benchmarks.train model=vae seed={seed}</code>" in text
    assert "python -m benchmarks.replay runs=" in text
    assert 'href="' in text
    assert "vae/c1/seed=2/run.json" in text


def test_curves_of_seeds_meet_at_the_end_of_the_budget(tmp_path: Path) -> None:
    """A first step that takes long passes several of the first points in one, in one seed and not in the other."""
    for seed, text in enumerate(["10,90\n20,50\n40,30", "22,70\n42,10"]):
        path = add_run(tmp_path, "vae", seed, {"fid": 1.0})
        (path / "curve.csv").write_text(f"images,val_fid\n{text}\n")
    shown = page(Report(tables=make_tables(find_runs(tmp_path)), out=tmp_path))
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
    tables = make_tables(find_runs(tmp_path))
    answers = answer_all([parse_claim("c", text)], tables)
    assert answers[0].decisive is not None
    shown = page(Report(tables=tables, answers=answers, out=tmp_path))
    assert [float(width) > 0 for width in re.findall(r'<rect x="[\d.-]+" width="([\d.-]+)"', shown)] == [True]


@pytest.mark.parametrize(
    ("datamodules", "said"),
    [
        ((), "5%\n  at most for all claims on one data set and protocol together (Holm"),
        (("mnist", "ring"), "on mnist, ring together, under one protocol; any other data set adds 2.5% at most (Holm"),
    ],
)
def test_the_page_says_what_shares_the_error_rate(datamodules: tuple[str, ...], said: str, tmp_path: Path) -> None:
    for model in ("vae", "gan"):
        add_run(tmp_path, model, 0, {"fid": 10.0})
    claim = parse_claim("c", "title: t\nquantity: fid\nleft: gan\nright: vae\nexpect: lower\n")
    report = make_report([tmp_path], "t", Claims([claim], datamodules), 2)
    assert said in page(report)
    assert said.split(" (Holm")[0].split("at most ")[-1].replace("%", r"\%") in latex(report)
