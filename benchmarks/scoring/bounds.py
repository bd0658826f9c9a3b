"""The bounds of the numbers of a record: a replay of a shared run neither trains for ever nor fills the memory."""

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.errors import UserError

# numbers of a record: sizes, steps and seeds are below it, and a larger one would only exhaust memory or time
MOST = 2**21
# of a list, such as the widths of a network's layers
MOST_ITEMS = 64
# and of whole groups of keys
LIMITS: Mapping[str, int] = {"threads": 256, "curve_points": 64, "devices": 64, "num_nodes": 1}
# a replay trains for the budget of a record: ten times the largest budgets of published models, and a month
BUDGETS: Mapping[str, float] = {"images": 10**9, "updates": 10**7, "seconds": 30 * 86_400}
# between two checkpoints of a replay
MOST_CHECKPOINT_SECONDS = 86_400


def check_bounds(config: Mapping[str, Any]) -> None:
    """Checks that a replay ends, and that it makes no blocks of any size: a record may not choose more than the bounds.

    Raises:
        UserError: for a number that is out of its bounds, or is none.
    """
    for node in (config, config.get("trainer") or {}):
        for key, most in LIMITS.items():
            value = node.get(key)
            is_auto = key == "devices" and value == "auto"
            if value is not None and not is_auto:
                _check_range(key, value, 1, most, is_whole=True)
    if "seed" in config:
        _check_range("seed", config["seed"], 0, 2**32 - 1, is_whole=True)
    if config.get("checkpoint_seconds") is not None:
        _check_range("checkpoint_seconds", config["checkpoint_seconds"], 0, MOST_CHECKPOINT_SECONDS)
    if (budget := config.get("budget")) is not None:
        unit = budget.get("unit") if isinstance(budget, Mapping) else None
        if not isinstance(unit, str) or unit not in BUDGETS:
            raise UserError(f"the record has the budget {brief(budget)}; expected a unit of {', '.join(BUDGETS)}")
        _check_range("budget.amount", budget.get("amount"), 0, BUDGETS[unit])
    sizes = [config["datamodule"].get(key) for key in ("batch_size", "block_size")]
    if all(isinstance(size, int) for size in sizes):
        _check_range("datamodule.batch_size times block_size", sizes[0] * sizes[1], 1, MOST, is_whole=True)


def _check_range(key: str, value: Any, least: int, most: float, is_whole: bool = False) -> None:
    """Checks that a number of a record is between two bounds."""
    kind = int if is_whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most:
        number = "a whole number" if is_whole else "a number"
        raise UserError(f"the record has {key} {brief(value)}; expected {number} from {least} to {most:,}")


def brief(value: Any) -> str:
    """A value of a record, short enough for a line."""
    return reprlib.repr(value)


def check_numbers(node: Any, part: str) -> None:
    """Checks that no number of a part exhausts memory or time.

    Raises:
        UserError: for a larger one.
    """
    for values in _lists(node):
        if len(values) > MOST_ITEMS:
            raise UserError(
                f"the record has a list of {len(values):,} values in its {part}; expected at most {MOST_ITEMS}"
            )
    for value in _leaves(node):
        if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) <= MOST:
            raise UserError(f"the record has the number {brief(value)} in its {part}; expected at most {MOST:,}")


def _lists(node: Any) -> Iterator[Sequence[Any]]:
    if isinstance(node, list | tuple):
        yield node
    if isinstance(node, Mapping | list | tuple):
        for child in node.values() if isinstance(node, Mapping) else node:
            yield from _lists(child)


def _leaves(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        for child in node.values():
            yield from _leaves(child)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _leaves(child)
    else:
        yield node
