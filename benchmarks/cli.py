"""Before a program starts: its help page, its typing errors, and a torch and a torchvision that fit each other."""

import difflib
import os
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata, resources
from typing import Any

import yaml
from hydra import compose, initialize_config_module
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.errors import UserError, one_line


def prepare(program: str, needs_torch: bool = True) -> None:
    """Prints the program's help and exits if that is asked for; otherwise checks the installation and the words given.

    Args:
        program: the name of its file in conf/.
        needs_torch: whether torch and torchvision are looked at, which takes seconds.

    Raises:
        UserError: for a torch and a torchvision that do not match, a group's choice that does not exist, or a key that
            is in no configuration. The message names what comes nearest.
    """
    # threads that spin while they wait take the core from those that work, wherever anything else runs on the machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # only training has multiruns: elsewhere a comma is one of a title or a path
    sys.argv[1:] = [quoted(word, "=" if program == "train" else "=,") for word in sys.argv[1:]]
    given, _ = get_args_parser().parse_known_args()
    if given.help:
        print(help_page(program), end="")
        raise SystemExit(0)
    if needs_torch:
        check_torchvision()
    check_words(program, given.overrides)


def help_page(program: str) -> str:
    """What the program does, its groups with their choices, and its keys with their defaults."""
    folder = resources.files("conf")
    text = (folder / f"{program}.yaml").read_text(encoding="utf-8")
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
    """A value with an equals sign in quotes, which Hydra's grammar asks for: `runs=runs/digits/vae/1a2b3c4d/seed=0`.

    Args:
        word: of the command line.
        special: the characters that ask for quotes.
    """
    key, equals, value = word.partition("=")
    stays = set("'\"[]{}(),$\\") - set(special)
    plain = bool(set(value) & set(special)) and not set(value) & stays and not word.startswith("-")
    return f"{key}{equals}'{value}'" if plain else word


def check_torchvision() -> None:
    """Says in one line what to install where torch and torchvision were not made for each other.

    Raises:
        UserError: in that case.
    """
    try:
        import torchvision  # noqa: F401 - its compiled operators load, or fail, here
    except Exception as error:  # what is raised depends on which of the two is older
        have = {name: metadata.version(name) for name in ("torch", "torchvision")}
        needs = [word for word in metadata.requires("torchvision") or [] if word.startswith("torch")]
        raise UserError(
            f"torch {have['torch']} and torchvision {have['torchvision']} do not work together "
            f"({one_line(error)[:80]}): this torchvision is made for {needs[0] if needs else 'another torch'}; "
            "pip install --upgrade torch torchvision"
        ) from error


def check_words(program: str, words: list[str]) -> None:
    """Finds typing errors in a command's overrides.

    Raises:
        UserError: for the first that is found.
    """
    try:
        overrides = OverridesParser.create().parse_overrides(words)
    except OverrideParseException as error:
        raise UserError(f"{one_line(error)}; expected key=value") from error
    with initialize_config_module("conf", version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        loader = hydra.config_loader
        groups: list[Override] = []
        keys: list[Override] = []
        for override in overrides:
            choices: list[str] = loader.get_group_options(override.key_or_group)
            (groups if choices else keys).append(override)
            for value in _values(override) if choices and not override.is_delete() else []:
                if value not in [*choices, "null"]:
                    raise UserError(f"{override.key_or_group}={value} does not exist; {_nearest(value, choices)}")
        try:
            config = compose(program, overrides=[_first(override) for override in groups])
            known = {*_keys(config), *_group_names()}
            for override in keys:
                key = override.key_or_group
                is_new = override.is_add() or override.is_delete() or key.startswith("hydra")
                if not is_new and key not in known:
                    raise UserError(f"{key} is in no configuration of benchmarks.{program}; {_nearest(key, known)}")
            compose(program, overrides=[_first(override) for override in overrides])
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(one_line(error)) from error


def _values(override: Override) -> Iterable[str]:
    if override.is_sweep_override() and override.is_discrete_sweep():
        return list(override.sweep_string_iterator())
    return [override.get_value_string()]


def _first(override: Override) -> str:
    """The override with one value: a sweep's first."""
    if override.is_sweep_override():
        return f"{override.get_key_element()}={next(iter(_values(override)))}"
    return override.input_line or ""


def _nearest(word: str, known: Iterable[str]) -> str:
    known = sorted(known)
    # a key's last part may be right and its place wrong
    near = [key for key in known if key.split(".")[-1] == word.split(".")[-1]]
    near = [*near, *difflib.get_close_matches(word, known, n=3, cutoff=0.5)][:3]
    return f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(known[:30])}"


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield f"{prefix}{key}"
        value = None if OmegaConf.is_missing(config, key) else config._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
            yield from _keys(value, f"{prefix}{key}.")


def _group_names() -> list[str]:
    folder = resources.files("conf")
    return [entry.name for entry in folder.iterdir() if entry.is_dir() and _choices(entry.name)]


def _choices(group: str) -> list[str]:
    folder = resources.files("conf").joinpath(*group.split("/"))
    return sorted(e.name.removesuffix(".yaml") for e in folder.iterdir() if e.name.endswith(".yaml"))


def _defaults(entries: list[Any]) -> Iterator[tuple[str, str | None]]:
    for entry in entries:
        if isinstance(entry, dict):
            ((key, value),) = entry.items()
            # what follows from other choices is nothing to choose
            if not key.startswith("override ") and "@" not in key and "$" not in str(value):
                yield key.removeprefix("optional "), value


def _starred(name: str, default: str | None) -> str:
    return f"{name}*" if name == default else name


def _wrapped(head: str, text: str, width: int = 100) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * len(head)) or [head]
