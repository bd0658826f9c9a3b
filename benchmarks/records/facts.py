"""What a run is besides its method: the facts that two rows must share for their difference to be one of methods."""

import math
import re
from collections.abc import Mapping
from typing import Any

from benchmarks.records.configurations import read_config
from benchmarks.records.files import RecordError
from benchmarks.records.runs import Run

# title of a fact: the key of the configuration
_KEYS = {
    "latent size": ("model", "prior", "dim"),
    "trunk": ("model", "trunk"),
    "decoder": ("model", "decoder"),
    "flow": ("model", "flow"),
    "field": ("model", "field"),
    "batch size": ("datamodule", "batch_size"),
    "precision": ("trainer", "precision"),
    "devices": ("trainer", "devices"),
}
# keys of a network that follow from the data, the latent size, or the method
_DERIVED = ("shape", "latent_dim", "packed")
# what Lightning calls each precision in full, by its short names
_PRECISIONS = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true"}
_NUMBER = re.compile(r"[+-]?[0-9][0-9,]*(\.[0-9]*)?(e[+-]?[0-9]{1,3})?", re.IGNORECASE)

Facts = Mapping[str, str]
# of a row from elsewhere, if its network is not known
UNKNOWN_NETWORK = "external"


def facts_of(config: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, str]:
    """The facts of a run, as text by title. A fact that neither source holds is left out.

    Args:
        config: the run's configuration.
        record: its `run.json`.
    """
    facts: dict[str, str] = {}
    for title, path in _KEYS.items():
        node: Any = config
        for key in path:
            node = node.get(key) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping):
            facts |= _network(title, node)
        elif node is not None:
            facts[title] = str(node)
    parameters = _mapping(record.get("cost")).get("decoder_parameters")
    if parameters is not None:
        facts["decoder parameters"] = str(parameters)
    if record.get("weights_scored"):
        facts["weights scored"] = str(record["weights_scored"])
    budget = _mapping(record.get("budget"))
    if budget:
        facts["budget"] = f"{_canonical(str(budget.get('amount')))} {budget.get('unit')}"
    return _canonical_facts(facts)


def run_facts(run: Run, config: Mapping[str, Any] | None = None) -> Facts:
    """The facts of a run on disk. An older record has them in its configuration; without that, only some are known.

    Args:
        run: the run.
        config: its configuration, if it has been read before.
    """
    facts = run.record.get("facts")
    if isinstance(facts, Mapping):
        return _canonical_facts({str(title): str(value) for title, value in facts.items()})
    try:
        return facts_of(read_config(run.path) if config is None else config, run.record)
    except RecordError:
        return facts_of({}, run.record)


def differences(a: Facts, b: Facts) -> list[str]:
    """The titles of the facts that differ. A fact that only one side has differs: what is not known matches nothing."""
    return [title for title in {**a, **b} if a.get(title) != b.get(title)]


def _network(title: str, node: Mapping[str, Any]) -> dict[str, str]:
    facts = {}
    for key, value in node.items():
        if key == "_target_":
            facts[title] = str(value).rpartition("networks.")[2].lower()
        elif key not in _DERIVED:
            facts[f"{title} {key}"] = str(value)
    return facts


def _canonical_facts(facts: Facts) -> dict[str, str]:
    """The facts in one spelling each, so that equal facts are equal texts."""
    canonical = {title: _canonical(value) for title, value in facts.items()}
    if "precision" in canonical:
        canonical["precision"] = _PRECISIONS.get(canonical["precision"], canonical["precision"])
    return canonical


def _canonical(text: str) -> str:
    """Each number of a text in one spelling: 1e6, 1000000.0 and 1,000,000 are equal."""
    words = re.split(r"([\[\] ]+|, )", text)
    return "".join(_number(word) if _NUMBER.fullmatch(word) else word for word in words)


def _number(text: str) -> str:
    value = float(text.replace(",", ""))
    if not math.isfinite(value):  # too large for a float
        return text
    return f"{int(value):,}" if value.is_integer() else repr(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
