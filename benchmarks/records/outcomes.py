"""The outcome of a job of a sweep, in a file, because another process may have run the job."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.records.files import write_text
from benchmarks.records.json_files import read_plain_json
from benchmarks.records.runs import Status
from benchmarks.records.schemas import JobOutcome

FILE = "outcome.json"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: the folder of its run, its status, a line of text, and whether there was nothing to do."""

    path: Path
    status: Status
    message: str
    was_done: bool = False


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Writes the outcome into the folder of the job."""
    text = json.dumps(asdict(outcome) | {"path": str(outcome.path)})
    write_text(folder / FILE, text, is_precious=False)


def read_outcome(path: Path) -> Outcome:
    """Reads the outcome of a job.

    Raises:
        RecordError: for a damaged file.
    """
    outcome = read_plain_json(path, JobOutcome)
    status: Any = outcome["status"]
    return Outcome(Path(outcome["path"]), status, outcome["message"], outcome.get("was_done", False))
