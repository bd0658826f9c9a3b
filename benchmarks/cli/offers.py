"""What conf/ offers to a program: its groups with their choices and its keys, and the help page that lists them."""

import textwrap
from collections.abc import Iterator
from importlib import resources
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf


def help_page(program: str) -> str:
    """The help page: what the program does, its groups with their choices, and its keys with their defaults."""
    text = (resources.files("conf") / f"{program}.yaml").read_text(encoding="utf-8")
    comment = [line[1:].removeprefix(" ") for line in text.split("\n\n", 1)[0].splitlines() if line.startswith("#")]
    config = yaml.safe_load(text)
    lines = [*comment, "", "Groups (choose with group=choice):"]
    defaults = dict(_defaults(config.get("defaults", [])))
    for group, default in defaults.items():
        names = [_starred(name, default) for name in choices_of(group)]
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


def keys_of(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield f"{prefix}{key}"
        value = None if OmegaConf.is_missing(config, key) else config._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
            yield from keys_of(value, f"{prefix}{key}.")


def own_file(program: str) -> dict[str, Any]:
    """The file of a program: the defaults of its keys, and its list of groups."""
    own: dict[str, Any] = yaml.safe_load((resources.files("conf") / f"{program}.yaml").read_text(encoding="utf-8"))
    return own


def groups_of(program: str) -> list[str]:
    """The groups that a program has."""
    entries = own_file(program).get("defaults", [])
    below = [entry for entry in entries if isinstance(entry, str) and entry != "_self_"]  # a program on top of another
    return [group for group, _ in _defaults([e for e in entries if isinstance(e, dict)])] + [
        g for p in below for g in groups_of(p)
    ]


def may_choose(program: str, group: str) -> bool:
    """Whether the file of a program names a group. Groups of groups, as in model/likelihood, are not looked for."""
    entries = own_file(program).get("defaults", [])
    named = {
        word for entry in entries if isinstance(entry, dict) for key in entry for word in key.replace("@", " ").split()
    }
    below = [entry for entry in entries if isinstance(entry, str) and entry != "_self_"]
    return not group.isidentifier() or group in named or any(may_choose(each, group) for each in below)


def choices_of(group: str) -> list[str]:
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
