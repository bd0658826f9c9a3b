"""How a program starts: its entry point, its help page, and checks of its command line and of the installation."""

import difflib
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import wraps
from importlib import resources
from typing import Any

import hydra
import yaml
from hydra import compose, initialize_config_module
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.errors import UserError, exits_cleanly, one_line
from benchmarks.imports import check_torchvision, missing_launcher
from benchmarks.signals import interruptible

Task = Callable[[DictConfig], None]

# what other tools call the length of a training
LENGTHS = (
    *("epochs", "max_epochs", "num_epochs", "steps", "max_steps", "iterations"),
    *("trainer.max_epochs", "trainer.max_steps"),
)


def program(name: str, needs_torch: bool = True) -> Callable[[Task], Callable[[], None]]:
    """Makes the entry point of a program from its task, which takes the composed configuration.

    The entry point prints help, checks the command line, composes conf/<name>.yaml, and turns mistakes of the user into
    one line and exit status 1. Signals that ask the process to end become one line and status 128 + the signal's number.

    Args:
        name: the name of the program and of its file in conf/.
        needs_torch: whether to check that torch and torchvision fit each other, which takes seconds.
    """

    def decorate(task: Task) -> Callable[[], None]:
        # errors are also caught inside of Hydra, which would print a traceback
        run = hydra.main(config_path="pkg://conf", config_name=name, version_base="1.3")(exits_cleanly(task))

        @exits_cleanly
        @wraps(task)
        def main() -> None:
            with interruptible():
                prepare(name, needs_torch)
                run()

        return main

    return decorate


def prepare(program: str, needs_torch: bool = True) -> None:
    """Prints the help page and exits if the command asks for help; otherwise checks the installation and the command.

    Args:
        program: the name of the program.
        needs_torch: whether to check torch and torchvision.

    Raises:
        UserError: for a torch and a torchvision that do not fit, a choice that does not exist, or an unknown key. The
            message names the nearest known words.
    """
    # idle threads that spin slow down other processes
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # only training has multiruns: elsewhere a comma belongs to a title or a path
    sys.argv[1:] = [quoted(word, "=" if program == "train" else "=,") for word in sys.argv[1:]]
    arguments, unknown = get_args_parser().parse_known_args()
    if arguments.help:
        print(help_page(program), end="")
        raise SystemExit(0)
    if unknown:
        word = unknown[0].lstrip("-").partition("=")[0]
        raise UserError(
            f"{unknown[0]} is no option of benchmarks.{program}; a key is set without dashes, as in {word}=value"
        )
    if arguments.multirun and program != "train":
        raise UserError(f"benchmarks.{program} has no multirun (-m); a list of values has brackets, as in key=[A,B]")
    check_words(program, arguments.overrides)
    if needs_torch:  # the process of a multirun's command may need no torch itself, which takes seconds to load
        check_torchvision(by_version=arguments.multirun)


def package_list(value: Any) -> list[str]:
    """The packages of a key such as trust=[PACKAGE].

    Raises:
        UserError: for a value that is not a list of names of packages.
    """
    names = list(value) if OmegaConf.is_list(value) else None
    if names is None or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise UserError(f"trust is {value!r}; expected a list of packages, as in trust=[my_models]")
    return names


def help_page(program: str) -> str:
    """The help page: what the program does, its groups with their choices, and its keys with their defaults."""
    text = (resources.files("conf") / f"{program}.yaml").read_text(encoding="utf-8")
    comment = [line[1:].removeprefix(" ") for line in text.split("\n\n", 1)[0].splitlines() if line.startswith("#")]
    config = yaml.safe_load(text)
    lines = [*comment, "", "Groups (choose with group=choice):"]
    defaults = dict(_defaults(config.get("defaults", [])))
    for group, default in defaults.items():
        names = [_starred(name, default) for name in _choices(group)]
        lines += _wrapped(f"  {group:<12} ", ", ".join(names))
    if not defaults:
        lines[-1:] = ["This program has no groups."]
    lines += ["", "Keys (set with key=value; a group's own keys with group.key=value):"]
    for key, value in config.items():
        if key not in ("defaults", "hydra"):
            shown = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")
            lines.append(f"  {key}={shown}")
    lines += ["", "(* is the default.) --cfg job prints the whole configuration instead of running it.", ""]
    return "\n".join(lines)


def quoted(word: str, special: str = "=") -> str:
    """Puts a value with special characters in quotes, as Hydra's grammar requires: `runs='runs/digits/vae/1a2b/seed=0'`.

    In a list of paths, each path is quoted: `runs=['a/vae/1a2b/seed=0','b']`.

    Args:
        word: a word of the command line.
        special: the characters that require quotes.
    """
    key, equals, value = word.partition("=")
    grammar = set("'\"[]{}(),$\\") - set(special)
    if value[:1] + value[-1:] == "[]" and "=" in value and not set(value[1:-1]) & (grammar - {","}):
        return f"{key}=[{','.join(repr(item.strip()) for item in value[1:-1].split(','))}]"
    needs_quotes = bool(set(value) & set(special)) and not set(value) & grammar and not word.startswith("-")
    return f"{key}{equals}'{value}'" if needs_quotes else word


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
            (groups if choices else keys).append(override)
            for value in _values(override) if choices and not override.is_delete() else []:
                if value not in [*choices, "null"]:
                    raise UserError(f"{override.key_or_group}={value} does not exist; {_nearest(value, choices)}")
        words = [_first(override) for override in overrides]
        try:
            # most commands compose, and nothing more can be wrong with them
            if any(_needs_a_look(program, override) for override in keys) or not _composes(program, words):
                config = compose(program, overrides=[_first(override) for override in groups])
                known = {*_keys(config), *_groups(program)}
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
    """Whether a key's override may be wrong although it composes: an added key, or a text for what may be a number."""
    is_text = not override.is_delete() and isinstance(override.value(), str)
    may_be_number = isinstance(_own_defaults(program).get(override.key_or_group, 0), int | float)
    return override.is_add() or override.is_force_add() or (is_text and may_be_number)


def _check_key(program: str, override: Override, config: DictConfig, known: set[str]) -> None:
    key = override.key_or_group
    if key.startswith("hydra") or override.is_delete():
        return
    if key not in known:
        # what is added to a group goes to an object's constructor; nothing reads an added key at the top
        if override.is_add() and ("." in key or "@" in key):
            return
        raise UserError(f"benchmarks.{program} has no key {key}; {_advice(key, config, known)}")
    value, default = override.value(), OmegaConf.select(config, key, throw_on_missing=False)
    is_number = isinstance(default, int | float) and not isinstance(default, bool)
    # Lightning's own settings take several kinds
    if is_number and isinstance(value, str) and "${" not in value and not key.startswith("trainer."):
        raise UserError(f"{key} is {value!r}; expected a number, as in {key}={default}")


def _advice(key: str, config: DictConfig, known: set[str]) -> str:
    """What to do about an unknown key."""
    if key in LENGTHS:
        return "the length of a run is its budget: set budget.amount, in images (or budget=updates, budget=seconds)"
    group, _, name = key.partition(".")
    others = (
        [choice for choice in _choices(group) if name and name in _own_keys(group, choice)] if group in known else []
    )
    if others and isinstance(config.get(group), DictConfig):
        return f"{group}={' or '.join(others)} has the key, the chosen {group} does not"
    return _nearest(key, known)


def _own_keys(group: str, choice: str) -> set[str]:
    text = resources.files("conf").joinpath(group, f"{choice}.yaml").read_text(encoding="utf-8")
    return set(_keys(OmegaConf.create(text)))  # type: ignore[arg-type]


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
    near = [*near, *difflib.get_close_matches(word, known, n=3, cutoff=0.5)][:3]
    return f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(known[:30])}"


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield f"{prefix}{key}"
        value = None if OmegaConf.is_missing(config, key) else config._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
            yield from _keys(value, f"{prefix}{key}.")


def _own_defaults(program: str) -> dict[str, Any]:
    """The file of a program: the defaults of its keys, and its list of groups."""
    own: dict[str, Any] = yaml.safe_load((resources.files("conf") / f"{program}.yaml").read_text(encoding="utf-8"))
    return own


def _groups(program: str) -> list[str]:
    """The groups that a program has."""
    entries = _own_defaults(program).get("defaults", [])
    below = [entry for entry in entries if isinstance(entry, str) and entry != "_self_"]  # a program on top of another
    return [group for group, _ in _defaults([e for e in entries if isinstance(e, dict)])] + [
        g for p in below for g in _groups(p)
    ]


def _choices(group: str) -> list[str]:
    folder = resources.files("conf").joinpath(*group.split("/"))
    if not folder.is_dir():
        return []
    return sorted(e.name.removesuffix(".yaml") for e in folder.iterdir() if e.name.endswith(".yaml"))


def _defaults(entries: list[Any]) -> Iterator[tuple[str, str | None]]:
    for entry in entries:
        if isinstance(entry, dict):
            ((key, value),) = entry.items()
            # a user does not choose what follows from other choices
            if not key.startswith("override ") and "@" not in key and "$" not in str(value):
                yield key.removeprefix("optional "), value


def _starred(name: str, default: str | None) -> str:
    return f"{name}*" if name == default else name


def _wrapped(head: str, text: str, width: int = 100) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * len(head)) or [head]
