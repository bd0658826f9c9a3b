"""Claims: sentences as tests over records. A file of conf/claims names a score, the models, and the expected direction.

`benchmarks.reporting.verdicts` answers the claims.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.errors import UserError, fail
from benchmarks.records.configurations import flatten, read_config
from benchmarks.records.files import RecordError
from benchmarks.reporting.table import Row

_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, Callable[[float], float]] = {"log": math.log, "sqrt": math.sqrt, "abs": abs}


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
        return all(key in config and _as_text(config[key]) == value for key, value in self.where)


@dataclass(frozen=True)
class Claim:
    """A sentence, and the test that would show it.

    Args:
        name: of its file.
        title: the sentence.
        quantity: of one run: the name of a score or cost, or arithmetic of several, e.g. "fid / fid_fitted".
        left: models. Each is tested against every model of `right` with the same budget; all tests must pass.
        right: models, or one number.
        expect: whether left is higher than right, lower, or equal within `margin`.
        scale: whether values are compared by difference, or by ratio (of geometric means).
        margin: a difference, or a factor above 1 on the scale of ratios. Effects up to the margin count as equal; for
            "higher" and "lower" the effect must exceed the margin.
        statistic: of the values of a side: their mean, or their spread (mean distance from the median).
        over: whether the values of a side are those of its training seeds or of the trials of a search.
        right_quantity: of a run on the right, if different from `quantity`.
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
    unit: str = ""
    datamodules: tuple[str, ...] = ()
    source: str = ""
    note: str = ""
    order: int = 1000

    @property
    def subject(self) -> str:
        """The compared quantity in words."""
        against = f" against {self.right_quantity}" if self.right_quantity else ""
        quantity = self.quantity + against + (f" [{self.unit}]" if self.unit else "")
        quantity = f"spread of {quantity}" if self.statistic == "spread" else quantity
        return f"{quantity} over {'hyper-parameters' if self.over == 'trials' else 'seeds'}"

    @property
    def sides(self) -> list[tuple[bool, Side]]:
        """Every side, with whether it is on the right, where the quantity may be another."""
        right = () if isinstance(self.right, float) else self.right
        return [*((False, side) for side in self.left), *((True, side) for side in right)]

    def quantity_of(self, is_right: bool) -> str:
        """The quantity of a side."""
        return self.right_quantity if is_right and self.right_quantity else self.quantity

    @property
    def scores(self) -> frozenset[str]:
        """Every score that the quantities of both sides need."""
        return names_in(self.quantity) | names_in(self.quantity_of(True))


def load_claims(folder: Path | None = None) -> list[Claim]:
    """The claims of a folder of yaml files, or genbench's own claims.

    Raises:
        UserError: for a folder without claims, or a file that is not a claim. The message names the file and the mistake.
    """
    root: Traversable = resources.files("conf") / "claims" if folder is None else folder
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; set claims=FOLDER to a folder of yaml files such as conf/claims")
    files = [entry for entry in root.iterdir() if entry.name.endswith(".yaml")]
    if not files:
        raise UserError(f"{root} holds no yaml file; a claim is a yaml file such as those of conf/claims")
    claims = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file} cannot be read ({' '.join(str(error).split())})") from error
        claims.append(parse_claim(file.name.removesuffix(".yaml"), text))
    return sorted(claims, key=lambda claim: (claim.order, claim.name))


def parse_claim(name: str, text: str) -> Claim:
    """Parses the text of a claim's file.

    Raises:
        UserError: for text that is not a claim.
    """
    try:
        keys = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"claim {name}: {' '.join(str(error).split())}") from error
    known = {f.name for f in fields(Claim)} - {"name"}
    if not isinstance(keys, dict):
        raise UserError(f"claim {name}: expected keys and values ({', '.join(sorted(known))})")
    if unknown := sorted(map(str, set(keys) - known)):
        raise UserError(f"claim {name}: unknown key {unknown[0]}; expected {', '.join(sorted(known))}")
    if missing := [key for key in ("title", "quantity", "left", "right", "expect") if key not in keys]:
        raise UserError(f"claim {name}: {missing[0]} is missing")
    for key, choices in {
        "expect": ("higher", "lower", "equal"),
        "scale": ("difference", "ratio"),
        "statistic": ("mean", "spread"),
        "over": ("seeds", "trials"),
    }.items():
        if key in keys and keys[key] not in choices:
            raise UserError(f"claim {name}: {key} is {keys[key]!r}; expected {' or '.join(choices)}")
    texts = ("title", "quantity", "right_quantity", "unit", "source", "note")
    for key, kinds, expected in [
        *((key, (str,), "a text") for key in texts),
        ("margin", (int, float), "a number"),
        ("order", (int,), "a whole number"),
        ("datamodules", (list,), "a list of data modules, as in [ring, grid]"),
    ]:
        if key in keys and (not isinstance(keys[key], kinds) or isinstance(keys[key], bool)):
            raise UserError(f"claim {name}: {key} is {keys[key]!r}; expected {expected}")
    right = _number(keys["right"])
    is_number = right is not None
    keys["left"] = _sides(name, keys["left"])
    keys["right"] = right if is_number else _sides(name, keys["right"])
    keys["datamodules"] = tuple(keys.get("datamodules") or ())
    claim = Claim(name, **keys)
    for is_right in (False, True):
        names_in(claim.quantity_of(is_right), name)
    if claim.statistic == "spread" and (claim.scale == "ratio" or is_number):
        raise UserError(f"claim {name}: spreads are compared by difference and between models only")
    if claim.expect == "equal" and (claim.margin is None or claim.margin <= 0):
        raise UserError(f"claim {name}: expect: equal needs a margin above 0")
    if claim.over == "trials" and any(side.where for _, side in claim.sides):
        raise UserError(f"claim {name}: where does not work over trials, because trials differ in their settings")
    needs_factor = claim.scale == "ratio" and claim.margin is not None and claim.margin <= 1
    if needs_factor or (claim.scale == "ratio" and isinstance(claim.right, float) and claim.right <= 0):
        raise UserError(f"claim {name}: on the scale of ratios, a margin is a factor above 1 and a number is above 0")
    return claim


@lru_cache(maxsize=256)
def names_in(quantity: str, claim: str = "") -> frozenset[str]:
    """The names of the scores in an expression.

    Raises:
        UserError: for anything but names, numbers, + - * / and log, sqrt, abs.
    """
    try:
        tree = ast.parse(quantity, mode="eval")
    except SyntaxError as error:
        raise UserError(f"claim {claim}: quantity {quantity!r} is not an expression") from error
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
            case ast.Name(id=score):
                names.add(score)
            case ast.Constant(value=int() | float()):
                pass
            case _:
                allowed = "names of scores, numbers, + - * / and log(), sqrt(), abs()"
                raise UserError(f"claim {claim}: quantity {quantity!r} has something other than {allowed}")

    visit(tree)
    return frozenset(names)


@lru_cache(maxsize=256)
def _parsed(quantity: str) -> ast.expr:
    return ast.parse(quantity, mode="eval").body


def evaluate(quantity: str, scores: Mapping[str, float]) -> float | None:
    """The value of an expression for the scores of a run; None if a score is missing or the value is not finite."""
    if quantity in scores:  # most quantities are one score
        return scores[quantity] if math.isfinite(scores[quantity]) else None
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
        raise AssertionError(ast.dump(node))  # names_in refuses every other node

    try:
        result = value(_parsed(quantity))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def _sides(name: str, given: Any) -> tuple[Side, ...]:
    sides = []
    for side in given if isinstance(given, list) else [given]:
        if isinstance(side, str):
            sides.append(Side(side))
        elif isinstance(side, dict) and {"model"} <= side.keys() <= {"model", "where"}:
            where = side.get("where") or {}
            if not isinstance(where, dict):
                raise UserError(f"claim {name}: where is {where!r}; expected keys and values")
            # as text, so that a side can be a key of a dictionary whatever the values are
            sides.append(Side(str(side["model"]), tuple((str(k), _as_text(v)) for k, v in where.items())))
        else:
            raise UserError(f"claim {name}: {side!r} is not a model; expected a name, or model and where")
    if not sides:
        raise UserError(f"claim {name}: a side is empty; expected a model's name")
    return tuple(sides)


def _number(value: Any) -> float | None:
    """The number that a yaml value is, including 1e-3, which YAML 1.1 reads as text; None for other values."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _as_text(value: Any) -> str:
    """A setting as text; equal settings give equal texts: 4, 4.0 and "4" alike."""
    if isinstance(value, list):
        return f"[{', '.join(map(_as_text, value))}]"
    number = _number(value)
    return str(value) if number is None else f"{number:.12g}"
