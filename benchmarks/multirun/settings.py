"""The settings of a search, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError

SAMPLERS = ("random", "tpe")


@dataclass(frozen=True)
class SearchSettings:
    """What a search does.

    Args:
        families: the models to search.
        trials: the number of trials of each family.
        sampler: "random" or "tpe".
        search_seed: the seed of the parameters.
        select: the score of the selection protocol that chooses the winner.
        seed: the seed of every trial.
        confirm_seeds: the seeds of the winners.
        search_name: the name of the search in records and reports.
        runs_dir: the folder of runs.
        workers: the number of processes of this command that share the trials.
        storage: the URL of a database that TPE shares; None for a journal in the folder of the search.
        threads: the number of torch's threads of each process; None for torch's default.
        spaces: the search space of each model, as conf/search declares it.

    Raises:
        UserError: for settings that cannot be searched.
    """

    families: tuple[str, ...]
    trials: int
    sampler: str
    search_seed: int
    select: str
    seed: int
    confirm_seeds: tuple[int, ...]
    search_name: str
    runs_dir: Path
    workers: int
    storage: str | None
    threads: int | None
    spaces: Mapping[str, Any]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "SearchSettings":
        """From a resolved configuration with the keys of conf/search.yaml."""
        for key in ("families", "confirm_seeds"):
            if not isinstance(document[key], list):
                raise UserError(f"{key} is {document[key]!r}; expected a list, as in {key}=[...]")
        values = {field.name: document[field.name] for field in fields(cls)}
        values |= {key: tuple(values[key]) for key in ("families", "confirm_seeds")}
        return cls(**values | {"runs_dir": Path(values["runs_dir"])})

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise UserError(f"sampler is {self.sampler!r}; expected {' or '.join(SAMPLERS)}")
        if not isinstance(self.trials, int) or self.trials < 1:
            raise UserError(f"trials is {self.trials!r}; expected a whole number of 1 or more")
        if not isinstance(self.workers, int) or self.workers < 1:
            raise UserError(f"workers is {self.workers!r}; expected a whole number of 1 or more")
        if self.workers > 1 and self.threads is None:
            raise UserError(f"workers={self.workers} needs threads=1 or another number of threads for each process")
        for model in self.families:
            if model not in self.spaces:
                raise UserError(
                    f"families has {model}, which has no search space; expected one of {', '.join(self.spaces)}, "
                    f"or write conf/search/{model}.yaml and add +search@spaces.{model}={model}"
                )
        if not self.families:
            raise UserError("families is empty; expected models, e.g. families=[vae,gan]")
        if self.seed in self.confirm_seeds:
            raise UserError(
                f"confirm_seeds has {self.seed}, the trials' own seed; a winner is confirmed on fresh seeds"
            )
