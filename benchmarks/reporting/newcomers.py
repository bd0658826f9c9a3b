"""Models that no claim names: each one against each model that claims name, column by column.

No verdict of a claim comes from here. Each column has an error rate of 5% for all its pairs together (Holm).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.reporting.claims import Claims
from benchmarks.reporting.duels import Duel, can_be_asked, fight
from benchmarks.reporting.numbers import number
from benchmarks.reporting.opening import comparable_rows
from benchmarks.reporting.table import ColumnHead, Row, Table

# with more pairs of rows, a report would take noticeably longer
MOST_PAIRS = 2000
# the fewest values from which the size of an effect, and so the number of seeds, can be estimated
FEWEST_SEEDS = 2
OPEN = "not decided"


@dataclass(frozen=True)
class Meeting:
    """A new model against a named one on one column.

    Args:
        baseline: the named model.
        outcome: "better", "worse" or "not decided".
        effect: the difference with its interval; empty without a test.
        seeds: what would decide; empty if the outcome is decided.
    """

    baseline: str
    outcome: str
    effect: str
    seeds: str


@dataclass(frozen=True)
class Newcomer:
    """A model of a table that no claim names.

    Args:
        table: the table.
        model: its name.
        baselines: the models that claims name.
        columns: each column with one meeting a baseline; None if one of the two has no value.
        too_many: whether the table has too many rows to compare.
        assumed: what is not known of the model and was taken to be as in most rows; empty for a model of genbench.
    """

    table: Table
    model: str
    baselines: Sequence[str]
    columns: Sequence[tuple[ColumnHead, Sequence[Meeting | None]]]
    too_many: bool = False
    assumed: str = ""

    @property
    def lines(self) -> list[str]:
        """In words: what the model does better and worse than each baseline, and what more seeds would decide."""
        if self.too_many:
            return ["too many rows to compare; build the report of a part of them: only.model=..."]
        lines = [self._line(place, baseline) for place, baseline in enumerate(self.baselines)]
        return [*lines, self.assumed] if self.assumed else lines

    def _line(self, place: int, baseline: str) -> str:
        met = [(column, meeting) for column, meetings in self.columns if (meeting := meetings[place]) is not None]
        words = []
        for outcome in ("better", "worse"):
            titles = [self._title(column) for column, meeting in met if meeting.outcome == outcome]
            words += [f"{outcome} in {', '.join(titles)}"] if titles else []
        is_open = [(column, meeting) for column, meeting in met if meeting.outcome == OPEN]
        if is_open:
            first, meeting = is_open[0]
            words.append(f"not decided: {len(is_open)} columns ({self._title(first)}: {meeting.seeds})")
        return f"against {baseline}: {'; '.join(words) or 'no common score'}"

    def _title(self, column: ColumnHead) -> str:
        """The title without its parentheses; if two columns share it, with the first word in them, the feature encoder."""
        short, _, inside = column.title.partition(" (")
        shared = sum(other.title.partition(" (")[0] == short for other, _ in self.columns) > 1
        return f"{short} ({inside.rstrip(')').split(',')[0]})" if shared else short


def newcomers(tables: Sequence[Table], claims: Claims, min_seeds: int) -> list[Newcomer]:
    """The models of tables of a test split that no claim names, each against the models of its table that claims name."""
    named = {side.model for claim in claims.claims for _, side in claim.sides}
    found = []
    for table in tables:
        models = list(dict.fromkeys(row.model for row in table.models))
        new, old = ([m for m in models if (m in named) == is_named] for is_named in (False, True))
        if new and old and table.protocol["split"] == "test":
            found += _meetings(table, new, old, min_seeds)
    return found


def _meetings(table: Table, new: Sequence[str], old: Sequence[str], min_seeds: int) -> list[Newcomer]:
    of_new, of_old = (sum(row.model in models for row in table.models) for models in (new, old))
    if of_new * of_old > MOST_PAIRS:
        return [Newcomer(table, model, old, (), too_many=True) for model in new]
    table, assumed = _completed(table)
    by_place: dict[tuple[str, str, str], Meeting] = {}
    columns = [column for column in table.columns if can_be_asked(column)]
    for column in columns:
        have = {row.model for row in table.models if row.values(column.name)}
        asked = [(a, b, column) for a in new for b in old if a in have and b in have]
        for duel in fight(table, asked, FEWEST_SEEDS) if asked else ():
            by_place[duel.left, duel.right, column.name] = _meeting(duel, min_seeds)
    return [
        Newcomer(
            table,
            model,
            old,
            [
                (column, [by_place.get((model, baseline, column.name)) for baseline in old])
                for column in columns
                if any((model, baseline, column.name) in by_place for baseline in old)
            ],
            assumed=assumed.get(model, ""),
        )
        for model in new
    ]


def _completed(table: Table) -> tuple[Table, dict[str, str]]:
    """The table in which a row from elsewhere has the facts of most rows where its own are not known; and what was assumed.

    Who submits samples alone asks how good they are, whatever network made them. Claims assume nothing.
    """
    own = [row for row in table.models if not row.runs[0].is_external]
    if not own:
        return table, {}
    usual, assumed, rows = comparable_rows(replace(table, rows=own))[0].facts, dict[str, str](), list[Row]()
    for row in table.rows:
        unknown = usual.keys() - row.facts.keys() if row.runs and row.runs[0].is_external else ()
        if unknown:
            assumed[row.model] = (
                f"not known of {row.model}, and taken to be as in most rows: {', '.join(sorted(unknown))}"
            )
            row = replace(row, known_facts={**usual, **row.facts})
        rows.append(row)
    return replace(table, rows=rows), assumed


def _meeting(duel: Duel, min_seeds: int) -> Meeting:
    point = duel.answer.decisive
    if point is None:
        return Meeting(duel.right, OPEN, "", duel.answer.reason)
    effect = f"{number(point.effect)} ({number(point.low)} to {number(point.high)})"
    if duel.fewest >= min_seeds and duel.winner is not None:
        return Meeting(duel.right, "better" if duel.winner == duel.left else "worse", effect, "")
    if duel.fewest < min_seeds:
        needed = max(duel.seeds or 0, min_seeds)
        return Meeting(duel.right, OPEN, effect, f"{duel.fewest} seeds; {needed} are needed")
    if duel.seeds is None:
        return Meeting(duel.right, OPEN, effect, "within chance")
    return Meeting(duel.right, OPEN, effect, f"{duel.fewest} seeds; {duel.seeds} decide an effect of this size")
