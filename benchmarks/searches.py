"""Records of searches: what was searched, every trial, and how good the best of n trials is expected to be.

`runs/<datamodule>/_searches/<name>-<id>/` holds `search.json` and `trials/<model>-<number>.json`. The trials' runs lie
where every run lies; their records say that they are trials. Needs no torch.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.runs import SCHEMA, SEARCHES, RecordError, read_json, write_json
from benchmarks.statistics import best_of


@dataclass(frozen=True)
class Trial:
    """One configuration that was tried.

    Args:
        number: from 0, in the order of trying.
        params: what was drawn, by the key it overrides.
        status: of its run.
        value: of the score that is selected by, on validation data; None where the run has none.
        run: its folder, relative to the folder of runs.
        reason: why there is no value.
    """

    model: str
    number: int
    params: dict[str, Any]
    status: str
    value: float | None
    run: str
    config_id: str
    reason: str | None = None


@dataclass
class Search:
    """A search: its declaration, and its trials by model, in order."""

    path: Path
    record: dict[str, Any]
    trials: dict[str, list[Trial]] = field(default_factory=dict)

    @property
    def higher_is_better(self) -> bool:
        return bool(self.record["higher_is_better"])

    @property
    def runs_dir(self) -> Path:
        """The folder of runs that it lies in: runs/<datamodule>/_searches/<name>-<id>."""
        return self.path.parents[2]

    @property
    def title(self) -> str:
        return f"{self.record['datamodule']} · {self.record['network']} ({self.record['name']})"

    def best(self, model: str, of: int | None = None) -> Trial | None:
        """The trial with the best value, of the first so many; of equal ones the first. None where none has a value."""
        its = [trial for trial in self.trials.get(model, []) if of is None or trial.number < of]
        with_value = [trial for trial in its if trial.value is not None]
        sign = -1.0 if self.higher_is_better else 1.0
        return min(with_value, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def best_of_n(self) -> dict[str, list[tuple[float, float, float] | None]]:
        """By model: expectation, 10% and 90% quantile of the best of 1, 2, ... of its trials."""
        return {
            model: best_of([trial.value for trial in trials], self.higher_is_better)
            for model, trials in self.trials.items()
        }


def search_path(runs_dir: Path, datamodule: str, name: str, search_id: str) -> Path:
    return runs_dir / datamodule / SEARCHES / f"{name}-{search_id}"


def write_search(path: Path, record: Mapping[str, Any]) -> None:
    write_json(path / "search.json", {"schema": SCHEMA, **record})


def write_trial(path: Path, trial: Trial) -> None:
    write_json(path / "trials" / f"{trial.model}-{trial.number:04}.json", {"schema": SCHEMA, **asdict(trial)})


def read_search(path: Path) -> Search:
    """
    Raises:
        RecordError: for a file that is damaged or of a newer schema.
    """
    need = ("id", "name", "datamodule", "network", "select", "higher_is_better", "protocol_id", "sampler", "command")
    search = Search(path, read_json(path / "search.json", need=need))
    trials: dict[str, list[Trial]] = defaultdict(list)
    for file in sorted((path / "trials").glob("*.json")):
        record = read_json(file, need=("model", "number", "params", "status", "value", "run", "config_id"))
        del record["schema"]
        try:
            trial = Trial(**record)
        except TypeError as error:
            raise RecordError(f"{file} is not a trial ({error}); move it away and search again") from error
        if Path(trial.run).is_absolute() or ".." in Path(trial.run).parts:
            raise RecordError(f"{file} has its run at {trial.run}, which is not in the folder of runs; move it away")
        trials[trial.model].append(trial)
    search.trials = {model: sorted(its, key=lambda trial: trial.number) for model, its in trials.items()}
    return search


def find_searches(root: Path, on_bad: Callable[[RecordError], None]) -> list[Search]:
    """Every search at or below `root`, in the order of their paths; `on_bad` is told of those that cannot be read."""
    found = []
    for folder, folders, files in os.walk(root):
        # a search lies beside the runs, and never in one
        folders[:] = sorted(f for f in folders if f != "trials" and not f.startswith("seed="))
        if "search.json" in files:
            try:
                found.append(read_search(Path(folder)))
            except RecordError as error:
                on_bad(error)
    return sorted(found, key=lambda search: search.path)
