"""The labels of a table's rows: the model's name, the settings that tell its configurations apart, and what it is besides."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError, fail
from benchmarks.records.configurations import PATH_KEYS, flatten, read_config
from benchmarks.records.facts import Facts, run_facts
from benchmarks.records.files import RecordError
from benchmarks.records.runs import Run
from benchmarks.records.schemas import is_nickname

# a label names at most this many settings; rows that differ in more are labelled by their config id
MOST_SETTINGS = 4
BUDGET = "budget"
# the end of a key whose value is a class
CLASS = "._target_"
# of rows that genbench did not train
EXTERNAL = " · external"

# the families of genbench as papers write them
WRITTEN = {"ae": "AE", "vae": "VAE", "gan": "GAN", "wgan": "WGAN", "wgan_gp": "WGAN-GP"}

Key = tuple[str, str]


def written(model: str, label: str | None = None) -> str:
    """The name of a model as papers write it, or the label of one of its rows with the name so written."""
    name = WRITTEN.get(model, model)
    return name if label is None else name + label.removeprefix(model)


def parse_nicknames(words: Any) -> dict[str, str]:
    """The nicknames of rows by config id, from texts such as "4c8104c8:wide critic".

    Raises:
        UserError: for anything else, a nickname without a letter or digit, or of more than 60 characters.
    """
    nicknames = {}
    if not isinstance(words, Sequence | None) or isinstance(words, str):
        raise UserError(f"nicknames is {words!r}; expected a list of ids and names, as in nicknames=[4c8104c8:wide]")
    for word in words or ():
        config_id, colon, name = str(word).partition(":")
        if not (colon and config_id.strip() and is_nickname(name.strip())):
            raise UserError(
                f"nicknames has {word!r}; expected the id of a configuration and a name, as in nicknames=[4c8104c8:wide]"
            )
        nicknames[config_id.strip()] = name.strip()
    return nicknames


def describe_rows(runs: Mapping[Key, Run], nicknames: Mapping[str, str] | None = None) -> dict[Key, tuple[str, Facts]]:
    """The label of each row, and its facts, by (model, config id).

    A row with a nickname is labelled by the nickname instead of its settings. The model's name stays: no nickname makes one model
    look like another.

    Args:
        runs: one run of each row; its configuration is the row's.
        nicknames: by config id. Other rows have the nickname of their run.
    """
    labels: dict[Key, str] = {}
    facts: dict[Key, Facts] = {}
    by_model: dict[str, dict[Key, Run]] = defaultdict(dict)
    for key, run in runs.items():
        by_model[key[0]][key] = run
    for model, variants in by_model.items():
        # each configuration is read once, and one of a single row only if its record lacks the facts
        configs = {key: _read(run.path) for key, run in variants.items()} if len(variants) > 1 else {}
        facts |= {key: run_facts(run, configs.get(key)) for key, run in variants.items()}
        decisive = {config_id: _decisive(config) for (_, config_id), config in configs.items() if config}
        settings = {config_id: dict(flatten(config)) for config_id, config in decisive.items()}
        labels |= dict.fromkeys(variants, model) if len(variants) == 1 else _labels_of(model, list(variants), settings)
    labels |= _nicknamed(runs, nicknames or {})
    unusual = _unusual_facts(facts)
    marks = {key: EXTERNAL if run.is_external else "" for key, run in runs.items()}
    return {key: (_with_facts(labels[key], unusual[key]) + marks[key], facts[key]) for key in runs}


def _nicknamed(runs: Mapping[Key, Run], nicknames: Mapping[str, str]) -> dict[Key, str]:
    """The labels of the rows that have a nickname. A nickname of two rows of a model gets the config id."""
    names = {
        (model, config_id): f"{model}: {nickname}"
        for (model, config_id), run in runs.items()
        if (nickname := nicknames.get(config_id) or run.record.get("nickname"))
    }
    counts = Counter(names.values())
    return {key: name if counts[name] == 1 else f"{name} ({key[1]})" for key, name in names.items()}


def _unusual_facts(rows: Mapping[Key, Facts]) -> dict[Key, dict[str, str]]:
    """What each row is besides its method, where it differs from most rows of the table.

    If rows differ in their budgets, each row has its own: no row is compared with a row of another budget.
    """
    titles = dict.fromkeys([BUDGET, *(title for facts in rows.values() for title in facts)])
    unusual: dict[Key, dict[str, str]] = {key: {} for key in rows}
    for title in titles:
        counts = Counter(facts[title] for facts in rows.values() if title in facts)
        if not counts:
            continue
        usual = counts.most_common(1)[0][0]
        has_usual = title != BUDGET or len(counts) == 1
        for key, facts in rows.items():
            if title in facts and not (has_usual and facts[title] == usual):
                unusual[key][title] = facts[title]
    return unusual


def _with_facts(label: str, facts: Mapping[str, str]) -> str:
    """The label with unusual facts that it does not name yet."""
    named = [f"{title} {value}" for title, value in facts.items() if f"{title.rsplit(' ', 1)[-1]}={value}" not in label]
    return f"{label} [{', '.join(named[:MOST_SETTINGS])}]" if named else label


def _labels_of(model: str, keys_of_rows: Sequence[Key], settings: Mapping[str, Mapping[str, Any]]) -> dict[Key, str]:
    """The labels of several configurations of one model.

    Args:
        model: the name of the model.
        keys_of_rows: the rows.
        settings: by config id, the settings of each configuration that can be read.
    """
    by_id = {config_id: f"{model} ({config_id})" for _, config_id in keys_of_rows}
    keys = sorted({key for values in settings.values() for key in values})
    differing = [key for key in keys if len({repr(values.get(key)) for values in settings.values()}) > 1]
    differing = [key for key in differing if not _comes_with_a_class(key, differing, settings)]
    if not 0 < len(differing) <= MOST_SETTINGS:
        return {(model, config_id): label for config_id, label in by_id.items()}
    # the last word of a key, if the word alone is unique; a class is named after what it is the class of
    spelt = {key: key.removesuffix(CLASS) for key in differing}
    short = {key: words.rsplit(".", 1)[-1] for key, words in spelt.items()}
    names = {key: word if list(short.values()).count(word) == 1 else spelt[key] for key, word in short.items()}
    labels = {
        config_id: f"{model} ({', '.join(f'{names[key]}={_value(key, values)}' for key in differing if key in values)})"
        for config_id, values in settings.items()
    }
    # numbers that differ only after their third digit give equal labels
    counts = Counter(labels.values())
    by_id |= {config_id: label for config_id, label in labels.items() if counts[label] == 1}
    return {(model, config_id): label for config_id, label in by_id.items()}


def _comes_with_a_class(key: str, differing: Sequence[str], settings: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a setting only says again that rows differ in a class: all rows that have the setting have one value of it."""
    found = {repr(values[key]) for values in settings.values() if key in values}
    classes = [other.removesuffix(CLASS) for other in differing if other.endswith(CLASS) and other != key]
    return len(found) == 1 and any(key.startswith(f"{part}.") for part in classes)


def _value(key: str, values: Mapping[str, Any]) -> str:
    """A setting in short; a class without its module."""
    return _brief(values[key]).rsplit(".", 1)[-1] if key.endswith(CLASS) else _brief(values[key])


def _brief(value: Any) -> str:
    """A setting in short: numbers to three digits."""
    if isinstance(value, list):
        return f"[{', '.join(map(_brief, value))}]"
    return f"{value:.3g}" if isinstance(value, float) and not value.is_integer() else str(value)


def _read(path: Path) -> dict[str, Any] | None:
    """The configuration of a run; None for one that cannot be read."""
    try:
        return read_config(path)
    except RecordError as error:
        fail(f"{error} (the row is labelled by its config id)")
        return None


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a run's configuration that a label may name."""
    parts = {key: config.get(key, {}) for key in ("model", "datamodule", "budget")}
    if isinstance(datamodule := parts["datamodule"], Mapping):  # folders of a machine decide no result
        parts["datamodule"] = {key: value for key, value in datamodule.items() if key not in PATH_KEYS}
    return parts
