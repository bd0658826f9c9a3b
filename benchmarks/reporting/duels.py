"""Two models on one column: which one is better, tested as a claim is tested, but asked by no claim.

A duel asks "is the left model better than the right one?" of a table. It compares rows that are the same in everything besides
their method, counts lost seeds against what is tested, and shares an error rate of 5% with the other duels of its call (Holm).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from keyword import iskeyword

from benchmarks.reporting.claims import Claim, Claims, Side
from benchmarks.reporting.evidence import Group
from benchmarks.reporting.points import seeds_needed
from benchmarks.reporting.seed_statistics import ALPHA
from benchmarks.reporting.specifications import STATEMENTS
from benchmarks.reporting.table import ColumnHead, Table
from benchmarks.reporting.verdicts import Answer, answer_all


@dataclass(frozen=True)
class Duel:
    """The answer to "is the left model better than the right one on a column?".

    Args:
        left, right: names of models.
        column: that is compared.
        answer: to the claim that the left model is better.
        among: the number of duels that share the error rate.
    """

    left: str
    right: str
    column: ColumnHead
    answer: Answer
    among: int

    @property
    def winner(self) -> str | None:
        """The better model; None if that is not decided."""
        return {"holds": self.left, "does not hold": self.right}.get(self.answer.verdict)

    @property
    def fewest(self) -> int:
        """The smallest number of values of a row in the duel; 0 without a test."""
        sides = [side for point in self.answer.points for side in (point.left, point.right)]
        return min((len(side.values) for side in sides if isinstance(side, Group)), default=0)

    @property
    def seeds(self) -> int | None:
        """The seeds a side with which the duel decides an effect of the size seen, in 4 of 5 cases; None if that is not known."""
        point = self.answer.decisive
        return None if point is None else seeds_needed(self.answer.claim, point, ALPHA / (STATEMENTS * self.among))


def can_be_asked(column: ColumnHead) -> bool:
    """Whether a column has a direction, and a name that a claim can have."""
    name = column.name
    return column.higher_is_better is not None and name.isidentifier() and not iskeyword(name)


def fight(table: Table, duels: Sequence[tuple[str, str, ColumnHead]], min_seeds: int) -> list[Duel]:
    """The duels that both models of a table have scores for, with one error rate of 5% for all that are asked.

    Args:
        table: of a test split; for another table there is no duel.
        duels: models on the left and on the right, and the column.
        min_seeds: rows with fewer values decide nothing.
    """
    claims = [
        Claim(
            name=str(i),
            title=f"{left} is better than {right} by {column.title}",
            quantity=column.name,
            left=(Side(left),),
            right=(Side(right),),
            expect="higher" if column.higher_is_better else "lower",
            unit=column.unit,
        )
        for i, (left, right, column) in enumerate(duels)
    ]
    answers = answer_all(Claims(claims), [table], min_seeds=min_seeds)
    return [Duel(*duels[int(answer.claim.name)], answer, len(claims)) for answer in answers if answer.datamodule]
