"""All verdicts on one screen: a line for each claim, a column for each data set, as Markdown."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from benchmarks.reporting.exports import BADGES, md
from benchmarks.reporting.numbers import number
from benchmarks.reporting.points import Point
from benchmarks.reporting.verdicts import Answer

NOT_ASKED = "—"
LEGEND = (
    "✓ holds, ✗ does not hold, ± depends, ? undecided. The numbers are the smallest and the largest effect over the "
    "specifications, or one effect with its 95% interval: a ratio or a difference, left by right. A claim that depends "
    "adds the choices that split it, and how many tests are passed and failed at 5% each."
)


def verdicts_markdown(answers: Sequence[Answer]) -> str:
    """The verdicts as words, then with their effects. Claims without any answer are left out."""
    words = _matrix(answers, lambda answer: answer.verdict)
    effects = _matrix(answers, lambda answer: f"{BADGES[answer.verdict]} {_effects(answer)}".rstrip())
    return "\n".join([*words, "", LEGEND, "", *effects]) + "\n"


def _matrix(answers: Sequence[Answer], cell: Callable[[Answer], str]) -> Iterator[str]:
    asked = [answer for answer in answers if answer.datamodule]
    places = sorted({(answer.datamodule, answer.where) for answer in asked})
    # the name of a data set is enough if the report has the data set once
    names = [datamodule for datamodule, _ in places]
    heads = [datamodule if names.count(datamodule) == 1 else where for datamodule, where in places]
    yield _line(["claim", *heads])
    yield "|" + " --- |" * (1 + len(heads))
    for claim, group in groupby(asked, key=lambda answer: answer.claim):
        cells = {answer.where: cell(answer) for answer in group}
        yield _line([claim.title, *(cells.get(where, NOT_ASKED) for _, where in places)])


def _effects(answer: Answer) -> str:
    if not answer.points:
        return answer.reason
    if answer.verdict != "depends":
        return _range(answer.points)
    split_by = answer.split_by or _differing(answer)
    counts = f"{answer.passed} of {answer.tests} passed, {answer.failed} failed"
    return f"{_range(answer.points)}; {', '.join(split_by)}; {counts}"


def _range(points: Sequence[Point]) -> str:
    if len(points) > 1:
        effects = [point.effect for point in points]
        return f"{number(min(effects))} to {number(max(effects))}"
    (point,) = points
    return f"{number(point.effect)} ({number(point.low)} to {number(point.high)})"


def _differing(answer: Answer) -> list[str]:
    """The choices in which the two tests that disagree differ: no choice alone splits the claim."""
    if answer.split is None:
        return []
    passed, failed = (dict(point.options) for point in answer.split)
    return [choice for choice, option in passed.items() if failed.get(choice) != option]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(md, cells)) + " |"
