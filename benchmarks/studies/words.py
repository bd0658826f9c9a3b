"""The entry point of a study: its help page, and its few words."""

import sys
from collections.abc import Callable
from functools import wraps
from importlib import resources
from typing import Any

from benchmarks.errors import UserError, exits_cleanly
from benchmarks.signals import interruptible

# a whole number, of 0 or more if 0 is the default and above 0 otherwise; or the names to choose from
Default = int | tuple[str, ...]


def study(**defaults: Default) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Makes the entry point of a study from a function that takes the words of the command.

    `--help` prints the docstring of the study's module and the words. A word is `name=value`, or a value alone in the order of
    the names. Without a word, a number is its default, and a name is the first one.

    Args:
        defaults: the words by name.
    """

    def decorate(task: Callable[..., None]) -> Callable[[], None]:
        @exits_cleanly
        @wraps(task)
        def main() -> None:
            with interruptible():
                words = sys.argv[1:]
                if "--help" in words or "-h" in words:
                    print(f"{sys.modules[task.__module__].__doc__}\nWords: {_usage(defaults) or 'none'}")
                else:
                    task(**_parsed(words, defaults))

        return main

    return decorate


def choices(group: str) -> tuple[str, ...]:
    """The files of a group of `conf/`, by name."""
    files = (entry.name for entry in (resources.files("conf") / group).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml")))


def _parsed(words: list[str], defaults: dict[str, Default]) -> dict[str, Any]:
    values: dict[str, Any] = {name: d if isinstance(d, int) else d[0] for name, d in defaults.items()}
    names = list(defaults)
    for i, word in enumerate(words):
        name, equals, text = word.partition("=")
        name, text = (name, text) if equals else (names[i] if i < len(names) else "", word)
        default = defaults.get(name)
        if isinstance(default, tuple) and text in default:
            values[name] = text
        elif isinstance(default, int) and text.isdecimal() and (int(text) > 0 or default == 0):
            values[name] = int(text)
        else:
            raise UserError(f"unknown word {word!r}; expected {_usage(defaults) or 'no words'}")
    return values


def _usage(defaults: dict[str, Default]) -> str:
    return " ".join(f"[{name}={d if isinstance(d, int) else '|'.join(d)}]" for name, d in defaults.items())
