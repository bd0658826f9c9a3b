"""What a user says of a model from elsewhere, in a small yaml: every key is optional, and every value is checked.

network: mlp                        # the table that the row stands in; every table of the data without this key
budget: {unit: images, amount: 200000}
spent: {images: 200000, updates: 3125}
cost: {parameters: 1300000, train_seconds: 95.5}
settings: {beta: 4.0}               # tell rows of one name apart
facts: {latent size: 16}            # as `facts` of a run.json has them: equal facts let claims compare rows
source: https://example.org/paper
notes: trained with the authors' code
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from benchmarks.errors import UserError, one_line
from benchmarks.records.configurations import load_yaml
from benchmarks.records.schemas import Budget, Cost, FileName, Setting, Spent, Text


class About(TypedDict, total=False):
    """What a user says of a model."""

    network: FileName
    budget: Budget
    spent: Spent
    cost: Cost
    settings: dict[str, Setting]
    facts: dict[str, Text]
    source: Text
    notes: Text


def read_about(path: Path) -> About:
    """Reads what a user says of a model.

    Raises:
        UserError: for a file that cannot be read, or another key or value.
    """
    try:
        value = load_yaml(path)
    except Exception as error:  # yaml raises errors of many kinds
        raise UserError(f"{path} cannot be read ({one_line(error)[:160]}); expected a yaml of plain values") from error
    return check_about(value, str(path))


def check_about(value: Any, where: str = "about") -> About:
    """The value with its type checked.

    Raises:
        UserError: for another key or value.
    """
    known = list(About.__annotations__)
    if not isinstance(value, Mapping):
        raise UserError(f"{where} is not a mapping; expected keys among {', '.join(known)}")
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise UserError(f"{where} has no key {str(key)[:40]}; {hint}")
    facts = value.get("facts")
    # facts are texts; yaml reads `latent size: 16` as a number
    if isinstance(facts, Mapping):
        value = {**value, "facts": {str(k): str(v) if isinstance(v, int | float) else v for k, v in facts.items()}}
    budget = value.get("budget")
    if isinstance(budget, Mapping) and budget.keys() != {"unit", "amount"}:
        raise UserError(f"{where} has budget {dict(budget)}; expected a unit and an amount")
    try:
        return msgspec.convert(value, About)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: {str(error).replace('`', '')[:160]}") from error
