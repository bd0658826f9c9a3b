"""The pictures of a leaderboard's rows: copied beside its page, and each kind of a table's rows on one sheet."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.errors import one_line, warn
from benchmarks.leaderboard import Row, Table
from benchmarks.runs import replacing

# by kind: the file in a run, and what it shows
KINDS = {
    "samples": ("samples.png", "Draws from the prior, decoded: the same latents for every model."),
    "reconstructions": ("reconstructions.png", "Validation examples in the odd rows, below each its reconstruction."),
    "interpolations": (
        "interpolations.png",
        "From one draw of the prior (left) to another (right), decoded: the same latents for every model.",
    ),
    "code interpolations": (
        "code_interpolations.png",
        "From the code of one validation example (left) to that of another (right), decoded: the same examples.",
    ),
    "traversals": (
        "traversals.png",
        "One latent with one of its dimensions moved from −3 to 3, a dimension a row: the same latent for every model.",
    ),
}
# rows of a table that have their pictures in the page; it links to the others'
EMBEDDED_ROWS = 12


def row_slug(table: Table, row: Row) -> str:
    """Names a row's pictures: letters, digits and dashes only."""
    words = f"{table.slug}-{row.model}-{row.config_id}"
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in words)


def copy_pictures(tables: Sequence[Table], out: Path) -> dict[str, dict[str, Path]]:
    """The pictures of each row's first finished seed, by row and kind: those of a table's first rows, copied beside the
    page; the others', where the run left them."""
    found: dict[str, dict[str, Path]] = {}
    for table in tables:
        for i, row in enumerate(table.models):
            slug = row_slug(table, row)
            first = next((run for run in row.runs if run.status == "finished"), None)
            for kind, (file, _) in KINDS.items():
                source = first.path / file if first is not None else None
                if source is not None and source.is_file():
                    place = found.setdefault(slug, {})
                    place[kind] = source
                    if i < EMBEDDED_ROWS:
                        place[kind] = out / "pictures" / f"{slug}-{file}"
                        with replacing(place[kind], is_precious=False) as temporary:
                            shutil.copyfile(source, temporary)
    return found


def save_sheets(table: Table, pictures: dict[str, dict[str, Path]], out: Path) -> None:
    """For each kind of picture, one that shows every model's side by side, named above it."""
    for kind, (file, _) in KINDS.items():
        by_row = [(row.label, pictures.get(row_slug(table, row), {}).get(kind)) for row in table.models[:EMBEDDED_ROWS]]
        tiles = [(label, image) for label, path in by_row if path is not None and (image := _open(path)) is not None]
        if tiles:
            gap, head = 12, 26
            width = sum(tile.width + gap for _, tile in tiles) - gap
            sheet = Image.new("RGB", (width, head + max(tile.height for _, tile in tiles)), "white")
            draw, left = ImageDraw.Draw(sheet), 0
            for label, tile in tiles:
                draw.text((left, 2), label, fill="black", font=ImageFont.load_default(16))
                sheet.paste(tile, (left, head))
                left += tile.width + gap
            with replacing(out / f"{table.slug}-{file}", is_precious=False) as temporary:
                sheet.save(temporary, format="PNG", compress_level=1)  # a third of the time, a little larger


def _open(path: Path) -> Image.Image | None:
    try:
        return Image.open(path).convert("RGB")
    except OSError as error:  # whatever is wrong with a picture, the report is good without it
        warn(f"{path.name} cannot be read and is left out ({one_line(error)[:120]})")
        return None
