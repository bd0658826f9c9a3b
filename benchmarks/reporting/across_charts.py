"""The charts of what is said across data sets, as SVG inside the page: they need no script and follow its colours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from benchmarks.reporting.across import Across, Compared
from benchmarks.reporting.fronts import Front
from benchmarks.reporting.labels import written
from benchmarks.reporting.maps import BOTTOM, HEIGHT, LEFT, RIGHT, TINTS, TOP, WIDTH, Scale, axes
from benchmarks.reporting.numbers import number
from benchmarks.reporting.table import ColumnHead

# of the pairs: the height of a line, and the width of its words, in pixels
LINE, WORDS = 22, 150
# of the key of a profile: the names in a line, and the pixels of one
KEYS, KEY_WIDTH, KEY_HEIGHT = 4, 88, 18
# the fewest dashes that tell families apart without their colours
DASHES = ("none", "7 3", "2 3", "9 3 2 3")


@dataclass(frozen=True)
class Figure:
    """A Pareto view: the drawing, and the rows of its front in the order of their numbers.

    Args:
        drawing: the chart.
        front: the label of each row, its family, and both scores.
    """

    drawing: Markup
    front: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Drawn:
    """The charts of what is said across some data sets, in the order of its columns and fronts."""

    across: Across
    pairs: Sequence[Markup]
    profiles: Sequence[Markup]
    fronts: Sequence[Figure]


def draw(across: Across, families: Sequence[str]) -> Drawn:
    """The charts.

    Args:
        across: what is said.
        families: of the report; the place of a family gives its colour.
    """
    return Drawn(
        across,
        [pairs_chart(compared) for compared in across.compared],
        [profile_chart(compared, families) if compared.profiles else Markup("") for compared in across.compared],
        [front_chart(front, families) for front in across.fronts],
    )


def pairs_chart(compared: Compared) -> Markup:
    """A line for each pair: the probability of improvement with its interval, and a dashed line at a half."""
    left, right = WORDS + 10, WIDTH - 24
    height = LINE * len(compared.pairs) + 34
    bottom = height - 26

    def x(share: float) -> float:
        return left + (right - left) * share

    parts = [f'<path class="grid" d="M{x(i / 4):.1f} 4V{bottom}"/>' for i in (0, 1, 3, 4)]
    parts += [f'<text x="{x(i / 4):.1f}" y="{bottom + 15}" text-anchor="middle">{i / 4:g}</text>' for i in range(5)]
    parts.append(f'<path class="floor" d="M{x(0.5):.1f} 4V{bottom}"/>')
    for i, (better, other, (value, low, high)) in enumerate((p.better, p.other, p.probability) for p in compared.pairs):
        y = LINE * i + 16
        words = f"{written(better)} over {written(other)}"
        parts.append(
            f'<g data-family="{escape(better)}" data-other-family="{escape(other)}">'
            f'<text class="title" x="{WORDS}" y="{y + 4}" text-anchor="end">{escape(words)}</text>'
            f'<path class="interval" d="M{x(low):.1f} {y}H{x(high):.1f}M{x(low):.1f} {y - 4}v8M{x(high):.1f} {y - 4}v8"/>'
            f'<circle class="ink" cx="{x(value):.1f}" cy="{y}" r="3.5"/>'
            f"<title>{escape(words)}: {number(value)} ({number(low)} to {number(high)})</title></g>"
        )
    said = (
        f"Probability that a run of one family has the better {compared.column.title}, for {len(compared.pairs)} pairs"
    )
    return _svg(height, said, parts)


def profile_chart(compared: Compared, families: Sequence[str]) -> Markup:
    """A line for each family: the share of its runs above each normalised score, with a band of the intervals."""
    scores = compared.thresholds
    x = Scale([scores[-1], scores[0]], LEFT, WIDTH - RIGHT)
    y = Scale([0.0, 1.0], HEIGHT - BOTTOM, TOP)
    across = ColumnHead("", "normalised score: 0 is noise, 1 is real images", "", None)
    up = ColumnHead("", "share of runs above it", "", None)
    parts = [*axes(across, up, x, y)]
    for i, (family, estimates) in enumerate(compared.profiles.items()):
        values, lows, highs = (
            "L".join(f"{x(score):.1f} {y(end):.1f}" for score, end in places)
            for places in (
                [(score, e.value) for score, e in zip(scores, estimates, strict=True)],
                [(score, e.low) for score, e in zip(scores, estimates, strict=True)][::-1],
                [(score, e.high) for score, e in zip(scores, estimates, strict=True)],
            )
        )
        left, level = LEFT + KEY_WIDTH * (i % KEYS), HEIGHT + 8 + KEY_HEIGHT * (i // KEYS)
        line = f'class="step" stroke-dasharray="{DASHES[i % len(DASHES)]}"'
        parts.append(
            f'<g class="family-{families.index(family) % TINTS}" data-family="{escape(family)}">'
            f'<path class="band" d="M{highs}L{lows}Z"/><path {line} d="M{values}"/>'
            f'<path {line} d="M{left} {level}h20"/>'
            f'<text x="{left + 24}" y="{level + 4}">{escape(written(family))}</text></g>'
        )
    height = HEIGHT + KEY_HEIGHT * (1 + (len(compared.profiles) - 1) // KEYS)
    said = f"Share of the runs of each family above each normalised {compared.column.title}"
    return _svg(height, said, parts)


def front_chart(front: Front, families: Sequence[str]) -> Figure:
    """The rows by two columns: those on the front with numbers and a line, the dominated ones faint."""
    x = Scale([a for _, a, _, _ in front.rows], LEFT, WIDTH - RIGHT)
    y = Scale([b for _, _, b, _ in front.rows], HEIGHT - BOTTOM, TOP)
    on_front = [(row, a, b) for row, a, b, is_on in front.rows if is_on]
    on_front.sort(key=lambda point: -point[1] if front.across.higher_is_better else point[1])
    parts = [*axes(front.across, front.up, x, y)]
    parts.append(f'<path class="front" d="{"".join(_stairs(front, [(x(a), y(b)) for _, a, b in on_front]))}"/>')
    for row, a, b, is_on in sorted(front.rows, key=lambda point: point[3]):
        parts.append(
            f'<g class="family-{families.index(row.model) % TINTS}{"" if is_on else " faint"}" data-family="{escape(row.model)}">'
            f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="{4.5 if is_on else 3}"/>'
            f"<title>{escape(written(row.model, row.label))}: {number(a)}, {number(b)}</title></g>"
        )
    for i, (row, a, b) in enumerate(on_front, 1):
        # neighbours on the front are close: their numbers stand on its two sides
        right, down, anchor = (6, -5, "start") if i % 2 else (-6, 13, "end")
        parts.append(
            f'<text class="name" data-family="{escape(row.model)}" x="{x(a) + right:.1f}" y="{y(b) + down:.1f}" '
            f'text-anchor="{anchor}">{i}</text>'
        )
    said = f"{front.up.title} against {front.across.title} on {front.table.datamodule}, {len(on_front)} rows on the Pareto front"
    listed = [(written(row.model, row.label), row.model, f"{number(b)}, {number(a)}") for row, a, b in on_front]
    return Figure(_svg(HEIGHT, said, parts), listed)


def _stairs(front: Front, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    """The border of what the front dominates: from the worse end of one axis to the worse end of the other."""
    if not points:
        return
    worse_up = TOP if not front.up.higher_is_better else HEIGHT - BOTTOM
    worse_across = WIDTH - RIGHT if not front.across.higher_is_better else LEFT
    yield f"M{points[0][0]:.1f} {worse_up}V{points[0][1]:.1f}"
    for _, (across, up) in pairwise(points):
        yield f"H{across:.1f}V{up:.1f}"
    yield f"H{worse_across}"


def _svg(height: float, words: str, parts: Sequence[str]) -> Markup:
    return Markup(
        f'<svg class="map" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(words)}">{"".join(parts)}</svg>'
    )
