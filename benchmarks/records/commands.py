"""Commands: those of records, without folders of a machine, which decide no result; and words of those that reports show."""

import re
import shlex
from pathlib import PurePosixPath

# an absolute path, or one below a home, in a word of a command; a URL is none
_PATH = re.compile(r"(?<![\w.:/~])~?/[^,\[\]{}'\"=:]+")


def without_folders(command: str) -> str:
    """A command with the last name of each absolute path in place of the path: folders decide no result."""
    try:
        words = shlex.split(command)
    except ValueError:  # a command that no shell reads
        words = command.split()
    named = [_PATH.sub(lambda path: PurePosixPath(path[0]).name, word) for word in words]
    return command if named == words else shlex.join(named)


def word_of(key: str, value: str) -> str:
    """A key with a value, such as a path, as a word that a shell and then Hydra's grammar read back."""
    if shlex.quote(value) == value:
        return f"{key}={value}"
    return shlex.quote(f"{key}='" + value.replace("'", "\\'") + "'")
