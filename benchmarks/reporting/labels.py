"""The labels of a table's rows: the model's name, the settings that tell its configurations apart, and what it is besides."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.errors import fail
from benchmarks.records.configurations import flatten, read_config
from benchmarks.records.facts import Facts, run_facts
from benchmarks.records.files import RecordError
from benchmarks.records.runs import Run

# a label names at most this many settings; rows that differ in more are labelled by their config id
MOST_SETTINGS = 4

Key = tuple[str, str]


def row_labels(runs: Mapping[Key, Run]) -> dict[Key, str]:
    """The label of each row, by (model, config id).

    Args:
        runs: one run of each row; its configuration is the row's.
    """
    labels = {}
    by_model: dict[str, list[tuple[str, Run]]] = defaultdict(list)
    for (model, config_id), run in runs.items():
        by_model[model].append((config_id, run))
    for model, variants in by_model.items():
        if len(variants) == 1:
            labels[model, variants[0][0]] = model
        else:
            labels |= {(model, config_id): label for config_id, label in _labels_of(model, variants).items()}
    unusual = _unusual_facts({key: run_facts(run) for key, run in runs.items()})
    return {key: _with_facts(label, unusual[key]) for key, label in labels.items()}


def _unusual_facts(rows: Mapping[Key, Facts]) -> dict[Key, dict[str, str]]:
    """What each row is besides its method, where it differs from most rows of the table."""
    titles = dict.fromkeys(title for facts in rows.values() for title in facts)
    unusual: dict[Key, dict[str, str]] = {key: {} for key in rows}
    for title in titles:
        counts = Counter(facts[title] for facts in rows.values() if title in facts)
        usual = counts.most_common(1)[0][0]
        for key, facts in rows.items():
            if facts.get(title, usual) != usual:
                unusual[key][title] = facts[title]
    return unusual


def _with_facts(label: str, facts: Mapping[str, str]) -> str:
    """The label with unusual facts that it does not name yet."""
    named = [f"{title} {value}" for title, value in facts.items() if f"{title.rsplit(' ', 1)[-1]}={value}" not in label]
    return f"{label} [{', '.join(named[:MOST_SETTINGS])}]" if named else label


def _labels_of(model: str, variants: list[tuple[str, Run]]) -> dict[str, str]:
    """The labels of several configurations of one model, by config id."""
    by_id = {config_id: f"{model} ({config_id})" for config_id, _ in variants}
    settings = {config_id: dict(flatten(config)) for config_id, run in variants if (config := _decisive(run.path))}
    keys = sorted({key for values in settings.values() for key in values})
    differing = [key for key in keys if len({repr(values.get(key)) for values in settings.values()}) > 1]
    if not 0 < len(differing) <= MOST_SETTINGS:
        return by_id
    # the last word of a key, if the word alone is unique
    short = {key: key.rsplit(".", 1)[-1] for key in differing}
    names = {key: word if list(short.values()).count(word) == 1 else key for key, word in short.items()}
    labels = {
        config_id: f"{model} ({', '.join(f'{names[key]}={_brief(values.get(key))}' for key in differing)})"
        for config_id, values in settings.items()
    }
    # numbers that differ only after their third digit give equal labels
    texts = list(labels.values())
    return by_id | {config_id: label for config_id, label in labels.items() if texts.count(label) == 1}


def _brief(value: Any) -> str:
    """A setting in short: numbers to three digits."""
    if isinstance(value, list):
        return f"[{', '.join(map(_brief, value))}]"
    return f"{value:.3g}" if isinstance(value, float) and not value.is_integer() else str(value)


def _decisive(path: Path) -> dict[str, Any]:
    """The parts of a run's configuration that a label may name; nothing for a configuration that cannot be read."""
    try:
        config = read_config(path)
    except RecordError as error:
        fail(f"{error} (the row is labelled by its config id)")
        return {}
    return {key: config.get(key, {}) for key in ("model", "datamodule", "budget")}
