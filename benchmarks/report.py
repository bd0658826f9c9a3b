"""python -m benchmarks.report: the leaderboard from records alone, as a page, Markdown, CSV and in the terminal."""

import base64
import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import hydra
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from omegaconf import DictConfig
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmarks.cli import prepare
from benchmarks.errors import exits_cleanly, fail
from benchmarks.leaderboard import ColumnHead, Row, Table, cell_text, number, tables
from benchmarks.runs import RecordError, Run, ScoreSheet, find_runs, read_sheets, replacing, write_text

PICTURES = {"samples": "samples.png", "reconstructions": "reconstructions.png"}
ARROWS = {True: "↑", False: "↓", None: ""}


@exits_cleanly
def main() -> None:
    prepare("report", needs_torch=False)
    _hydra_main()


@hydra.main(config_path="pkg://conf", config_name="report", version_base="1.3")
@exits_cleanly  # inside Hydra too, which would print a traceback
def _hydra_main(cfg: DictConfig) -> None:
    build([Path(cfg.runs)], Path(cfg.out), cfg.title)


def build(roots: Sequence[Path], out: Path, title: str) -> None:
    """Writes the report of every run at or below the roots into `out`, and prints it.

    Raises:
        RecordError: where there is no run. A single bad record is named and left out.
    """
    # two jobs of a sweep may have left one run, and roots may overlap: a run counts once
    runs = list({run.path.resolve(): run for root in roots for run in _readable(root, len(roots) > 1)}.values())
    if not runs:
        raise RecordError("no run has a record that can be read")
    found = tables(runs)
    failures = [run for run in runs if run.status != "finished"]
    pictures = _copy_pictures(found, out)
    for table in found:
        _save_sheets(table, pictures, out)
    write_text(out / "leaderboard.md", markdown(found, failures, title))
    write_text(out / "leaderboard.csv", to_csv(found))
    write_text(out / "index.html", page(found, failures, pictures, title))
    print_tables(found)
    print(f"{out / 'index.html'}: {sum(len(t.rows) for t in found)} rows of {len(runs)} runs")


def page(found: Sequence[Table], failures: Sequence[Run], pictures: dict[str, dict[str, Path]], title: str) -> str:
    """One self-contained HTML file. Whatever comes from a record is escaped."""
    environment = Environment(
        loader=PackageLoader("benchmarks"),
        autoescape=select_autoescape(["html", "j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"cell_text": cell_text, "arrow": ARROWS}
    encoded = {
        slug: {name: base64.b64encode(path.read_bytes()).decode() for name, path in its.items()}
        for slug, its in pictures.items()
    }
    return environment.get_template("report.html.j2").render(
        tables=found, failures=failures, pictures=encoded, title=title, row_slug=row_slug, kinds=list(PICTURES)
    )


def markdown(found: Sequence[Table], failures: Sequence[Run], title: str) -> str:
    """The tables as GitHub's Markdown."""
    lines = [f"# {_md(title)}", ""]
    for table in found:
        lines += [f"## {_md(table.title)}", "", _md(table.notes), ""]
        for part, columns, rows in table.parts:
            lines += [f"### {part}", ""]
            lines.append("| " + " | ".join(["model", "seeds", *(_md(_head(column)) for column in columns)]) + " |")
            lines.append("|" + " --- |" * (2 + len(columns)))
            for row in rows:
                cells = [_md_cell(row, column) for column in columns]
                lines.append("| " + " | ".join([_md(row.label), row.seeds, *cells]) + " |")
            lines.append("")
    if failures:
        lines += ["## Runs without a result", ""]
        lines += [f"- {_md(str(run.path))}: {run.status}, {_md(str(run.record.get('error')))}" for run in failures]
        lines.append("")
    lines.append("Mean ± standard deviation over training seeds; **bold** is the best of a column.")
    return "\n".join(lines) + "\n"


def to_csv(found: Sequence[Table]) -> str:
    """One line a row and column: what a program would rather read than a wide table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = [
        "datamodule",
        "data_id",
        "network",
        "protocol",
        "protocol_id",
        "row",
        "model",
        "config_id",
        "column",
        "unit",
    ]
    writer.writerow([*head, "higher_is_better", "mean", "deviation", "seeds", "reason"])
    for table in found:
        for row in table.rows:
            for column in table.columns:
                cell = row.cells.get(column.name)
                place = [table.datamodule, table.data["id"], table.network, table.protocol["name"], table.protocol_id]
                facts = [row.label, row.model, row.config_id, column.name, column.unit, column.higher_is_better]
                writer.writerow(
                    place
                    + facts
                    + ([cell.mean, cell.deviation, cell.n, cell.reason] if cell else [None, None, 0, None])
                )
    return out.getvalue()


def print_tables(found: Sequence[Table]) -> None:
    """Scores, then cost, in the terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    for table in found:
        console.print(f"\n[bold]{escape(table.title)}[/bold]  {escape(table.notes)}")
        for part, columns, rows in table.parts:
            heads = (escape(_head(column)) for column in columns)
            shown = RichTable("model", "seeds", *heads, header_style="", title=part, title_justify="left")
            for row in rows:
                shown.add_row(escape(row.label), row.seeds, *(_rich_cell(row, column) for column in columns))
            console.print(shown)
    console.print("mean ± standard deviation over training seeds; [bold green]green[/bold green] is a column's best")


def print_scores(run: Path, protocol_id: str | None = None) -> None:
    """One run's scores, a line each; under one protocol, if that is given."""
    for sheet in read_sheets(run):
        if protocol_id in (None, sheet.protocol_id):
            _print_sheet(sheet)


def row_slug(table: Table, row: Row) -> str:
    """Names a row's pictures: letters, digits and dashes only."""
    words = f"{table.slug}-{row.model}-{row.config_id}"
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in words)


def _copy_pictures(found: Sequence[Table], out: Path) -> dict[str, dict[str, Path]]:
    """The pictures of each row's first finished seed, beside the page as well as in it."""
    copied: dict[str, dict[str, Path]] = {}
    for table in found:
        for row in table.rows:
            slug = row_slug(table, row)
            done = [run for run in row.runs if run.status == "finished"]
            for name, file in PICTURES.items():
                source = next((run.path / file for run in done if (run.path / file).is_file()), None)
                if source is not None:
                    target = out / "pictures" / f"{slug}-{file}"
                    with replacing(target) as temporary:
                        shutil.copyfile(source, temporary)
                    copied.setdefault(slug, {})[name] = target
    return copied


def _readable(root: Path, is_one_of_many: bool) -> list[Run]:
    """The runs at or below a root, less those whose records are bad, which are named."""
    try:
        return find_runs(root, on_bad=lambda error: fail(f"{error} (left out)"))
    except RecordError:
        if is_one_of_many:
            return []
        raise


def _save_sheets(table: Table, pictures: dict[str, dict[str, Path]], out: Path) -> None:
    """For each kind of picture, one that shows every model's side by side, named above it."""
    for kind in PICTURES:
        by_row = [(row.label, pictures.get(row_slug(table, row), {}).get(kind)) for row in table.rows]
        tiles = [(label, Image.open(path).convert("RGB")) for label, path in by_row if path is not None]
        if tiles:
            gap, head = 12, 26
            width = sum(tile.width + gap for _, tile in tiles) - gap
            sheet = Image.new("RGB", (width, head + max(tile.height for _, tile in tiles)), "white")
            draw, left = ImageDraw.Draw(sheet), 0
            for label, tile in tiles:
                draw.text((left, 2), label, fill="black", font=ImageFont.load_default(16))
                sheet.paste(tile, (left, head))
                left += tile.width + gap
            with replacing(out / f"{table.slug}-{kind}.png") as temporary:
                sheet.save(temporary, format="PNG", optimize=True)


def _print_sheet(sheet: ScoreSheet) -> None:
    print(f"protocol {sheet.protocol['name']} ({sheet.protocol_id})")
    for score in sheet.scores:
        if score.value is None:
            print(f"  {score.name:<22} — ({score.detail['reason']})")
            continue
        error = score.detail.get("standard_error")
        words = [number(score.value), score.unit, f"(standard error {number(error)})" if error is not None else ""]
        print(f"  {score.name:<22} {' '.join(word for word in words if word)}")


def _head(column: ColumnHead) -> str:
    unit = f" [{column.unit}]" if column.unit else ""
    return f"{column.title}{unit} {ARROWS[column.higher_is_better]}".rstrip()


def _rich_cell(row: Row, column: ColumnHead) -> str:
    cell = row.cells.get(column.name)
    if cell is None:
        return "—"
    return f"[bold green]{cell_text(cell)}[/bold green]" if cell.is_best else cell_text(cell)


def _md_cell(row: Row, column: ColumnHead) -> str:
    cell = row.cells.get(column.name)
    if cell is None:
        return "—"
    return f"**{cell_text(cell)}**" if cell.is_best else cell_text(cell)


def _md(text: str) -> str:
    """Text from a record as text in Markdown: no markup, no HTML, no cell borders."""
    for character in "\\`*_{}[]<>|#":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


if __name__ == "__main__":
    main()
