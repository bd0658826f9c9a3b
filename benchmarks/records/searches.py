"""A search on disk: `search.json` says what was searched, `trials/<model>-<number>.json` records each trial.

The runs of the trials lie where every run lies; their records say that they are trials.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from benchmarks.records.files import SCHEMA, RecordError, write_json
from benchmarks.records.json_files import read_json
from benchmarks.records.paths import SEARCH, may_hold_a_search, runs_dir_of_search, trials_path
from benchmarks.records.schemas import CONTROL, Real, RelativePath, SearchRecord, Setting, Text, Whole

# families that a search's heading names
MOST_NAMED = 3


@dataclass(frozen=True)
class Trial:
    """One configuration that a search tried.

    Args:
        model: the family of the model.
        number: the number of the trial, from 0.
        params: the drawn values, by the name of the parameter.
        status: the status of the run.
        value: the score that the search selects by, on validation data; None if the run has none.
        run: the run's folder, relative to the folder of runs.
        config_id: the id of the run's configuration.
        reason: the reason why there is no value; None if there is one.
    """

    model: str
    number: int
    params: dict[str, Any]
    status: str
    value: float | None
    run: str
    config_id: str
    reason: str | None = None


class _TrialFile(TypedDict):
    """A trial as it lies on disk."""

    schema: int
    model: Text
    number: Whole
    params: dict[Text, Setting]
    status: Text
    value: Real | None
    run: RelativePath
    config_id: Text
    reason: NotRequired[str | None]


@dataclass(frozen=True)
class Search:
    """A search: its record, and its trials by model, in order of their numbers."""

    path: Path
    record: dict[str, Any]
    trials: dict[str, list[Trial]]

    @property
    def higher_is_better(self) -> bool:
        return bool(self.record["higher_is_better"])

    @property
    def runs_dir(self) -> Path:
        return runs_dir_of_search(self.path)

    @property
    def title(self) -> str:
        return f"{self.record['datamodule']} · {self.record['network']} ({self.record['name']})"

    @property
    def heading(self) -> str:
        """The title, with the families: searches with one title are told apart."""
        families = list(self.trials)
        named = ", ".join(families if len(families) <= MOST_NAMED else families[: MOST_NAMED - 1])
        more = f" and {len(families) - MOST_NAMED + 1} more" if len(families) > MOST_NAMED else ""
        return f"{self.title}: {named}{more}" if families else self.title

    def best(self, model: str, of: int | None = None) -> Trial | None:
        """The trial with the best value among the first `of` trials: the first of several equal trials; None if none has one."""
        trials = [trial for trial in self.trials.get(model, []) if of is None or trial.number < of]
        with_value = [trial for trial in trials if trial.value is not None]
        sign = -1.0 if self.higher_is_better else 1.0
        return min(with_value, key=lambda trial: sign * (trial.value or 0.0), default=None)


def write_search(path: Path, record: Mapping[str, Any]) -> None:
    """Writes `search.json` into a search's folder."""
    write_json(path / SEARCH, {"schema": SCHEMA, **record})


def write_trial(path: Path, trial: Trial) -> None:
    """Writes a trial into a search's folder."""
    write_json(trial_path(path, trial.model, trial.number), {"schema": SCHEMA, **asdict(trial)})


def trial_path(path: Path, model: str, number: int) -> Path:
    """The file of a trial."""
    return trials_path(path) / f"{model}-{number:04}.json"


def read_trial(file: Path) -> Trial:
    """Reads a trial.

    Raises:
        RecordError: for a damaged file, a newer schema, or a run outside of the folder of runs.
    """
    record = read_json(file, _TrialFile)
    trial = Trial(**{key: value for key, value in record.items() if key != "schema"})  # type: ignore[arg-type]
    if Path(trial.run).is_absolute() or ".." in Path(trial.run).parts:
        raise RecordError(f"{file} names the run {trial.run}, outside of the folder of runs; move the file away")
    if CONTROL.search("".join(map(str, trial.params.values()))):
        raise RecordError(f"{file} has control characters in its params; move the file away")
    return trial


def read_search(path: Path) -> Search:
    """Reads a search with its trials.

    Raises:
        RecordError: for a damaged file, a newer schema, or a trial whose run is outside of the folder of runs.
    """
    search = read_json(path / SEARCH, SearchRecord)
    trials: dict[str, list[Trial]] = defaultdict(list)
    for file in sorted(trials_path(path).glob("*.json")):
        trial = read_trial(file)
        trials[trial.model].append(trial)
    in_order = {model: sorted(group, key=lambda trial: trial.number) for model, group in trials.items()}
    return Search(path, dict(search), in_order)


def find_searches(root: Path, on_bad: Callable[[RecordError], None]) -> list[Search]:
    """Every search at or below `root`, in order of paths. `on_bad` is called for each that cannot be read."""
    searches = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(filter(may_hold_a_search, folders))
        if SEARCH in files:
            try:
                searches.append(read_search(Path(folder)))
            except RecordError as error:
                on_bad(error)
    return sorted(searches, key=lambda search: search.path)
