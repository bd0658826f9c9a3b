"""Errors: a mistake of the user is one line and a non-zero exit status; a traceback is a fault of genbench."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from benchmarks.signals import Interrupted
from datamodules.errors import DataError

P = ParamSpec("P")
T = TypeVar("T")


class UserError(Exception):
    """A mistake that the user can correct. The message says what is wrong, what was expected and what to do."""


def one_line(error: BaseException) -> str:
    """The message of an error on one line; for an error that Hydra wrapped, the innermost message."""
    while error.__cause__ is not None and type(error).__module__.startswith("hydra."):
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


def is_users(error: BaseException) -> bool:
    """Whether the user can correct the error: a UserError, a DataError, or an argument that a constructor refused."""
    if isinstance(error, UserError | DataError):
        return True
    return type(error).__module__.startswith(("hydra.", "omegaconf.")) and (
        error.__cause__ is None
        or is_users(error.__cause__)
        or isinstance(error.__cause__, ValueError | TypeError | ImportError)
    )


def printable(text: str) -> str:
    """The text with control characters escaped, which a terminal would obey. Records are texts of others."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def fail(message: str) -> None:
    """Prints an error line on stderr."""
    print(f"error: {printable(message)}", file=sys.stderr)


def warn(message: str) -> None:
    """Prints a warning line on stderr."""
    print(f"warning: {printable(message)}", file=sys.stderr)


def exits_cleanly(program: Callable[P, T]) -> Callable[P, T]:
    """Turns a mistake of the user into one line on stderr and exit status 1, and a signal into one line and its status."""

    @wraps(program)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return program(*args, **kwargs)
        except Interrupted as interrupted:
            fail(str(interrupted))
            raise SystemExit(interrupted.exit_status) from None
        except Exception as error:
            if not is_users(error):
                raise
            fail(one_line(error))
            raise SystemExit(1) from None

    return wrapped
