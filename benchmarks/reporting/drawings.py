"""The drawings of an answer: the effect with its interval, and the specification curve. As SVG inside the page."""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from benchmarks.reporting.claims import Claim
from benchmarks.reporting.numbers import number
from benchmarks.reporting.pairs import margin_of
from benchmarks.reporting.points import Point
from benchmarks.reporting.seed_statistics import ALPHA

# of the specification curve, in pixels
STEP, PLOT, LINE = 11, 110, 15
# of the labels, in pixels: the width of a letter, and the least width, which the numbers of the axis need
LETTER, LEAST_LABELS = 5.7, 90


def forest(claim: Claim, point: Point) -> Markup:
    """The effect and its interval, with the line of no difference and the margin."""
    effect, low, high = _scaled(claim, point)
    margin = abs(margin_of(claim))
    reach = 1.15 * max(abs(low), abs(high), margin, 1e-12)

    def x(value: float) -> str:
        return f"{60 + 56 * value / reach:.1f}"

    band = f'<rect x="{x(-margin)}" width="{112 * margin / reach:.1f}" y="2" height="16"/>' if margin else ""
    return Markup(
        f'<svg class="forest" viewBox="0 0 120 20" width="120" height="20" aria-hidden="true">{band}'
        f'<path class="none" d="M60 1V19"/><path d="M{x(low)} 10H{x(high)}M{x(low)} 6v8M{x(high)} 6v8"/>'
        f'<circle cx="{x(effect)}" cy="10" r="4"/></svg>'
    )


def specification_curve(claim: Claim, points: Sequence[Point]) -> Markup:
    """One point a test, sorted by the effect; below each point, the options under which it was measured.

    Simonsohn et al. 2020, fig. 2. A filled point is a test that is passed at 5% alone, a crossed one a test that is failed.
    """
    # an option of every point says nothing
    options = dict.fromkeys(option for point in points for option in point.options)
    rows = [option for option in options if any(option not in point.options for point in points)]
    titles = list(dict.fromkeys(title for title, _ in rows))
    rows.sort(key=lambda option: titles.index(option[0]))
    texts = [f"{title}: {label}" for title, label in rows]
    left = max(LEAST_LABELS, round(LETTER * max(map(len, texts), default=0)) + 14)
    scaled = [_scaled(claim, point) for point in points]
    margin = margin_of(claim)
    top = max(*(high for _, _, high in scaled), margin, 0.0)
    bottom = min(*(low for _, low, _ in scaled), -margin if claim.expect == "equal" else margin, 0.0)
    span = max(top - bottom, 1e-12)

    def y(value: float) -> float:
        return 8 + (PLOT - 16) * (top - value) / span

    parts = [f'<path class="none" d="M{left} {y(0):.1f}H{left + STEP * len(points) + 8}"/>']
    zero = "1" if claim.scale == "ratio" else "0"
    # an end beside the line of no difference would be written over its label
    far = [end for end in (top, bottom) if abs(end) > 0.12 * span]
    ends = [(zero, 0.0), *((number(_back(claim, end)), end) for end in far)]
    parts += [f'<text x="{left - 6}" y="{y(at) + 3:.1f}" text-anchor="end">{text}</text>' for text, at in ends]
    for i, (point, (effect, low, high)) in enumerate(zip(points, scaled, strict=True)):
        x = left + STEP * (i + 1)
        kind = "passed" if point.p_holds < ALPHA else "failed" if point.p_fails < ALPHA else "open"
        parts.append(f'<path d="M{x} {y(low):.1f}V{y(high):.1f}"/>')
        if kind == "failed":
            parts.append(f'<path class="failed" d="M{x - 3} {y(effect) - 3:.1f}l6 6m0 -6l-6 6"/>')
        else:
            parts.append(f'<circle class="{kind}" cx="{x}" cy="{y(effect):.1f}" r="3.5"/>')
        for line, option in enumerate(rows):
            if option in point.options:
                parts.append(f'<circle class="option" cx="{x}" cy="{PLOT + LINE * line + 10}" r="2.5"/>')
    for line, text in enumerate(texts):
        parts.append(f'<text x="{left - 6}" y="{PLOT + LINE * line + 14}" text-anchor="end">{escape(text)}</text>')
    width, height = left + STEP * (len(points) + 2), PLOT + LINE * len(rows) + 8
    words = f"{len(points)} tests, sorted by their effects, with the options of each below"
    return Markup(
        f'<svg class="curve" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{words}">{"".join(parts)}</svg>'
    )


def _scaled(claim: Claim, point: Point) -> tuple[float, float, float]:
    """The effect and its interval on the scale of the test."""
    values = point.effect, point.low, point.high
    effect, low, high = (math.log(max(v, 1e-300)) for v in values) if claim.scale == "ratio" else values
    return effect, low, high


def _back(claim: Claim, value: float) -> float:
    return math.exp(value) if claim.scale == "ratio" else value
