"""What a record may name. Runs folders are shared, so a configuration on disk must not be able to run code of its choice.

A record may name a class only if conf/ can compose it in the same part of a configuration, or if it belongs to a package that
the user declares with `trust=[PACKAGE]`. Each class takes only the keywords of its constructor. Everything else is refused:
other names inside the same packages, methods, positional arguments, and names whose lookup fails. The rule depends on no
blocklist, neither here nor in Hydra.
"""

import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.errors import UserError, one_line
from benchmarks.records.configurations import read_config
from benchmarks.records.runs import ScoreSheet
from benchmarks.records.schemas import NAME
from benchmarks.scoring.bounds import brief, check_bounds, check_numbers

# the parts of a configuration that objects are made from, and the groups of conf/ that compose each part
PARTS: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "network", "model_rates"),
    "datamodule": ("datamodule",),
    "metrics": ("metric",),
    "trainer": ("trainer",),
}
# classes without a yaml of their own that a user may choose by an override, with the reason why each is harmless
ALSO: Mapping[str, tuple[str, ...]] = {
    "model": (
        *("models.priors.Normal", "models.priors.Uniform"),
        # optimisers of the same kind as those of the papers: arithmetic on the model's own parameters
        *(f"torch.optim.{name}" for name in ("Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "SGD")),
        *(f"torch.nn.{name}" for name in ("Identity", "Sigmoid", "Tanh")),
    ),
}
# the trainer's other keywords choose folders, plugins and callbacks, which a record does not need
TRAINER_KEYWORDS = frozenset(
    (
        *(
            "accelerator",
            "devices",
            "num_nodes",
            "precision",
            "strategy",
            "sync_batchnorm",
            "deterministic",
            "benchmark",
            "loop",
        ),
        *("max_epochs", "max_steps", "limit_train_batches", "enable_progress_bar", "enable_model_summary"),
        *("enable_checkpointing", "gradient_clip_val", "log_every_n_steps"),
    )
)


def read_trusted_config(run: Path, trust: Sequence[str] = ()) -> dict[str, Any]:
    """Reads `config.yaml` of a run and checks what it names.

    Args:
        run: the run's folder.
        trust: packages whose classes the user trusts besides genbench's own.

    Raises:
        RecordError: for a missing or damaged file.
        UserError: for a name that a record may not hold.
    """
    config = read_config(run)
    check_config(config, trust)
    return config


def check_config(config: Mapping[str, Any], trust: Sequence[str] = ()) -> None:
    """Checks that the configuration of a record names only trusted classes and safe file names.

    Raises:
        UserError: for any other name.
    """
    names = config.get("names")
    for part in ("model", "datamodule"):
        check_part(config.get(part), part, trust)
    for name in [*(names.values() if isinstance(names, Mapping) else [names]), config["datamodule"].get("name")]:
        _check_name(name)
    if config.get("trainer") is not None:
        check_part(config["trainer"], "trainer", trust)
    check_bounds(config)
    for protocol in ("protocol", "curve"):
        if config.get(protocol) is not None:
            _check_protocol(config[protocol], trust)


def check_sheets(sheets: Sequence[ScoreSheet], trust: Sequence[str] = ()) -> None:
    """Checks that the protocols of score sheets name only rulers and safe file names.

    Raises:
        UserError: for any other name.
    """
    for sheet in sheets:
        _check_protocol(sheet.protocol, trust)


def check_part(node: Any, part: str, trust: Sequence[str] = ()) -> None:
    """Checks one part of a configuration: "model", "datamodule", "metrics" or "trainer".

    Raises:
        UserError: for a node that is not a mapping of plain values, or that names a class that conf/ cannot compose.
    """
    if not isinstance(node, Mapping):
        raise UserError(f"the record has no {part}; a record of a run has one")
    try:
        # records hold resolved values; an interpolation could become a name after the check
        if "${" in json.dumps(node, default=str):
            raise UserError("the record has an interpolation, ${...}; a record may only hold plain values")
        for mapping in _mappings(node):
            _check_mapping(mapping, part, trust)
        if "_target_" not in node and part != "metrics":
            raise UserError(f"the record's {part} has no _target_; restore the record or move it away")
        check_numbers(node, part)
    # nested deeper than any configuration, or with keys that are not text
    except (RecursionError, TypeError, ValueError) as error:
        raise UserError(
            f"the record's {part} is not a configuration ({one_line(error)[:80]}); move the run away"
        ) from error


def _check_protocol(protocol: Any, trust: Sequence[str]) -> None:
    if not isinstance(protocol, Mapping):
        raise UserError("the record has a protocol without keys; restore the record or move it away")
    _check_name(protocol.get("name"))
    check_numbers({key: value for key, value in protocol.items() if key != "metrics"}, "protocol")
    check_part(protocol.get("metrics"), "metrics", trust)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UserError(
            f"the record has the name {brief(name)}; expected letters, digits, dots, dashes and underscores"
        )


def _check_mapping(node: Mapping[Any, Any], part: str, trust: Sequence[str]) -> None:
    if "_target_" not in node:
        if special := [key for key in node if str(key).startswith("_")]:
            raise UserError(f"the record has the key {special[0]!r} without a _target_; a record may not have it")
        return
    target = node["_target_"]
    if not isinstance(target, str) or not (target in composable(part) or _is_declared(target, trust)):
        packages = f" or of {', '.join(trust)}" if trust else ""
        raise UserError(
            f"the record names {brief(target)} in its {part}, which is not a class that conf/ composes there{packages}; "
            "a record may only name these. If you trust the package of the class, add trust=[PACKAGE]"
        )
    keywords = TRAINER_KEYWORDS if part == "trainer" else keywords_of(target)
    for key, value in node.items():
        if key == "_target_" or (key == "_partial_" and value is True and target.startswith("torch.optim.")):
            continue
        if key not in keywords:
            raise UserError(
                f"the record gives {target} the keyword {key!r}; a record may only give {_listed(keywords)}"
            )


@lru_cache
def composable(part: str) -> frozenset[str]:
    """The classes that conf/ can compose in a part of a configuration."""
    root = resources.files("conf")
    targets = set(ALSO.get(part, ()))
    for group in PARTS[part]:
        for text in _yamls(root / group):
            node = yaml.safe_load(text)
            if group == "datamodule":  # such a file also sets the data's squash, which belongs to the model
                node = (node or {}).get("datamodule")
            targets |= {mapping["_target_"] for mapping in _mappings(node) if "_target_" in mapping}
    return frozenset(targets)


@lru_cache
def keywords_of(target: str) -> frozenset[str]:
    """The keywords of a class or function; of a class that passes keywords on, also those of its bases.

    Raises:
        UserError: if the lookup fails.
    """
    try:
        value = _lookup(target)
        callables: list[Any] = [value]
        if inspect.isclass(value):
            callables = [vars(base)["__init__"] for base in value.__mro__[:-1] if "__init__" in vars(base)]
        keywords: set[str] = set()
        for function in callables:
            parameters = list(inspect.signature(function).parameters.values())
            keywords |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    except Exception as error:  # whatever importing a module raises
        raise UserError(f"the record names {target}, which cannot be looked up ({type(error).__name__})") from error
    return frozenset(keywords - {"self"})


def _lookup(target: str) -> Callable[..., Any]:
    """The class or function of a dotted name: an attribute of a module, never of a class."""
    module, _, name = target.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        raise TypeError(f"{target} is not a class or function")
    result: Callable[..., Any] = value
    return result


def _is_declared(target: str, trust: Sequence[str]) -> bool:
    """Whether a package of `trust` defines the class: a dotted name can also reach what a package imports."""
    if not any(target.startswith(f"{package}.") for package in trust):
        return False
    try:
        value = _lookup(target)
    except Exception:  # closed when the lookup fails
        return False
    return inspect.isclass(value) and any(f"{value.__module__}.".startswith(f"{package}.") for package in trust)


def _mappings(node: Any) -> Iterator[Mapping[Any, Any]]:
    """Every mapping in a tree of mappings and lists."""
    if isinstance(node, Mapping):
        yield node
        for child in node.values():
            yield from _mappings(child)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _mappings(child)


def _yamls(folder: Traversable) -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _yamls(entry)
        elif entry.name.endswith(".yaml"):
            yield entry.read_text(encoding="utf-8")


def _listed(keywords: frozenset[str]) -> str:
    return ", ".join(sorted(keywords)) or "none"
