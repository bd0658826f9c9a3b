"""The quantities of claims: arithmetic of a run's scores, as `fid / fid_fitted`."""

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.records.columns import BY_NAME, SECOND_SUFFIX
from benchmarks.records.examples import ExampleFile

_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_NAME = re.compile(r"[A-Za-z_]\w*")
_FUNCTIONS: dict[str, Callable[[float], float]] = {"log": math.log, "sqrt": math.sqrt, "abs": abs}


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
def in_words(quantity: str) -> str:
    """The expression with the titles of scores in place of their names: "FID / FID (fitted mixture)"."""
    return _NAME.sub(lambda name: _title(name[0]) if name[0] in names_in(quantity) else name[0], quantity)


def _title(name: str) -> str:
    if name not in BY_NAME:
        return name.replace("_", " ")
    title, _, rest = BY_NAME[name].heading.partition(", ")
    second = "random encoder" if name.endswith(SECOND_SUFFIX) else ""
    facts = ", ".join(fact for fact in (rest, second) if fact)
    return f"{title} ({facts})" if facts else title


@lru_cache(maxsize=1024)
def renamed(quantity: str, scores: tuple[tuple[str, str], ...]) -> str:
    """The quantity with other scores, or expressions of scores, in place of some of its scores.

    Args:
        quantity: an expression.
        scores: pairs of a name and what stands in its place.
    """
    places = {name: ast.parse(text, mode="eval").body for name, text in scores}

    class Rename(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.Call:
            node.args = [self.visit(argument) for argument in node.args]  # the name of a function is no score
            return node

        def visit_Name(self, node: ast.Name) -> ast.expr:
            return places.get(node.id, node)

    return ast.unparse(Rename().visit(ast.parse(quantity, mode="eval")))


@lru_cache(maxsize=256)
def _parsed(quantity: str) -> ast.expr:
    return ast.parse(quantity, mode="eval").body


def evaluate(quantity: str, scores: Mapping[str, float]) -> float | None:
    """The value of an expression for the scores of a run; None if a score is missing or the value is not finite."""
    if quantity in scores:  # most quantities are one score
        return scores[quantity] if math.isfinite(scores[quantity]) else None
    if not names_in(quantity) <= scores.keys():
        return None
    try:
        result = float(_value(_parsed(quantity), scores))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def example_values(
    quantity: str, files: Iterable[ExampleFile], scores: Sequence[Mapping[str, float]]
) -> tuple[NDArray[np.float64] | None, int]:
    """A quantity by example for the runs that have the values of its scores by example, (runs, examples), and their number.

    Only sums, differences and multiples are means over examples again. A score without values by example enters as its number.
    Returns None and 0 for another quantity, or if no run has such values.

    Args:
        quantity: an expression.
        files: of each run; none is opened for a quantity that is no mean over examples, if they are an iterator.
        scores: of each run.
    """
    tree = _parsed(quantity)
    if not _is_linear(tree):
        return None, 0
    names = names_in(quantity)
    rows: list[tuple[NDArray[np.float64], int]] = []
    for file, numbers in zip(files, scores, strict=True):
        arrays = {name: found for name in names if (found := file.values(name)) is not None}
        if not arrays:
            continue
        if quantity in arrays:  # most quantities are one score
            rows.append(arrays[quantity])
        elif len({(len(array), of) for array, of in arrays.values()}) == 1:
            columns = {name: arrays[name][0] if name in arrays else np.float64(numbers[name]) for name in names}
            rows.append((_value(tree, columns), next(iter(arrays.values()))[1]))
    if not rows or len({(len(row), of) for row, of in rows}) > 1:
        return None, 0
    return np.stack([row for row, _ in rows]), rows[0][1]


def _is_linear(node: ast.expr) -> bool:
    match node:
        case ast.Name() | ast.Constant():
            return True
        case ast.UnaryOp(operand=operand):
            return _is_linear(operand)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            return _is_linear(left) and _is_linear(right)
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div(), right=ast.Constant()):
            return _is_linear(left)
        case ast.BinOp(left=ast.Constant(), op=ast.Mult(), right=right):
            return _is_linear(right)
    return False


def _value(node: ast.expr, scores: Mapping[str, Any]) -> Any:
    """The value of an expression for numbers, or for arrays if the expression has no function."""
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, scores), _value(right, scores))
        case ast.UnaryOp(operand=operand):
            return -_value(operand, scores)
        case ast.Call(func=ast.Name(id=function), args=[argument]):
            return _FUNCTIONS[function](_value(argument, scores))
        case ast.Name(id=name):
            return scores[name]
        case ast.Constant(value=int() | float() as constant):
            return float(constant)
    raise AssertionError(ast.dump(node))  # names_in refuses every other node


def as_number(value: Any) -> float | None:
    """The number that a yaml value is, including 1e-3, which YAML 1.1 reads as text; None for other values."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
