"""Invented records that the tests share."""

from pathlib import Path

# the least that a run's record holds
RECORD = {"status": "finished", "seed": 0, "config_id": "0" * 8, "names": {"model": "vae"}, "data": {"id": "d"}}


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)
