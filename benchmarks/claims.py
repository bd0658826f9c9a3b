"""Sentences as tests over records: `conf/claims/*.yaml` says which score, of which models, and in which direction.

Needs no torch. A claim is answered for every table that has its scores: it holds, it does not hold, or it is undecided.
"""

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from benchmarks.errors import UserError
from benchmarks.leaderboard import PARTS, Row, Table, budget_text, flatten, number
from benchmarks.runs import Run, read_config
from benchmarks.searches import Search
from benchmarks.statistics import ALPHA, MIN_SEEDS, Array, deviations, differences, differences_from, holm, one_sided

Verdict = Literal["holds", "does not hold", "undecided"]

_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
# of an answer that rests on very many pairs of rows, how many are kept
SHOWN_PAIRS = 12
_FUNCTIONS: dict[str, Callable[[float], float]] = {"log": math.log, "sqrt": math.sqrt, "abs": abs}


@dataclass(frozen=True)
class Side:
    """The rows that a claim speaks of: those of a model, and of these settings where they are given."""

    model: str
    where: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        said = ", ".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in self.where)
        return f"{self.model} ({said})" if said else self.model

    def matches(self, row: Row) -> bool:
        if row.model != self.model or row.is_calibration:
            return False
        config = dict(flatten(read_config(row.runs[0].path))) if self.where else {}
        return all(key in config and repr(config[key]) == value for key, value in self.where)


@dataclass(frozen=True)
class Claim:
    """A sentence, and what would show it.

    Args:
        name: its file's.
        title: the sentence.
        quantity: of one run: a score's or cost's name, or arithmetic of several, e.g. "fid / fid_fitted".
        left: models, each of which is tested against every one of `right` that has had the same budget; all must pass.
        right: models, or one number.
        expect: of left against right. "equal": within `margin`.
        scale: whether values are compared by difference, or by ratio (of geometric means).
        margin: how far apart counts as different: a difference, or a factor above 1 on the scale of ratios. Where the
            expectation is "higher" or "lower", what has to be exceeded.
        statistic: of each side's values: their mean, or their spread (mean distance from the median).
        over: the values of a side are those of its training seeds, or of a search's trials.
        right_quantity: of a run on the right, where it is another one.
        unit: of the quantity.
        datamodules: where it is answered; empty for wherever there are the scores.
        source: whose sentence it is.
        note: what a reader should know besides.
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
    unit: str = ""
    datamodules: tuple[str, ...] = ()
    source: str = ""
    note: str = ""
    order: int = 1000

    @property
    def subject(self) -> str:
        """What is compared, in words."""
        against = f" against {self.right_quantity}" if self.right_quantity else ""
        what = self.quantity + against + (f" [{self.unit}]" if self.unit else "")
        what = f"spread of {what}" if self.statistic == "spread" else what
        return f"{what} over {'hyper-parameters' if self.over == 'trials' else 'seeds'}"


@dataclass(frozen=True)
class Group:
    """One side's values, a number a run, and the runs.

    Args:
        diverged: how many runs have no value because they diverged.
        budget: what each was given, in words: rows that were given different amounts are not compared.
    """

    label: str
    values: Array
    runs: tuple[Path, ...]
    diverged: int = 0
    budget: str | None = None


# by whether it is the right side, and by the side: one group a row that it names
Groups = dict[tuple[bool, Side], list[Group]]


@dataclass(frozen=True)
class Pair:
    """Left against right: the effect on the claim's scale with its 95% interval, Hedges' g, and the two p-values."""

    left: Group
    right: Group | float
    effect: float
    low: float
    high: float
    g: float | None
    p_holds: float
    p_fails: float


@dataclass(frozen=True)
class Answer:
    """A claim on one table (or one search), decided at 5% after Holm's correction over every answer of the report."""

    claim: Claim
    where: str
    datamodule: str
    network: str
    verdict: Verdict
    reason: str
    pairs: tuple[Pair, ...] = ()
    p: float | None = None
    adjusted_p: float | None = None
    leans: Literal["holds", "does not hold"] = "holds"
    absent: tuple[str, ...] = ()

    @property
    def decisive(self) -> Pair | None:
        """The pair on which the claim stands or falls: the one that says least for it."""
        return max(self.pairs, key=lambda pair: pair.p_holds, default=None)

    @property
    def runs(self) -> list[Path]:
        groups = [g for pair in self.pairs for g in (pair.left, pair.right) if isinstance(g, Group)]
        return sorted({run for group in groups for run in group.runs})


def load_claims(folder: Path | None = None) -> list[Claim]:
    """The claims of a folder of yaml files, or genbench's own.

    Raises:
        UserError: for a folder without claims, or a file that is not one; the message names the file and what is wrong.
    """
    root: Traversable = resources.files("conf") / "claims" if folder is None else folder
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; set claims=FOLDER to one of yaml files, as conf/claims is")
    files = [entry for entry in root.iterdir() if entry.name.endswith(".yaml")]
    if not files:
        raise UserError(f"{root} holds no yaml file; a claim is one, as in conf/claims")
    claims = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file} cannot be read ({' '.join(str(error).split())})") from error
        claims.append(parse_claim(file.name.removesuffix(".yaml"), text))
    return sorted(claims, key=lambda claim: (claim.order, claim.name))


def parse_claim(name: str, text: str) -> Claim:
    """
    Raises:
        UserError: for what is not a claim.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"claim {name}: {' '.join(str(error).split())}") from error
    known = {f.name for f in fields(Claim)} - {"name"}
    if not isinstance(found, dict):
        raise UserError(f"claim {name}: expected keys and values ({', '.join(sorted(known))})")
    if unknown := sorted(map(str, set(found) - known)):
        raise UserError(f"claim {name}: unknown key {unknown[0]}; expected {', '.join(sorted(known))}")
    if missing := [key for key in ("title", "quantity", "left", "right", "expect") if key not in found]:
        raise UserError(f"claim {name}: {missing[0]} is missing")
    for key, choices in {
        "expect": ("higher", "lower", "equal"),
        "scale": ("difference", "ratio"),
        "statistic": ("mean", "spread"),
        "over": ("seeds", "trials"),
    }.items():
        if key in found and found[key] not in choices:
            raise UserError(f"claim {name}: {key} is {found[key]!r}; expected {' or '.join(choices)}")
    texts = ("title", "quantity", "right_quantity", "unit", "source", "note")
    for key, kinds, expected in [
        *((key, (str,), "a text") for key in texts),
        ("margin", (int, float), "a number"),
        ("order", (int,), "a whole number"),
        ("datamodules", (list,), "a list of data modules, as in [ring, grid]"),
    ]:
        if key in found and (not isinstance(found[key], kinds) or isinstance(found[key], bool)):
            raise UserError(f"claim {name}: {key} is {found[key]!r}; expected {expected}")
    is_number = isinstance(found["right"], int | float) and not isinstance(found["right"], bool)
    found["left"] = _sides(name, found["left"])
    found["right"] = float(found["right"]) if is_number else _sides(name, found["right"])
    found["datamodules"] = tuple(found.get("datamodules") or ())
    claim = Claim(name, **found)
    names_in(claim.quantity, name)
    names_in(claim.right_quantity or claim.quantity, name)
    if claim.statistic == "spread" and (claim.scale == "ratio" or is_number):
        raise UserError(f"claim {name}: spreads are compared by difference, and between models")
    if claim.expect == "equal" and (claim.margin is None or claim.margin <= 0):
        raise UserError(f"claim {name}: to be equal needs a margin above 0")
    if claim.over == "trials" and any(side.where for _, side in _all_sides(claim)):
        raise UserError(f"claim {name}: a search's trials differ in their settings, and where cannot choose of them")
    needs_factor = claim.scale == "ratio" and claim.margin is not None and claim.margin <= 1
    if needs_factor or (claim.scale == "ratio" and isinstance(claim.right, float) and claim.right <= 0):
        raise UserError(f"claim {name}: on the scale of ratios a margin is a factor above 1, and a number is above 0")
    return claim


@lru_cache(maxsize=256)
def names_in(quantity: str, claim: str = "") -> frozenset[str]:
    """The scores that an expression needs.

    Raises:
        UserError: for anything but names, numbers, + - * / and log, sqrt, abs.
    """
    try:
        tree = ast.parse(quantity, mode="eval")
    except SyntaxError as error:
        raise UserError(f"claim {claim}: quantity {quantity!r} is no expression") from error
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        match node:
            case ast.Expression(body=body):
                visit(body)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                visit(left)
                visit(right)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                visit(operand)
            case ast.Call(func=ast.Name(id=function), args=[argument], keywords=[]) if function in _FUNCTIONS:
                visit(argument)
            case ast.Name(id=found):
                names.add(found)
            case ast.Constant(value=int() | float()):
                pass
            case _:
                allowed = "names of scores, numbers, + - * / and log(), sqrt(), abs()"
                raise UserError(f"claim {claim}: quantity {quantity!r} has something else than {allowed}")

    visit(tree)
    return frozenset(names)


@lru_cache(maxsize=256)
def _parsed(quantity: str) -> ast.expr:
    return ast.parse(quantity, mode="eval").body


def evaluate(quantity: str, scores: Mapping[str, float]) -> float | None:
    """The expression's value for a run's scores; None where a score is missing or the value is no finite number."""
    if not names_in(quantity) <= scores.keys():
        return None

    def value(node: ast.expr) -> float:
        match node:
            case ast.BinOp(left=left, op=op, right=right):
                return _OPERATORS[type(op)](value(left), value(right))
            case ast.UnaryOp(operand=operand):
                return -value(operand)
            case ast.Call(func=ast.Name(id=function), args=[argument]):
                return _FUNCTIONS[function](value(argument))
            case ast.Name(id=name):
                return scores[name]
            case ast.Constant(value=int() | float() as constant):
                return float(constant)
        raise AssertionError(ast.dump(node))  # names_in lets nothing else through

    try:
        result = value(_parsed(quantity))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def answer_all(
    claims: Sequence[Claim],
    tables: Sequence[Table],
    searches: Sequence[Search] = (),
    runs: Sequence[Run] = (),
    min_seeds: int = MIN_SEEDS,
) -> list[Answer]:
    """Every claim on every table or search that has both its sides; one answer without data where there is none.

    Args:
        claims: in the order of the answers.
        tables: of which those of a test split count.
        searches: for claims over trials.
        runs: among which are the searches' trials.
        min_seeds: a side with fewer values decides nothing.
    """
    by_path = {run.path.resolve(): run for run in runs} if searches else {}
    answers = []
    for claim in claims:
        found: list[Answer] = []
        if claim.over == "trials":
            for search in searches:
                groups = _trial_groups(claim, search, by_path)
                place = (search.title, search.record["datamodule"], search.record["network"])
                if groups and search.record["sampler"] != "random":
                    reason = "its trials were not drawn at random, and their spread is the sampler's: sampler=random"
                    found.append(Answer(claim, *place, "undecided", reason))
                else:
                    found += _answer(claim, place, groups, min_seeds)
        else:
            needed = names_in(claim.quantity) | names_in(claim.right_quantity or claim.quantity)
            seen = set()
            for table in tables:
                # costs are the same under every protocol: one answer for each data set and network
                key = (table.datamodule, table.network, table.data["id"])
                is_new = not needed <= set(PARTS["Cost"]) or key not in seen
                if table.protocol["split"] == "test" and is_new:
                    seen.add(key)
                    place = (f"{table.title} · {table.protocol['name']}", table.datamodule, table.network)
                    found += _answer(claim, place, _row_groups(claim, table), min_seeds)
        answers += found or [Answer(claim, "—", "", "", "undecided", _nothing(claim))]
    return _decide(answers)


def effect_text(claim: Claim, pair: Pair) -> str:
    """A pair's effect in words and numbers, with its 95% interval."""
    values = [pair.effect, pair.low, pair.high]
    unit = f" {claim.unit}" if claim.unit and claim.scale == "difference" else ""
    if not isinstance(pair.right, Group):
        shown = [v * pair.right if claim.scale == "ratio" else v + pair.right for v in values]
        words = f"{pair.left.label} has {number(shown[0])}{unit}, against {number(pair.right)}"
    else:
        shown = values
        sign = "/" if claim.scale == "ratio" else "−"
        words = f"{pair.left.label} {sign} {pair.right.label} = {number(shown[0])}{unit}"
    return f"{words} (95%: {number(shown[1])} to {number(shown[2])})"


def p_text(p: float | None) -> str:
    """A p-value to two digits, or that it is very small."""
    if p is None:
        return "—"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _sides(name: str, given: Any) -> tuple[Side, ...]:
    sides = []
    for side in given if isinstance(given, list) else [given]:
        if isinstance(side, str):
            sides.append(Side(side))
        elif isinstance(side, dict) and {"model"} <= side.keys() <= {"model", "where"}:
            where = side.get("where") or {}
            if not isinstance(where, dict):
                raise UserError(f"claim {name}: where is {where!r}; expected keys and values")
            # as text, which can be a key itself, whatever the value
            sides.append(Side(str(side["model"]), tuple((str(k), repr(v)) for k, v in where.items())))
        else:
            raise UserError(f"claim {name}: {side!r} is no model; expected a name, or model and where")
    if not sides:
        raise UserError(f"claim {name}: a side is empty; expected a model's name")
    return tuple(sides)


def _row_groups(claim: Claim, table: Table) -> Groups:
    groups: Groups = {}
    for is_right, side in _all_sides(claim):
        quantity = claim.right_quantity if is_right and claim.right_quantity else claim.quantity
        for row in table.rows:
            if not side.matches(row):
                continue
            paths = {int(run.record["seed"]): run.path for run in row.runs}
            found = {seed: evaluate(quantity, scores) for seed, scores in row.measured.items()}
            kept = {seed: value for seed, value in found.items() if value is not None}
            if kept:
                runs = tuple(paths[seed] for seed in kept)
                lost, budget = row.count("diverged"), budget_text(row.runs[0].record)
                made = Group(row.label, np.array(list(kept.values())), runs, lost, budget)
                groups.setdefault((is_right, side), []).append(made)
    return groups if _wanted(claim, table.datamodule) else {}


def _trial_groups(claim: Claim, search: Search, runs: Mapping[Path, Run]) -> Groups:
    """The trials of each side's model that have a value."""
    groups: Groups = {}
    for is_right, side in _all_sides(claim):
        quantity = claim.right_quantity if is_right and claim.right_quantity else claim.quantity
        values, paths = [], []
        for trial in search.trials.get(side.model, []):
            run = runs.get((search.runs_dir / trial.run).resolve())
            sheets = [sheet for sheet in run.sheets if sheet.protocol_id == search.record["protocol_id"]] if run else []
            for sheet in sheets:
                value = evaluate(quantity, {s.name: s.value for s in sheet.scores if s.value is not None})
                if value is not None and run is not None:
                    values.append(value)
                    paths.append(run.path)
        if values:
            lost = sum(trial.status == "diverged" for trial in search.trials[side.model])
            groups[is_right, side] = [Group(f"{side.name}, {len(values)} trials", np.array(values), tuple(paths), lost)]
    return groups if _wanted(claim, search.record["datamodule"]) else {}


def _all_sides(claim: Claim) -> list[tuple[bool, Side]]:
    """Each with whether it is on the right: what is measured there may be another quantity."""
    right = () if isinstance(claim.right, float) else claim.right
    return [*((False, side) for side in claim.left), *((True, side) for side in right)]


def _wanted(claim: Claim, datamodule: str) -> bool:
    return not claim.datamodules or datamodule in claim.datamodules


def _answer(claim: Claim, place: tuple[str, str, str], groups: Groups, min_seeds: int) -> list[Answer]:
    """Nothing, where no left side or no right side is there; otherwise one answer, not yet decided."""
    left = [group for side in claim.left for group in groups.get((False, side), [])]
    right: list[Group | float]
    if isinstance(claim.right, float):
        right = [claim.right]
    else:
        right = [group for side in claim.right for group in groups.get((True, side), [])]
    if not left or not right:
        return []
    if not any(_is_fair(a, b) for a, b in product(left, right)):
        return [Answer(claim, *place, "undecided", "no two of its rows have had the same budget")]
    there = [*left, *(group for group in right if isinstance(group, Group))]
    few = [f"{group.label} has {len(group.values)}" for group in there if len(group.values) < min_seeds]
    if few:
        what = "trials" if claim.over == "trials" else "seeds"
        reason = f"too few {what}: {', '.join(few)}, {min_seeds} are needed"
        return [Answer(claim, *place, "undecided", reason)]
    if claim.scale == "ratio" and any((group.values <= 0).any() for group in there):
        return [Answer(claim, *place, "undecided", "a ratio of values that are not all above 0 says nothing")]
    pairs, p_holds, p_fails = _pairs(claim, left, right)
    # every pair must pass, so the largest p-value is the whole's (Berger 1982); one pair is enough to refute it
    holds, fails = float(p_holds.max()), min(1.0, len(p_fails) * float(p_fails.min()))
    absent = tuple(side.name for is_right, side in _all_sides(claim) if (is_right, side) not in groups)
    diverged = [f"{g.diverged} of {g.diverged + len(g.values)} of {g.label} diverged" for g in there if g.diverged]
    if diverged and claim.statistic == "spread":
        reason = f"{', '.join(diverged)}: what diverged has no value, and is part of the spread"
        return [Answer(claim, *place, "undecided", reason)]
    reasons = [f"{', '.join(diverged)} and are not in it"] if diverged else []
    if len(pairs) < len(p_holds):
        reasons.append(f"{len(p_holds)} pairs, of which those that say least for it are kept")
    p, leans = min(1.0, 2 * min(holds, fails)), "holds" if holds <= fails else "does not hold"
    return [Answer(claim, *place, "undecided", "; ".join(reasons), tuple(pairs), p, leans=leans, absent=absent)]  # type: ignore[arg-type]


def _pairs(claim: Claim, left: Sequence[Group], right: Sequence[Group | float]) -> tuple[list[Pair], Array, Array]:
    """Every left group against every right one: the pairs that say least for the claim, and the p-values of all, for it
    and against it. Those with as many values on each side are tested in one call."""
    shapes: dict[tuple[int, int], list[tuple[Group, Group | float]]] = {}
    for a, b in product(left, right):
        if not _is_fair(a, b):
            continue
        shapes.setdefault((len(a.values), len(b.values) if isinstance(b, Group) else 0), []).append((a, b))
    parts = [_tested(claim, pairs) for pairs in shapes.values()]
    kept = sorted((pair for pairs, _, _ in parts for pair in pairs), key=lambda pair: -pair.p_holds)[:SHOWN_PAIRS]
    return kept, np.concatenate([holds for _, holds, _ in parts]), np.concatenate([fails for _, _, fails in parts])


def _tested(claim: Claim, pairs: Sequence[tuple[Group, Group | float]]) -> tuple[list[Pair], Array, Array]:
    is_ratio = claim.scale == "ratio"

    def stacked(groups: Iterable[Group | float]) -> Array:
        values = np.stack([group.values for group in groups if isinstance(group, Group)])
        values = deviations(values) if claim.statistic == "spread" else values
        return np.log(values) if is_ratio else values

    a = stacked(left for left, _ in pairs)
    b: Array | float
    if isinstance(claim.right, float):
        b = math.log(claim.right) if is_ratio else claim.right
    else:
        b = stacked(right for _, right in pairs)
    margin = 0.0 if claim.margin is None else math.log(claim.margin) if is_ratio else claim.margin
    if claim.expect == "equal":
        above_low, below_low = one_sided(a, b, -margin)
        above_high, below_high = one_sided(a, b, margin)
        # two one-sided tests (Schuirmann 1987)
        holds, fails = np.maximum(above_low, below_high), np.minimum(1.0, 2 * np.minimum(below_low, above_high))
    else:
        sign = 1 if claim.expect == "higher" else -1
        above, below = one_sided(a, b, sign * margin)
        holds, fails = (above, below) if claim.expect == "higher" else (below, above)
    least = np.argsort(-holds, kind="stable")[:SHOWN_PAIRS]
    found = differences(a[least], b[least]) if isinstance(b, np.ndarray) else differences_from(a[least], b)
    made = []
    for i, d in zip(least.tolist(), found, strict=True):
        effect, low, high = (math.exp(v) if is_ratio else v for v in (d.value, d.low, d.high))
        left, right = pairs[i]
        made.append(Pair(left, right, effect, low, high, d.g, float(holds[i]), float(fails[i])))
    return made, holds, fails


def _decide(answers: Sequence[Answer]) -> list[Answer]:
    tested = [i for i, answer in enumerate(answers) if answer.p is not None]
    adjusted = dict(zip(tested, holm([answers[i].p or 0.0 for i in tested]), strict=True))
    decided = []
    for i, answer in enumerate(answers):
        if i in adjusted:
            p = adjusted[i]
            verdict: Verdict = answer.leans if p < ALPHA else "undecided"
            open_ = ""
            if verdict == "undecided":
                open_ = f"not beyond chance, after correction for {len(tested)} tests"
                if _reaches_over_margin(answer):
                    open_ = "the interval reaches over the margin"
            elif verdict == "holds" and answer.absent:  # one that fails refutes it; those that are here do not prove it
                verdict = "undecided"
                open_ = f"holds for what is here, without {' and '.join(answer.absent)}, which has no such scores"
            reasons = [answer.reason, open_]
            reason = "; ".join(r for r in reasons if r)
            answer = replace(answer, adjusted_p=p, verdict=verdict, reason=reason)
        decided.append(answer)
    return decided


def _is_fair(a: Group, b: Group | float) -> bool:
    return not isinstance(b, Group) or a.budget == b.budget


def _reaches_over_margin(answer: Answer) -> bool:
    claim = answer.claim
    if claim.expect != "equal" or claim.margin is None:
        return False
    low, high = (1 / claim.margin, claim.margin) if claim.scale == "ratio" else (-claim.margin, claim.margin)
    return any(pair.low < low or pair.high > high for pair in answer.pairs)


def _nothing(claim: Claim) -> str:
    if claim.over == "trials":
        return "no search has these models: python -m benchmarks.search"
    needed = names_in(claim.quantity) | names_in(claim.right_quantity or claim.quantity)
    where = f" on {', '.join(claim.datamodules)}" if claim.datamodules else ""
    return f"no scored runs{where} have {', '.join(sorted(needed))} of both sides"
