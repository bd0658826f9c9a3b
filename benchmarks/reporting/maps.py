"""Maps of two scores: a point a run, a region a family. As SVG inside the page, so that they need no script."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

from benchmarks.reporting.labels import written
from benchmarks.reporting.numbers import number
from benchmarks.reporting.seed_statistics import Array
from benchmarks.reporting.table import ARROWS, ColumnHead, Row

# of the map and of its plot, in pixels; of a map of many families, whose names need more room
WIDTH, HEIGHT = 420, 236
MANY_FAMILIES, WIDE, HIGH = 8, 840, 480
LEFT, RIGHT, TOP, BOTTOM = 62, 10, 12, 44
# maps of more rows show the means of rows instead of runs
MANY_ROWS = 40
# a scale is logarithmic if its values are positive and differ by more than this factor
LOG_FROM = 8.0
# values that differ by less, which only a hostile record has, are drawn as equal: their ticks would differ by 0
LEAST_MARGIN = 1e-300
# the points of a family beside which its name may be
MOST_BESIDE = 128
# of a name, in pixels
LINE, LETTER = 14, 8.5
# the square before a name, with its gap
SWATCH = 12
# the colours of families, which the page's style has
TINTS = 8

Spot = tuple[float, float]


class Scale:
    """From values to pixels, linear or logarithmic."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.is_log = min(values) > 0 and max(values) / min(values) > LOG_FROM
        low, high = (self._scaled(end_value) for end_value in (min(values), max(values)))
        margin = 0.08 * (high - low)
        if margin < LEAST_MARGIN:
            margin = max(1e-9, 0.05 * abs(high))
        self.low, self.high, self.start, self.end = low - margin, high + margin, start, end

    def __call__(self, value: float) -> float:
        share = (self._scaled(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values, eight or so at most."""
        if self.is_log:
            decades = range(math.floor(self.low), math.ceil(self.high) + 1)
            for digits in ((1,), (1, 3), (1, 2, 5)):
                ticks = [digit * 10.0**decade for decade in decades for digit in digits]
                # a power of ten below every number is 0
                ticks = [tick for tick in ticks if tick > 0 and self.low <= math.log10(tick) <= self.high]
                if len(ticks) >= 3:
                    break
            return ticks[:: 1 + len(ticks) // 8]
        rough = (self.high - self.low) / 5
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * digit for digit in (1, 2, 5, 10) if size * digit >= rough)
        first = math.ceil(self.low / step)
        return [step * i for i in range(first, math.floor(self.high / step) + 1)]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def score_map(
    across: ColumnHead, up: ColumnHead, rows: Sequence[Row], families: Sequence[str], floor: Row | None = None
) -> Markup:
    """The map of two columns; empty if fewer than two families have both.

    Args:
        across, up: the columns.
        rows: of models that may be compared.
        families: of the report; the place of a family gives its colour.
        floor: the baseline row of real data, whose score is the best that a model can reach.
    """
    spots = _spots(across.name, up.name, rows)
    if len(spots) < 2:
        return Markup("")
    limit = floor.cells[up.name].mean if floor is not None and up.name in floor.cells else None
    everything = [spot for of_family in spots.values() for spot in of_family]
    is_wide = len(spots) > MANY_FAMILIES
    width, height = (WIDE, HIGH) if is_wide else (WIDTH, HEIGHT)
    x = Scale([at for at, _ in everything], LEFT, width - RIGHT)
    y = Scale([at for _, at in everything], height - BOTTOM, TOP)
    parts = [*axes(across, up, x, y)]
    if limit is not None and y.low < (math.log10(limit) if y.is_log and limit > 0 else limit) < y.high:
        parts.append(
            f'<path class="floor" d="M{LEFT} {y(limit):.1f}H{width - RIGHT}"/>'
            f'<text x="{width - RIGHT - 4}" y="{y(limit) - 4:.1f}" text-anchor="end">real training images</text>'
        )
    in_pixels = {family: [(x(a), y(b)) for a, b in of_family] for family, of_family in spots.items()}
    parts += [_region(family, pixels, families.index(family) % TINTS) for family, pixels in in_pixels.items()]
    parts += _names(in_pixels, families, (width, height))  # above every region
    words = f"{up.title} against {across.title}, a region for each of {', '.join(spots)}"
    return Markup(
        f'<svg class="map{" wide" * is_wide}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}">'
        f"{''.join(parts)}</svg>"
    )


def hull(points: Sequence[Spot]) -> list[Spot]:
    """The corners of the convex hull, in order (Andrew 1979, the monotone chain)."""
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered

    def chain(among: Sequence[Spot]) -> list[Spot]:
        corners: list[Spot] = []
        for p in among:
            while len(corners) > 1 and _turn(corners[-2], corners[-1], p) <= 0:
                corners.pop()
            corners.append(p)
        return corners[:-1]

    return chain(ordered) + chain(ordered[::-1])


def _turn(a: Spot, b: Spot, c: Spot) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _spots(across: str, up: str, rows: Sequence[Row]) -> dict[str, list[Spot]]:
    """By family: both scores of each run, or of many rows their means."""
    spots: dict[str, list[Spot]] = {}
    for row in rows:
        if len(rows) > MANY_ROWS:
            cells = row.cells.get(across), row.cells.get(up)
            means = [cell.mean for cell in cells if cell is not None and cell.mean is not None]
            found = [(means[0], means[1])] if len(means) == 2 else []
        else:
            found = [(s[across], s[up]) for s in row.measured.values() if across in s and up in s]
        if found:
            spots.setdefault(row.model, []).extend(found)
    return spots


def axes(across: ColumnHead, up: ColumnHead, x: Scale, y: Scale) -> list[str]:
    """The grid, the ticks and the titles of a chart with two columns."""
    right, bottom = x.end, y.start
    parts = []
    for tick in x.ticks:
        parts.append(f'<path class="grid" d="M{x(tick):.1f} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 15}" text-anchor="middle">{_tick(tick)}</text>')
    for tick in y.ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{_tick(tick)}</text>')
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text class="title" x="{(LEFT + right) / 2}" y="{bottom + BOTTOM - 8}" text-anchor="middle">{_title(across)}</text>'
        f'<text class="title" transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{_title(up)}</text>'
    )
    return parts


def _title(column: ColumnHead) -> str:
    direction = {True: " (higher is better)", False: " (lower is better)", None: ""}[column.higher_is_better]
    unit = f" [{column.unit}]" if column.unit else ""
    return str(escape(f"{column.title.split(' (')[0]}{unit} {ARROWS[column.higher_is_better]}{direction}"))


def _tick(value: float) -> str:
    return "0" if abs(value) < 1e-12 else f"{value:.3g}" if abs(value) < 1e4 else number(value)


def _region(family: str, pixels: Sequence[Spot], tint: int) -> str:
    """The hull of a family with its points."""
    corners = hull(pixels)
    outline = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in corners) + ("Z" if len(corners) > 2 else "h.1")
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5"/>' for a, b in pixels)
    return f'<g class="family-{tint}" data-family="{escape(family)}"><path class="region" d="{outline}"/>{dots}</g>'


def _names(
    regions: Mapping[str, Sequence[Spot]], families: Sequence[str], size: tuple[int, int] = (WIDTH, HEIGHT)
) -> list[str]:
    """The name of each family beside one of its points, with a square of its colour, on a map of a size.

    The place is the one with the fewest points of other families below the name and nearer to it than the family's own.
    """
    taken: list[tuple[float, float, float]] = []
    names = []
    for family, pixels in regions.items():
        name, others = written(family), [spot for other, spots in regions.items() if other != family for spot in spots]
        width = LETTER * len(name) + SWATCH
        places = [
            (min(max(a + across * (width / 2 + 9), LEFT + width / 2), size[0] - RIGHT - width / 2), b + down)
            for a, b in pixels[:: -(-len(pixels) // MOST_BESIDE)]
            for across, down in ((0, -LINE), (0, LINE), (1, 0), (-1, 0))
        ]
        inside = [(x, y) for x, y in places if TOP + LINE / 2 <= y <= size[1] - BOTTOM - LINE / 2]
        free = [
            (x, y) for x, y in inside if all(abs(x - a) > (width + w) / 2 or abs(y - b) >= LINE for a, b, w in taken)
        ]
        x, y = _best_place(free or inside or places, width, pixels, others)
        taken.append((x, y, width))
        names.append(
            f'<g class="family-{families.index(family) % TINTS}" data-family="{escape(family)}">'
            f'<rect x="{x - width / 2:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
            f'<text class="name" x="{x - width / 2 + SWATCH:.1f}" y="{y + 4:.1f}">{escape(name)}</text></g>'
        )
    return names


def _best_place(places: Sequence[Spot], width: float, own: Sequence[Spot], others: Sequence[Spot]) -> Spot:
    """The first of the places where a name hides, and is nearer to, the fewest points of others; among these, where it hides the
    fewest own points; among these, the nearest to an own point."""
    at = np.array(places)

    def distances(spots: Sequence[Spot]) -> Array:
        """From each name to each point: (places, spots)."""
        x, y = (np.abs(at[:, None, k] - np.array(spots).reshape(-1, 2)[:, k]) for k in (0, 1))
        distance: Array = np.hypot(np.maximum(x - width / 2, 0), np.maximum(y - LINE / 2, 0))
        return distance

    to_own = distances(own)
    near = to_own.min(1)
    covered = (distances(others) <= near[:, None] + 2).sum(1)
    first = np.lexsort((near, (to_own <= 2).sum(1), covered))[0]
    return places[first]
