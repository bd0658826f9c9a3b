"""How a program starts: its entry point, with its help page and the checks of its command line and of the installation."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from benchmarks.cli.offers import help_page
from benchmarks.cli.words import check_words
from benchmarks.errors import UserError, exits_cleanly
from benchmarks.imports import check_torchvision
from benchmarks.signals import interruptible

Task = Callable[[DictConfig], None]


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


def folder_of(value: Any, key: str) -> Path:
    """The folder that a key names.

    Raises:
        UserError: for a value that is not a text. Hydra reads a name of digits as a number, which may be written otherwise.
    """
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{key} is {value!r}; expected a folder, as in {key}=./NAME")
    return Path(value)


def title_of(value: Any) -> str:
    """The title that a key `title` gives; a number is one.

    Raises:
        UserError: for a value of another kind, or an empty one.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise UserError(f"title is {value!r}; expected a text, as in \"title='MNIST, five families'\"")
    return str(value)


def package_list(value: Any) -> list[str]:
    """The packages of a key such as trust=[PACKAGE].

    Raises:
        UserError: for a value that is not a list of names of packages.
    """
    names = list(value) if OmegaConf.is_list(value) else None
    if names is None or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise UserError(f"trust is {value!r}; expected a list of packages, as in trust=[my_models]")
    return names


def quoted(word: str, special: str = "=") -> str:
    """Puts a value with special characters in quotes, as Hydra's grammar requires: `runs='runs/digits/vae/1a2b/seed=0'`.

    In a list of paths, each path is quoted: `runs=['a/vae/1a2b/seed=0','b']`. `~` at the start of a path becomes the user's home.

    Args:
        word: a word of the command line.
        special: the characters that require quotes.
    """
    word = _at_home(word)
    key, equals, value = word.partition("=")
    grammar = set("'\"[]{}(),$\\") - set(special)
    if value[:1] + value[-1:] == "[]" and "=" in value and not set(value[1:-1]) & (grammar - {","}):
        return f"{key}=[{','.join(repr(item.strip()) for item in value[1:-1].split(','))}]"
    needs_quotes = bool(set(value) & set(special)) and not set(value) & grammar and not word.startswith("-")
    return f"{key}{equals}'{value}'" if needs_quotes else _as_text(word)


def _at_home(word: str) -> str:
    """A word of the command line with the user's home in place of `~` at the start of a path: no shell does it after `a.b=`."""
    key, equals, value = word.partition("=")
    if value[:1] + value[-1:] == "[]" and "~/" in value:
        items = [_at_home(f"={item.strip()}")[1:] for item in value[1:-1].split(",")]
        return f"{key}=[{','.join(items)}]"
    return f"{key}{equals}{os.path.expanduser(value)}" if value.startswith("~/") else word


def _as_text(word: str) -> str:
    """A word whose value Hydra's grammar does not read, with the value as a text in quotes: folder='photos (1)'."""
    key, equals, value = word.partition("=")
    if not equals or word.startswith("-") or value[:1] in tuple("[{'\""):
        return word
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return f"{key}='{value.replace(chr(39), chr(92) + chr(39))}'"
    return word
