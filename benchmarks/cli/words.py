"""The words of a command, checked before anything slow begins."""

import difflib
from collections.abc import Iterable
from contextlib import suppress
from importlib import resources

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.cli.offers import choices_of, groups_of, keys_of, may_choose, own_file
from benchmarks.errors import UserError, one_line
from benchmarks.imports import missing_launcher

# what other tools call the length of a training
LENGTHS = (
    *("epochs", "max_epochs", "num_epochs", "steps", "max_steps", "iterations"),
    *("trainer.max_epochs", "trainer.max_steps"),
)


def check_words(program: str, words: list[str]) -> None:
    """Checks the overrides of a command.

    Raises:
        UserError: for the first override that does not parse, names an unknown choice or key, or does not compose.
    """
    try:
        overrides = OverridesParser.create().parse_overrides(words)
    except OverrideParseException as error:
        raise UserError(f"{one_line(error)}; expected key=value") from error
    with initialize_config_module("conf", version_base="1.3"):
        instance = GlobalHydra.instance().hydra
        assert instance is not None
        loader = instance.config_loader
        groups: list[Override] = []
        keys: list[Override] = []
        for override in overrides:
            choices: list[str] = loader.get_group_options(override.key_or_group)
            if choices and not override.is_add() and not may_choose(program, override.key_or_group):
                known = {*keys_of(compose(program)), *groups_of(program)}
                raise UserError(
                    f"benchmarks.{program} has no group {override.key_or_group}; {_nearest(override.key_or_group, known)}"
                )
            (groups if choices else keys).append(override)
            for value in _values(override) if choices and not override.is_delete() else []:
                if value not in choices:  # Hydra has no null in the place of a choice
                    raise UserError(f"{override.key_or_group}={value} does not exist; {_nearest(value, choices)}")
        words = [_first(override) for override in overrides]
        try:
            # most commands compose, and nothing more can be wrong with them
            if any(_needs_a_look(program, override) for override in keys) or not _composes(program, words):
                config = compose(program, overrides=[_first(override) for override in groups])
                known = {*keys_of(config), *groups_of(program)}
                for override in keys:
                    _check_key(program, override, config, known)
                compose(program, overrides=words)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(missing_launcher(error) or one_line(error)) from error


def _composes(program: str, words: list[str]) -> bool:
    with suppress(HydraException, OmegaConfBaseException):
        compose(program, overrides=words)
        return True
    return False


def _needs_a_look(program: str, override: Override) -> bool:
    """Whether a key's override may be wrong although it composes: an added key, or a text or a list for what may be a number."""
    may_be_number = isinstance(own_file(program).get(override.key_or_group, 0), int | float)
    return override.is_add() or override.is_force_add() or (_is_no_number(override) and may_be_number)


def _is_no_number(override: Override) -> bool:
    """Whether the value is a text, a list, a mapping or a truth value; null may stand for a number."""
    return not override.is_delete() and isinstance(override.value(), str | list | dict | bool)


def _check_key(program: str, override: Override, config: DictConfig, known: set[str]) -> None:
    key = override.key_or_group
    if key.startswith("hydra") or override.is_delete():
        return
    if key not in known:
        # what is added to a group goes to an object's constructor; nothing reads an added key at the top
        if override.is_add() and ("." in key or "@" in key):
            return
        raise UserError(f"benchmarks.{program} has no key {key}; {_advice(override, config, known)}")
    value, default = override.value(), OmegaConf.select(config, key, throw_on_missing=False)
    is_number = isinstance(default, int | float) and not isinstance(default, bool)
    # Lightning's own settings take several kinds
    if is_number and _is_no_number(override) and "${" not in str(value) and not key.startswith("trainer."):
        raise UserError(f"{key} is {value!r}; expected a number, as in {key}={default}")


def _advice(override: Override, config: DictConfig, known: set[str]) -> str:
    """What to do about an unknown key."""
    key = override.key_or_group
    if key in LENGTHS:
        return "the length of a run is its budget: set budget.amount, in images (or budget=updates, budget=seconds)"
    group, _, name = key.partition(".")
    others = (
        [choice for choice in choices_of(group) if name and name in _own_keys(group, choice)] if group in known else []
    )
    if others and group == "trainer":  # every trainer takes it
        return f"+{key}={override.get_value_string()} adds the key to the chosen trainer"
    if others and isinstance(config.get(group), DictConfig):
        return f"{group}={' or '.join(others)} has the key, the chosen {group} does not"
    return _nearest(key, known)


def _own_keys(group: str, choice: str) -> set[str]:
    text = resources.files("conf").joinpath(group, f"{choice}.yaml").read_text(encoding="utf-8")
    return set(keys_of(OmegaConf.create(text)))  # type: ignore[arg-type]


def _values(override: Override) -> Iterable[str]:
    if override.is_sweep_override() and override.is_discrete_sweep():
        return list(override.sweep_string_iterator())
    return [override.get_value_string()]


def _first(override: Override) -> str:
    """The override with one value: the first value of a sweep."""
    if override.is_sweep_override():
        return f"{override.get_key_element()}={next(iter(_values(override)))}"
    return override.input_line or ""


def _nearest(word: str, known: Iterable[str]) -> str:
    known = sorted(known)
    # the last part of a key may be right under the wrong parent
    near = [key for key in known if key.split(".")[-1] == word.split(".")[-1]]
    near = list(dict.fromkeys([*near, *difflib.get_close_matches(word, known, n=3, cutoff=0.5)]))[:3]
    return f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(known[:30])}"
