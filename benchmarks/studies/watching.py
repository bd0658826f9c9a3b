"""What a program does while it reads hostile files: processes, connections, and writes outside of the folders that it was given.

Python's audit events show each of them, in whatever library they happen.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# events of code that no record should reach
EXECUTIONS = (
    *(
        "os.system",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
        "subprocess.Popen",
    ),
    *("pty.spawn", "socket.connect", "socket.bind", "webbrowser.open", "urllib.Request"),
)
# events that change files, and how many of their first arguments are paths
CHANGES = {
    "os.rename": 2,
    "os.remove": 1,
    "os.mkdir": 1,
    "os.rmdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class TooLong(BaseException):
    """The time is over. Not an Exception, so that no program catches it."""


class Watch:
    """What happened in a block: executions, and paths outside of the folders that were written."""

    def __init__(self, folders: Sequence[Path], no_imports: Path) -> None:
        self.folders, self.no_imports = [folder.resolve() for folder in folders], str(no_imports.resolve())
        self.executions, self.outside = list[str](), list[str]()

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EXECUTIONS:
            self.executions.append(f"{event} {arguments[:2]!r}"[:200])
        elif event == "import" and isinstance(arguments[1], str) and arguments[1].startswith(self.no_imports):
            self.executions.append(f"import of {arguments[1]}")
        elif event in CHANGES:
            for path in arguments[: CHANGES[event]]:
                self._look(event, path)
        elif event == "open":
            path, mode, flags = arguments
            if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & WRITES):
                self._look("open", path)

    def _look(self, event: str, path: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike):  # an open file
            return
        text = os.fsdecode(path)
        if text == os.devnull or "__pycache__" in text:  # Python keeps compiled modules beside their sources
            return
        folder, name = os.path.split(os.path.abspath(text))
        place = Path(os.path.realpath(folder)) / name  # a link itself is written, not what it points to
        if not any(place.is_relative_to(own) for own in self.folders):
            self.outside.append(f"{event} {text[:200]}")


_watches: list[Watch] = []
_hooked = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watches:
        watch = _watches.pop()  # what looking itself does is not looked at
        with suppress(ValueError, OSError):
            watch.see(event, arguments)
        _watches.append(watch)


@contextmanager
def watching(folders: Sequence[Path], no_imports: Path) -> Iterator[Watch]:
    """Watches a block.

    Args:
        folders: in which the block may write.
        no_imports: a folder from which nothing may be imported.
    """
    global _hooked
    if not _hooked:  # a hook cannot be removed; without a watch it does nothing
        sys.addaudithook(_hook)
        _hooked = True
    watch = Watch(folders, no_imports)
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.clear()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TooLong inside the block when the time is over. Only for the main thread."""

    def end(signal_number: int, frame: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, end)
    start = time.monotonic()
    outer, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:  # a timer of the caller goes on
            signal.setitimer(signal.ITIMER_REAL, max(outer - (time.monotonic() - start), 0.01))


def peak_memory() -> int:
    """The largest resident memory of this process in bytes since `forget_peak_memory`; 0 where the system does not say it."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return 0


def forget_peak_memory() -> None:
    """Starts a new measurement of peak memory, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
