"""Claims: sentences as tests over records, and the choices of the ruler under which each claim is asked.

`benchmarks.reporting.claim_files` reads claims, `benchmarks.reporting.verdicts` answers them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from benchmarks.errors import fail
from benchmarks.records.configurations import flatten, read_config
from benchmarks.records.files import RecordError
from benchmarks.reporting.quantities import as_number, in_words, names_in, renamed
from benchmarks.reporting.table import Row

# pairs of a score and the expression that stands in its place
Scores = tuple[tuple[str, str], ...]
# the option that was taken of each choice, as (title of the choice, label of the option)
Options = tuple[tuple[str, str], ...]
# in place of the data set of a claim that no data set can answer
NOWHERE = "—"


@dataclass(frozen=True)
class Side:
    """The rows of one side of a claim: those of a model, with these settings if any are given."""

    model: str
    where: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        settings = ", ".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in self.where)
        return f"{self.model} ({settings})" if settings else self.model

    def matches(self, row: Row) -> bool:
        if row.model != self.model or row.is_baseline:
            return False
        try:
            config = dict(flatten(read_config(row.runs[0].path))) if self.where else {}
        except RecordError as error:
            fail(f"{error} (left out of claims on {self.name})")
            return False
        return all(key in config and as_text(config[key]) == value for key, value in self.where)


@dataclass(frozen=True)
class Option:
    """One way to measure: the scores that stand in place of other scores, on the left and on the right of a claim."""

    label: str
    left: Scores = ()
    right: Scores = ()


@dataclass(frozen=True)
class Choice:
    """A choice of the ruler that is arbitrary: a claim has to hold under each of its options.

    Args:
        name: of its file.
        title: in words.
        options: at least one.
        note: why the choice is arbitrary.
    """

    name: str
    title: str
    options: tuple[Option, ...]
    note: str = ""


@dataclass(frozen=True)
class Specification:
    """A claim under one option of each of its choices (Simonsohn et al. 2020, "Specification curve analysis").

    Args:
        options: the options that were taken.
        left, right: the quantity of each side.
        floors: the scores and baseline rows of `Claim.must_beat`, under the options.
        least: the score and the number of `Claim.must_exceed`.
    """

    options: Options
    left: str
    right: str
    floors: tuple[tuple[str, str], ...] = ()
    least: tuple[str, float] | None = None

    def quantity_of(self, is_right: bool) -> str:
        return self.right if is_right else self.left


@dataclass(frozen=True)
class Claim:
    """A sentence, and the test that would show it.

    Args:
        name: of its file.
        title: the sentence.
        quantity: of one run: the name of a score or cost, or arithmetic of several, e.g. "fid / fid_fitted".
        left: models. Each is tested against every model of `right`; all tests must pass.
        right: models, or one number.
        expect: whether left is higher than right, lower, or equal within `margin`.
        scale: whether values are compared by difference, or by ratio (of geometric means).
        margin: a difference, or a factor above 1 on the scale of ratios. Effects up to the margin count as equal; for
            "higher" and "lower" the effect must exceed the margin; below 0, left may be worse by up to so much
            (non-inferiority).
        statistic: of the values of a side: their mean, or their spread (mean distance from the median).
        over: whether the values of a side are those of its training seeds or of the trials of a search.
        right_quantity: of a run on the right, if different from `quantity`.
        choices: of the ruler. The claim is asked under every combination of their options.
        must_beat: scores, each with a baseline row. A row of a model whose mean score is not better than the baseline's has
            learned too little to be in the test. Images and points have other baselines: those that a data set lacks are
            not asked there.
        must_exceed: a score and a number. A row that has the score, and whose mean is not above the number, is in no test.
        min_seeds: the number of values that a side needs; None for the report's number.
        unit: of the quantity.
        datamodules: where the claim is answered; empty for every data set that has the scores.
        source: who makes the claim.
        note: for the reader.
        order: of showing: the smallest first, then by name.
    """

    name: str
    title: str
    quantity: str
    left: tuple[Side, ...]
    right: tuple[Side, ...] | float
    expect: Literal["higher", "lower", "equal"]
    scale: Literal["difference", "ratio"] = "difference"
    margin: float | None = None
    statistic: Literal["mean", "spread"] = "mean"
    over: Literal["seeds", "trials"] = "seeds"
    right_quantity: str = ""
    choices: tuple[Choice, ...] = ()
    must_beat: tuple[tuple[str, str], ...] = ()
    must_exceed: tuple[str, float] | None = None
    min_seeds: int | None = None
    unit: str = ""
    datamodules: tuple[str, ...] = ()
    source: str = ""
    note: str = ""
    order: int = 1000

    @property
    def subject(self) -> str:
        """The compared quantity in words."""
        against = f" against {in_words(self.right_quantity)}" if self.right_quantity else ""
        quantity = in_words(self.quantity) + against + (f" [{self.unit}]" if self.unit else "")
        quantity = f"spread of {quantity}" if self.statistic == "spread" else quantity
        return f"{quantity} over {'hyper-parameters' if self.over == 'trials' else 'seeds'}"

    @property
    def sides(self) -> list[tuple[bool, Side]]:
        """Every side, with whether it is on the right, where the quantity may be another."""
        right = () if isinstance(self.right, float) else self.right
        return [*((False, side) for side in self.left), *((True, side) for side in right)]

    def quantity_of(self, is_right: bool) -> str:
        """The quantity of a side, as written."""
        return self.right_quantity if is_right and self.right_quantity else self.quantity

    @property
    def specifications(self) -> list[Specification]:
        """The claim under every combination of its choices' options; the first combination is the claim as written."""
        return list(_specifications(self))

    @property
    def scores(self) -> frozenset[str]:
        """Every score that the claim as written needs."""
        return names_in(self.quantity) | names_in(self.right_quantity or self.quantity)


@dataclass(frozen=True)
class Claims:
    """The claims of a folder. They share one error rate, which no other content of a report changes.

    Args:
        claims: in the order of showing.
        datamodules: the data sets that share the error rate, besides the claims.
    """

    claims: Sequence[Claim]
    datamodules: Sequence[str] = ()

    @property
    def family(self) -> int:
        """The number of answers that share an error rate of 5%."""
        return len(self.claims) * max(1, len(self.datamodules))

    @property
    def shared_by(self) -> str:
        """What shares the error rate, in words that follow "a probability of 5% at most"."""
        if len(self.datamodules) < 2:
            return "for all claims on one data set and protocol together"
        together = f"for all claims on {', '.join(self.datamodules)} together, under one protocol"
        return f"{together}; any other data set adds {5 / len(self.datamodules):.2g}% at most"


def as_text(value: Any) -> str:
    """A setting as text; equal settings give equal texts: 4, 4.0 and "4" alike."""
    if isinstance(value, list):
        return f"[{', '.join(map(as_text, value))}]"
    number = as_number(value)
    return str(value) if number is None else f"{number:.12g}"


def _specifications(claim: Claim) -> Iterator[Specification]:
    for taken in product(*(choice.options for choice in claim.choices)):
        left, right = claim.quantity, claim.right_quantity or claim.quantity
        floors = claim.must_beat
        for option in taken:
            left, right = renamed(left, option.left), renamed(right, option.right)
            floors = tuple((renamed(score, option.left), row) for score, row in floors)
        options = tuple((choice.title, option.label) for choice, option in zip(claim.choices, taken, strict=True))
        yield Specification(options, left, right, floors, claim.must_exceed)
