"""The pictures of a leaderboard's rows: copied beside the page, side by side on one sheet for each kind, and parts of them
for the page's first screen."""

import base64
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.errors import UserError, one_line, warn
from benchmarks.records.files import LARGEST, file_name, read_bytes, replacing
from benchmarks.records.paths import PICTURES
from benchmarks.reporting.table import Row, Table

# what each kind of picture shows
CAPTIONS = {
    "samples": "Decoded draws from the prior: the same latents for every model.",
    "reconstructions": "Validation examples in the odd rows; below each, its reconstruction.",
    "nearest images": (
        "Validation examples in the odd rows; below each, the nearest image that a search of the latents finds: "
        "a reconstruction by every decoder."
    ),
    "training neighbours": (
        "Samples in the first and fifth column; right of each, the three training images nearest to it by pixels, of "
        "the first 100,000. A sample that is equal to its neighbour is a copy."
    ),
    "interpolations": (
        "Decoded points between one draw of the prior (left) and another (right): the same latents for every model."
    ),
    "code interpolations": (
        "Decoded points between the codes of two validation examples, left and right: the same examples for every model."
    ),
    "traversals": (
        "One latent; in each row one of its dimensions moves from −3 to 3. The same latent for every model."
    ),
}
# the first rows of a table, whose pictures are in the page; the page links to the other rows' pictures
EMBEDDED_ROWS = 12
# the most rows of a table whose sheet shows all of them, and the pictures in a line of a sheet
SHEET_ROWS, SHEET_COLUMNS = 48, 7
# of a sheet: a larger one would take gigabytes of memory
MOST_SHEET_PIXELS = 2**27
# of the labels of a sheet, and of the white between its pictures, in pixels
LABEL_SIZE, LABEL_HEIGHT, GAP = 16, 22, 12
# of a picture that is decoded, and of its file: twice a sheet of 64 samples of 512 pixels
MOST_PIXELS = 2**25
MOST_BYTES = LARGEST[".png"]
# the pictures of the first screen: the first kind that a row has of each of these, with the rows of images of the whole picture
STRIP_KINDS = ({"samples": 8}, {"nearest images": 4, "reconstructions": 8})
# of each, this many rows of images, at most this many pixels wide
STRIP_ROWS, STRIP_WIDTH = 2, 640
# the grey line around images, in pixels
FRAME = 3


@dataclass(frozen=True)
class Strip:
    """The first images of a row of a table.

    Args:
        row: of the table.
        pictures: by the place in `STRIP_KINDS`: the kind, and the picture as an address; None for a row without one.
    """

    row: Row
    pictures: Sequence[tuple[str, str] | None]


def row_slug(table: Table, row: Row) -> str:
    """The name of a row's pictures: letters, digits, dashes and underscores."""
    return file_name(f"{table.slug}-{row.model}-{row.config_id}")


def copy_pictures(tables: Sequence[Table], out: Path) -> dict[str, dict[str, Path]]:
    """The pictures of each row's first finished seed, by row and kind.

    The pictures of a table's first rows are copied into `out`; the other pictures stay in their runs.

    Raises:
        UserError: for a link in the place of the folder of the copies.
    """
    if (out / "pictures").is_symlink():
        raise UserError(f"{out / 'pictures'} is a link to another folder; move the link away")
    pictures: dict[str, dict[str, Path]] = {}
    for table in tables:
        for i, row in enumerate(table.models):
            slug = row_slug(table, row)
            first = next((run for run in row.runs if run.status == "finished"), None)
            if first is None:
                continue
            if i >= EMBEDDED_ROWS:  # one look at the folder instead of one for each kind
                files = {entry.name for entry in os.scandir(first.path) if entry.is_file()}
                own = {kind: first.path / file for kind, file in PICTURES.items() if file in files}
                pictures |= {slug: own} if own else {}
                continue
            for kind, file in PICTURES.items():
                source = first.path / file
                if (content := _read(source)) is not None:
                    copy = out / "pictures" / f"{slug}-{file}"
                    pictures.setdefault(slug, {})[kind] = copy
                    with replacing(copy, is_precious=False) as temporary:
                        temporary.write_bytes(content)
    return pictures


def save_sheets(table: Table, pictures: Mapping[str, Mapping[str, Path]], out: Path) -> None:
    """Writes one sheet for each kind of picture, with the pictures of the models side by side under their labels.

    A sheet shows every row of a table of up to `SHEET_ROWS`, and the embedded ones of a larger table.
    """
    rows = table.models[: SHEET_ROWS if len(table.models) <= SHEET_ROWS else EMBEDDED_ROWS]
    for kind, file in PICTURES.items():
        by_row = [(row.label, pictures.get(row_slug(table, row), {}).get(kind)) for row in rows]
        files = [(label, path) for label, path in by_row if path is not None]
        decoded = ((label, _tile(path, len(files))) for label, path in files)
        tiles = [(label, image) for label, image in decoded if image is not None]
        if tiles:
            with replacing(out / f"{table.slug}-{file}", is_precious=False) as temporary:
                _sheet(tiles).save(temporary, format="PNG", compress_level=1)  # a third of the default's time


def _tile(path: Path, tiles: int) -> Image.Image | None:
    """A picture for a sheet of some pictures: smaller, if such sides would make the sheet larger than `MOST_SHEET_PIXELS`."""
    image = _decoded(path)[1]
    if image is not None:
        side = math.isqrt(MOST_SHEET_PIXELS // (min(tiles, SHEET_COLUMNS) * math.ceil(tiles / SHEET_COLUMNS)))
        image.thumbnail((side, side))  # leaves a smaller picture as it is
    return image


def _sheet(tiles: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures under their labels, in lines of `SHEET_COLUMNS`."""
    labels = ["\n".join(_wrapped(label, tile.width)) for label, tile in tiles]
    lines = [range(i, min(i + SHEET_COLUMNS, len(tiles))) for i in range(0, len(tiles), SHEET_COLUMNS)]
    heads = [LABEL_HEIGHT * (1 + max(labels[i].count("\n") for i in line)) for line in lines]
    heights = [head + GAP + max(tiles[i][1].height for i in line) for head, line in zip(heads, lines, strict=True)]
    width = max(sum(tiles[i][1].width + GAP for i in line) for line in lines) - GAP
    mode = "L" if all(tile.mode == "L" for _, tile in tiles) else "RGB"
    sheet = Image.new(mode, (width, sum(heights)), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for line, head, height in zip(lines, heads, heights, strict=True):
        left = 0
        for i in line:
            draw.multiline_text((left, top), labels[i], fill="black", font=_font(), spacing=2)
            sheet.paste(tiles[i][1], (left, top + head))
            left += tiles[i][1].width + GAP
        top += height
    return sheet


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of labels: Pillow unpacks its own font anew at each call."""
    return ImageFont.load_default(LABEL_SIZE)


def _wrapped(label: str, width: int) -> list[str]:
    """The words of a label in lines that are at most as wide as a picture, if the words are."""
    font, lines = _font(), [""]
    for word in label.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def strips(table: Table, rows: Sequence[Row], pictures: Mapping[str, Mapping[str, Path]]) -> list[Strip]:
    """The first images of rows that have pictures."""
    found = []
    for row in rows:
        files = pictures.get(row_slug(table, row), {})
        parts: list[tuple[str, str] | None] = []
        for kinds in STRIP_KINDS:
            kind = next((kind for kind in kinds if kind in files), None)
            content = None if kind is None else _read(files[kind])
            if kind is None or content is None:
                parts.append(None)
            else:
                parts.append((kind, address_of(content if table.is_points else _top(content, kinds[kind]))))
        if any(parts):
            found.append(Strip(row, parts))
    return found


def address_of(png: bytes) -> str:
    """A picture as an address that holds the picture itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _top(content: bytes, rows: int) -> bytes:
    """The first rows of images of a picture that has been decoded before."""
    with Image.open(io.BytesIO(content)) as image:
        height = FRAME + round((image.height - FRAME) * STRIP_ROWS / rows)
        part = image.crop((0, 0, image.width, min(image.height, height)))
    if part.width > STRIP_WIDTH:
        part = part.resize((STRIP_WIDTH, max(1, round(part.height * STRIP_WIDTH / part.width))))
    out = io.BytesIO()
    part.save(out, format="PNG")
    return out.getvalue()


def _read(path: Path) -> bytes | None:
    """The content of a picture that can be decoded; None for a missing one, and with a warning for any other file."""
    return _decoded(path)[0]


def _decoded(path: Path) -> tuple[bytes | None, Image.Image | None]:
    """A picture's content, and the picture itself; None and None for a missing one, and with a warning for any other file."""
    try:
        content = read_bytes(path, MOST_BYTES)
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels; at most {MOST_PIXELS:,} are expected")
            return content, image.convert("L" if image.mode == "L" else "RGB")
    except FileNotFoundError:
        return None, None
    except Exception as error:  # a damaged picture raises many kinds of errors, and the report works without it
        warn(f"{path} cannot be read and is left out ({one_line(error)[:160]})")
        return None, None
