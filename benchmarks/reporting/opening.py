"""What the page says first of a table: a sentence for each pair of families, pictures side by side, and maps of two scores."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from markupsafe import Markup

from benchmarks.reporting.duels import Duel, can_be_asked, fight
from benchmarks.reporting.gallery import Strip, strips
from benchmarks.reporting.labels import written
from benchmarks.reporting.maps import score_map
from benchmarks.reporting.numbers import number
from benchmarks.reporting.questions import QUESTIONS, Question
from benchmarks.reporting.table import ColumnHead, Row, Table, budget_text

# tables with an opening, and families in an opening: with more, a page has no first screen
MOST_TABLES, MOST_FAMILIES = 6, 8
# families without a point in a map whose reasons are below the map
MOST_REASONS = 5
# the pair that people ask for first
FIRST_PAIR = ("vae", "gan")
# the columns of the maps: each one across that has numbers, and the first one up that has numbers
ACROSS, UP = (("inversion_mse", "recon_mse"), ("ais", "elbo")), ("fid", "wasserstein2")


@dataclass(frozen=True)
class Sentence:
    """What two families do better than each other.

    Args:
        left, right: the names of the families.
        text: the sentence, escaped.
    """

    left: str
    right: str
    text: Markup


@dataclass(frozen=True)
class Opening:
    """What the page says first of a table.

    Args:
        table: the table.
        facts: what was run, in one line.
        sentences: one a pair of families; the pair that people ask for first is the first.
        strips: pictures of each family.
        maps: one for each pair of scores that the families have.
        absent: the families without a point in a map, and why.
        notes: what the reader has to know of the choice of rows.
    """

    table: Table
    facts: str
    sentences: Sequence[Sentence]
    strips: Sequence[Strip]
    maps: Sequence[Markup]
    absent: str
    notes: str


def openings(
    tables: Sequence[Table], pictures: Mapping[str, Mapping[str, Path]], families: Sequence[str], min_seeds: int
) -> list[Opening]:
    """The openings of the first tables of a test split that have rows.

    Args:
        tables: of the report.
        pictures: files by row and kind.
        families: of the report, in the order of their colours.
        min_seeds: rows with fewer finished seeds decide nothing.
    """
    tested = [table for table in tables if table.protocol["split"] == "test" and table.models and table.columns]
    return [_opening(table, pictures, families, min_seeds) for table in tested[:MOST_TABLES]]


def _opening(
    table: Table, pictures: Mapping[str, Mapping[str, Path]], families: Sequence[str], min_seeds: int
) -> Opening:
    comparable = comparable_rows(table)
    up = first_column(UP, table, comparable)
    chosen = best_rows(comparable, up)
    maps, absent = [], []
    for names in ACROSS:
        across = first_column(names, table, comparable)
        if up is not None and across is not None:
            floor = table.baselines.get("real train")
            maps.append(score_map(across, up, comparable, families, floor))
            absent += _absent(across, comparable)
    return Opening(
        table=table,
        facts=_facts(table),
        sentences=_sentences(table, chosen, min_seeds),
        strips=strips(table, chosen, pictures),
        maps=[each for each in maps if each],
        absent="; ".join(absent),
        notes=_notes(table, comparable, chosen, up),
    )


def comparable_rows(table: Table) -> list[Row]:
    """The largest group of rows that are the same in everything besides their method: most families, then most rows."""
    groups: dict[tuple[tuple[str, str], ...], list[Row]] = defaultdict(list)
    for row in table.models:
        groups[tuple(sorted(row.facts.items()))].append(row)
    return max(groups.values(), key=lambda rows: (len({row.model for row in rows}), len(rows)))


def best_rows(rows: Sequence[Row], by: ColumnHead | None) -> list[Row]:
    """One row for each of the first families: the one with the best mean of a column."""
    sign = -1 if by is not None and by.higher_is_better else 1

    def place(row: Row) -> tuple[bool, float]:
        mean = row.cells[by.name].mean if by is not None and by.name in row.cells else None
        return mean is None, 0.0 if mean is None else sign * mean

    by_family: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_family[row.model].append(row)
    return [min(of_family, key=place) for of_family in list(by_family.values())[:MOST_FAMILIES]]


def first_column(names: Sequence[str], table: Table, rows: Sequence[Row]) -> ColumnHead | None:
    """The first of some columns that two families have."""
    by_name = {column.name: column for column in table.columns}
    for name in names:
        if name in by_name and len({row.model for row in rows if row.values(name)}) > 1:
            return by_name[name]
    return None


def _absent(column: ColumnHead, rows: Sequence[Row]) -> list[str]:
    """Each family without a number in a column, and the reason of its first row; of many families, only their names."""
    have = {row.model for row in rows if row.values(column.name)}
    lacking = {row.model: row for row in reversed(rows) if row.model not in have}
    title, named = _short(column), [(written(model), row) for model, row in reversed(lacking.items())]
    if len(named) > MOST_REASONS:
        return [f"{', '.join(name for name, _ in named[:-1])} and {named[-1][0]} have no {title}; the tables say why"]
    return [f"{name} has no {title}: {row.why_not(column.name)}" for name, row in named]


def _sentences(table: Table, rows: Sequence[Row], min_seeds: int) -> list[Sentence]:
    """The sentences of each pair of rows, of different families."""
    columns = {column.name: column for column in table.columns if can_be_asked(column)}
    pairs = list(combinations(rows, 2))
    part = replace(table, rows=[*rows, *table.baselines.values()])
    duels: dict[tuple[str, str], dict[str, Duel]] = defaultdict(dict)
    for question in QUESTIONS:
        asked = [
            (a.model, b.model, columns[name])
            for a, b in pairs
            for name in [next((n for n in question.columns if n in columns and a.values(n) and b.values(n)), None)]
            if name is not None
        ]
        for duel in fight(part, asked, min_seeds) if asked else ():
            duels[duel.left, duel.right][question.title] = duel
    by_model = {row.model: row for row in rows}
    sentences = [
        Sentence(left, right, _sentence(by_model[left], by_model[right], found, min_seeds))
        for (left, right), found in duels.items()
    ]
    return sorted(sentences, key=lambda sentence: {sentence.left, sentence.right} != set(FIRST_PAIR))


def _sentence(a: Row, b: Row, duels: Mapping[str, Duel], min_seeds: int) -> Markup:
    """For example: "GAN has the better samples (FID 17 against 58), VAE the closer reconstructions (...)." """
    clauses: dict[str, list[Markup]] = {a.model: [], b.model: []}
    reasons: dict[str, list[str]] = defaultdict(list)  # why questions are not decided: the questions
    for question in QUESTIONS:
        duel = duels.get(question.title)
        if duel is None:
            reasons["not measured for both"].append(question.title.lower())
        elif duel.winner is None:
            reason = _why_open(duel, a, b, min_seeds)
            reasons[reason].append(f"{question.title.lower()} ({_scores(duel.column, (a, b), ' and ')})")
        else:
            clauses[duel.winner].append(_clause(question, duel, *((a, b) if duel.winner == a.model else (b, a))))
    parts: list[Markup] = []
    for model, of_model in clauses.items():
        if of_model:
            verb = " has " if not parts else " "
            parts.append(Markup("<strong>{}</strong>{}").format(written(model), verb) + _and(of_model))
    is_one_sided = len(parts) < 2
    pair = Markup("{} and {}: ").format(written(a.model), written(b.model)) if is_one_sided else Markup("")
    text = Markup(", ").join(parts) + "." if parts else Markup("nothing is decided.")
    is_open = "; ".join(f"{reason}: {', '.join(titles)}" for reason, titles in reasons.items())
    return pair + text + (Markup(' <span class="soft">{}.</span>').format(_capital(is_open)) if is_open else "")


def _clause(question: Question, duel: Duel, better: Row, worse: Row) -> Markup:
    """The better row's part of a sentence, with both means."""
    return Markup("{} ({})").format(question.better, _scores(duel.column, (better, worse), " against "))


def _scores(column: ColumnHead, rows: Sequence[Row], between: str) -> str:
    """For example: "FID 17 against 58"."""
    means = [number(mean) for row in rows if (mean := row.cells[column.name].mean) is not None]
    return f"{_short(column)} {between.join(means)} {column.unit}".rstrip()


def _short(column: ColumnHead) -> str:
    """The title of a column without what it was measured with."""
    return column.title.split(" (")[0]


def _why_open(duel: Duel, a: Row, b: Row, min_seeds: int) -> str:
    """Why a duel is not decided, in a few words."""
    fewest = min(len(row.values(duel.column.name)) for row in (a, b))
    if fewest < min_seeds:
        return f"too few seeds ({fewest}, {min_seeds} are needed)"
    return "within chance" if duel.answer.p is not None else "not comparable"


def _and(parts: Sequence[Markup]) -> Markup:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else Markup(", ").join(parts[:-1]) + " and " + parts[-1]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _facts(table: Table) -> str:
    """What was run, in one line."""
    models, protocol = table.models, table.protocol
    runs = sum(len(row.runs) for row in models)
    names = list(dict.fromkeys(written(row.model) for row in models))
    shown = ", ".join(names[:MOST_FAMILIES]) + f" and {len(names) - MOST_FAMILIES} more" * (len(names) > MOST_FAMILIES)
    rows = f" in {len(models)} rows" if len(models) > len(names) else ""
    seeds = sorted({len(row.runs) for row in models})
    each = f"{seeds[0]} seeds each" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds each"
    budgets = {text for row in models for run in row.runs[:1] if (text := budget_text(run.record))}
    budget = f", {budgets.pop()} a run" if len(budgets) == 1 else ", different budgets" if budgets else ""
    against = min(table.data["sizes"].get(protocol["split"], 0), protocol.get("examples") or float("inf"))
    scored = f": {protocol['samples']:,} samples against {against:,} test images" if protocol.get("encoder") else ""
    return (
        f"{runs} runs on {table.datamodule}: {shown}{rows}, {each.replace('1 seeds', '1 seed')}, network "
        f"{table.network}{budget}. Scored by protocol {protocol['name']}{scored}."
    )


def _notes(table: Table, comparable: Sequence[Row], chosen: Sequence[Row], up: ColumnHead | None) -> str:
    """What the reader has to know of the choice of rows."""
    notes = []
    if len(comparable) > len(chosen) and up is not None:
        notes.append(f"The sentences and pictures are of the row with the best {up.title} of each family.")
    if len(comparable) < len(table.models):
        notes.append(
            f"{len(table.models) - len(comparable)} of {len(table.models)} rows differ from the others in more than their "
            "method; the tables have them."
        )
    return " ".join(notes)
