"""What a run is besides its method: the facts that two rows must share for their difference to be one of methods."""

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
    "batch size": ("datamodule", "batch_size"),
    "precision": ("trainer", "precision"),
    "devices": ("trainer", "devices"),
}
# keys of a network that follow from the data or the latent size
_DERIVED = ("shape", "latent_dim")

Facts = Mapping[str, str]


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
        facts["decoder parameters"] = _number(parameters)
    if record.get("weights_scored"):
        facts["weights scored"] = str(record["weights_scored"])
    budget = _mapping(record.get("budget"))
    if budget:
        facts["budget"] = f"{_number(budget.get('amount'))} {budget.get('unit')}"
    return facts


def run_facts(run: Run) -> Facts:
    """The facts of a run on disk. An older record has them in its configuration; without that, only some are known."""
    facts = run.record.get("facts")
    if isinstance(facts, Mapping):
        return {str(title): str(value) for title, value in facts.items()}
    try:
        return facts_of(read_config(run.path), run.record)
    except RecordError:
        return facts_of({}, run.record)


def differences(a: Facts, b: Facts) -> list[str]:
    """The titles of the facts that differ. A fact that one side lacks, as older records do, is not compared."""
    return [title for title in a if title in b and a[title] != b[title]]


def _network(title: str, node: Mapping[str, Any]) -> dict[str, str]:
    facts = {}
    for key, value in node.items():
        if key == "_target_":
            facts[title] = str(value).rpartition("networks.")[2].lower()
        elif key not in _DERIVED:
            facts[f"{title} {key}"] = str(value)
    return facts


def _number(value: Any) -> str:
    """A number as text; equal numbers give equal texts, 1e6 and 1000000 alike."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
