"""How busy other processes keep the machine while a run trains: costs beside other work are not costs of a run alone."""

import os
import resource
import time
from pathlib import Path

# of /proc/stat's first line: everything but idle and waiting for disks, in hundredths of a second; guests are in user and nice
_BUSY = (0, 1, 2, 5, 6, 7)


class Others:
    """Counts the processor time that other processes use while the count runs, on Linux; elsewhere it stays unknown.

    Time that a virtual machine's host gives to other machines ("steal") counts too.
    """

    def __init__(self) -> None:
        self.seconds: float | None = 0.0 if _machine() is not None else None
        self._since: tuple[float, float] | None = None

    def start(self) -> None:
        if (machine := _machine()) is not None:
            self._since = machine, _own()

    def stop(self) -> None:
        now = _machine()
        if self._since is None or now is None or self.seconds is None:
            return
        machine, own = self._since
        # the kernel counts in ticks, so that a difference may be just below zero
        self.seconds += max(0.0, now - machine - (_own() - own))
        self._since = None


def _machine() -> float | None:
    """Seconds of work of all processors since the machine started; None where the system does not tell."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
        return sum(int(words[place]) for place in _BUSY) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _own() -> float:
    """Processor seconds of this process and of the children that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
