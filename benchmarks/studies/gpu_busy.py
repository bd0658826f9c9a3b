"""How busy the GPU is while a block runs, as nvidia-smi reads it."""

import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

# nvidia-smi prints the share of the last interval in which a kernel ran, in percent
COMMAND = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=200")


@dataclass
class Busy:
    """The mean share of time in which the first GPU runs a kernel, in percent; None without a reading."""

    percent: float | None = None


@contextmanager
def watched() -> Iterator[Busy]:
    """Reads the GPU five times a second while the block runs. Without nvidia-smi there is no reading."""
    busy = Busy()
    with tempfile.TemporaryFile("w+") as readings:
        reader = _start(readings)
        try:
            yield busy
        finally:
            if reader is not None:
                reader.terminate()
                reader.wait()
        readings.seek(0)
        values = [float(line) for line in readings if line.strip().isdigit()]
    busy.percent = statistics.mean(values) if values else None


def _start(readings: IO[str]) -> "subprocess.Popen[str] | None":
    try:
        return subprocess.Popen([*COMMAND, "--id=0"], stdout=readings, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return None
