"""Errors: a mistake of the user is one line and a non-zero exit status; a traceback is a fault of genbench."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from benchmarks.signals import Interrupted
from datamodules.errors import DataError

P = ParamSpec("P")
T = TypeVar("T")


# errors of the disk that a user can mend, and how
_WRITABLE = "choose a folder that can be written"
_OF_THE_DISK = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or ask for a larger quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.ELOOP: "move away the link",
    errno.ENAMETOOLONG: "choose a shorter path",
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _WRITABLE),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.EEXIST), "choose another path, or move away what lies there"),
}


class UserError(Exception):
    """A mistake that the user can correct. The message says what is wrong, what was expected and what to do."""


def one_line(error: BaseException) -> str:
    """The message of an error on one line; for an error that Hydra wrapped, the innermost message."""
    while error.__cause__ is not None and type(error).__module__.startswith("hydra."):
        error = error.__cause__
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}; {_OF_THE_DISK[error.errno]} and run the same command again"
    return " ".join(str(error).split()) or type(error).__name__


def is_users(error: BaseException) -> bool:
    """Whether the user can correct the error: a UserError, a DataError, an argument that a constructor refused, or a disk that
    takes no more."""
    if isinstance(error, UserError | DataError) or (isinstance(error, OSError) and error.errno in _OF_THE_DISK):
        return True
    return type(error).__module__.startswith(("hydra.", "omegaconf.")) and (
        error.__cause__ is None
        or is_users(error.__cause__)
        or isinstance(error.__cause__, ValueError | TypeError | ImportError)
    )


def printable(text: str) -> str:
    """The text with control characters escaped, which a terminal would obey. Records are texts of others."""
    if text.isprintable():
        return text
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
        except BrokenPipeError:  # the reader of the output has ended, as head does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(128 + signal.SIGPIPE) from None
        except Exception as error:
            if not is_users(error):
                raise
            fail(one_line(error))
            raise SystemExit(1) from None

    return wrapped
