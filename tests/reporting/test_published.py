"""The verdicts and tables in README and docs are those of the records in docs/records."""

import re
from pathlib import Path

import pytest

from benchmarks.records.searches import find_searches
from benchmarks.reporting.build import make_report
from benchmarks.reporting.cells import Cell, cell_text
from benchmarks.reporting.claim_files import load_claims
from benchmarks.reporting.numbers import number
from benchmarks.reporting.report import Report
from benchmarks.reporting.summary import verdicts_markdown
from benchmarks.reporting.trials import best_of_n
from tests.conftest import ROOT, choices

# data sets with published records
PUBLISHED = ("digits", "fashion_mnist", "mnist")


def tables_of(text: str) -> list[dict[str, dict[str, str]]]:
    """The tables of claims in a Markdown text: by claim and data set."""
    tables: list[list[list[str]]] = []
    is_inside = False
    for line in text.replace("\\_", "_").splitlines():
        if not (is_inside := line.startswith("| claim |") or (is_inside and line.startswith("|"))):
            continue
        if line.startswith("| claim |"):
            tables.append([])
        tables[-1].append([cell.strip() for cell in line.strip("| ").split(" | ")])
    return [{row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows[1:]} for head, *rows in tables]


def documented(document: str) -> list[dict[str, dict[str, str]]]:
    return tables_of((ROOT / document).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def report() -> Report:
    made = make_report([ROOT / "docs" / "records" / "families"], "published", load_claims(), 5)
    assert made.runs == 240
    return made


@pytest.fixture(scope="module")
def published(report: Report) -> list[dict[str, dict[str, str]]]:
    return tables_of(verdicts_markdown(report.answers))


def test_the_numbers_of_the_readme_are_those_of_the_records(report: Report) -> None:
    (table,) = [table for table in report.tables if table.datamodule == "mnist" and table.protocol["split"] == "test"]
    rows = {row.label: row for row in table.rows}
    labels = ["ae (norm=none)", "vae (beta=1.0, scale=calibrated, sigma=1.0, norm=none)"]
    labels += [f"{model} (norm=none)" for model in ("gan", "wgan", "wgan_gp")]
    columns = ["fid", "fid_random", "inversion_mse", "recon_mse", "elbo", "posterior_mmd"]
    lines = (ROOT / "README.md").read_text(encoding="utf-8").partition("| | AE | VAE |")[2].splitlines()[2:]
    for column, line in zip(columns, lines[: len(columns)], strict=True):
        title, *cells = line.strip("| ").split(" | ")
        made = [cell_text(rows[label].cells.get(column) or Cell(None)) for label in labels]
        assert cells == [text.rstrip("†") for text in made], column
        if "FID" in title:
            assert title.endswith(f"{number(rows['real train'].cells[column].mean)})")


def test_the_documents_verdicts_on_mixtures_are_those_of_their_records() -> None:
    report = make_report([ROOT / "docs" / "records" / "mixtures"], "published", load_claims(), 5)
    assert report.runs == 100
    _, made = tables_of(verdicts_markdown(report.answers))
    (written,) = [table for table in documented("docs/verdicts.md") if "ring" in next(iter(table.values()))]
    assert written == made


@pytest.mark.parametrize(("document", "place"), [("README.md", 0), ("docs/verdicts.md", 1)])
def test_a_document_has_the_verdicts_of_the_published_records(
    document: str, place: int, published: list[dict[str, dict[str, str]]]
) -> None:
    written = documented(document)[0]
    assert set(written) <= set(published[place])
    for claim, row in written.items():
        for datamodule in PUBLISHED:
            assert row[datamodule] == published[place][claim][datamodule], claim


def test_the_document_says_how_many_ais_estimates_converged(report: Report) -> None:
    counts = {
        table.datamodule: [len(row.values("ais")) for row in table.models]
        for table in report.tables
        if table.protocol["split"] == "test"
    }
    digits = sum(counts["digits"])
    text = " ".join((ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8").split())
    assert f"has converged for {sum(map(sum, counts.values()))} of the 240 runs: for {digits} of the 40 VAEs" in text


def test_the_tables_of_searches_are_those_of_their_records() -> None:
    """All but those of the first search, whose records are not published."""
    found: dict[str, list[list[str]]] = {}
    for search in find_searches(ROOT / "docs" / "records" / "searches", pytest.fail):
        for model, curve in best_of_n(search).items():
            if len(curve) >= 20:
                best = min(trial.value for trial in search.trials[model] if trial.value is not None)
                points = [curve[n - 1] for n in (1, 2, 5, 10)]
                found.setdefault(model, []).append(
                    [number(best), *("—" if p is None else number(p[0]) for p in points)]
                )
    text = (ROOT / "docs" / "searches.md").read_text(encoding="utf-8").partition("## More families")[2]
    rows = re.findall(r"^\| (\w+) \| (.+) \| (.+) \| (.+) \| (.+) \| (.+) \|$", text.partition("\nae:")[0], re.M)
    written = {model: [cells] for model, *cells in rows if model != "model"}
    assert written == found


# the tables of docs/findings.md in their order: the claims, and the folder of their records
FINDINGS = [
    ("gan_losses", "findings/gan_losses"),
    ("likelihoods", "findings/likelihoods"),
    ("two_stage", "findings/two_stage"),
    ("fitted_density", "families"),
    ("iwae", "findings/bounds"),
    ("iaf", "findings/bounds"),
    ("vampprior", "findings/bounds"),
    ("pacgan", "findings/pacgan"),
    ("pacgan", "findings/pacgan_tenth"),
    ("rpgan", "findings/rpgan"),
    ("flow_matching", "findings/flow_matching"),
    ("real_nvp", "findings/real_nvp"),
]


@pytest.mark.parametrize(("place", "finding", "folder"), [(i, *pair) for i, pair in enumerate(FINDINGS)])
def test_the_answers_on_published_findings_are_those_of_their_records(place: int, finding: str, folder: str) -> None:
    written = documented("docs/findings.md")
    report = make_report([ROOT / "docs" / "records" / folder], finding, load_claims(Path(finding)), 5)
    assert written[place] == tables_of(verdicts_markdown(report.answers))[1]
    assert len(written) == len(FINDINGS)


def test_the_table_of_families_is_that_of_its_records() -> None:
    report = make_report([ROOT / "docs" / "records" / "searched"], "families", load_claims(), 5)
    (table,) = report.tables
    rows = {row.model: row for row in table.models}
    columns = ["fid", "fid_random", "recall", "c_t_random", "elbo", "recon_mse", "inversion_mse"]
    text = (ROOT / "docs" / "families.md").read_text(encoding="utf-8").partition("| model | seeds |")[2]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(lines) == len(rows) == 25
    for line in lines:
        name, seeds, *cells = [cell.strip() for cell in line.split("|")[1:-1]]
        row = rows[name.strip("`")]
        assert seeds == row.seeds, name
        made = [row.cells.get(column) or Cell(None) for column in columns]
        assert cells == ["" if cell.mean is None else cell_text(cell) for cell in made], name


def test_what_each_family_showed_is_in_the_table_of_its_records() -> None:
    above, _, below = (ROOT / "docs" / "families.md").read_text(encoding="utf-8").partition("| model | seeds |")
    known = {line.split("`")[1]: line for line in below.splitlines() if line.startswith("| `")}
    shown = {line.split("`")[1]: line.split("|")[-2] for line in above.splitlines() if line.startswith("| `")}
    assert sorted(shown) == choices("model")
    for name, text in shown.items():
        if name in known:
            fid, *others = re.findall(r"(?:FID|recall|ELBO) \(?([0-9.]*[0-9])", text)
            cells = [cell.split("±")[0].strip() for cell in known[name].split("|")]
            assert fid == cells[3], name
            assert set(others) <= set(cells), name
