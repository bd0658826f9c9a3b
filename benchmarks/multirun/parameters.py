"""The parameters of the trials of a search: from the seed alone, or from the earlier trials too."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna

from benchmarks.multirun.journal import check_journal, open_journal
from benchmarks.multirun.settings import SearchSettings
from benchmarks.multirun.space import Space
from benchmarks.records.searches import Trial


class Parameters:
    """Draws the parameters of each trial.

    Random trials follow from `search_seed`, the model and the number of the trial. TPE draws them from the earlier trials, which
    the processes of a search share through a storage of Optuna: a journal in the folder of the search, or a database.

    Args:
        settings: the settings of the search.
        spaces: the search space of each model.
        higher_is_better: whether a higher value is better.
        folder: the folder of the search. Nothing is written there before the first trial.

    Raises:
        RecordError: for a journal of TPE that is damaged.
    """

    def __init__(
        self, settings: SearchSettings, spaces: Mapping[str, Space], higher_is_better: bool, folder: Path
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.settings, self.folder = settings, folder
        self.spaces = {
            model: {name: parameter.distribution for name, parameter in space.items()}
            for model, space in spaces.items()
        }
        directions = optuna.study.StudyDirection
        self.direction = directions.MAXIMIZE if higher_is_better else directions.MINIMIZE
        self._storage: Any = None
        if settings.sampler == "tpe" and settings.storage is None:
            studies = {self._study_name(model): space for model, space in self.spaces.items()}
            check_journal(folder, studies, self.direction)

    def draw(self, model: str, n: int, trials: Mapping[int, Trial]) -> dict[str, Any]:
        """The parameters of trial n. One process at a time may draw for a model.

        Trials that were stopped and started change nothing for TPE as long as they ran one after another, except that a trial
        that first failed and later succeeded was unknown when later parameters were drawn.

        Args:
            model: the family.
            n: the number of the trial.
            trials: the trials of the model that have a record, by number.
        """
        if n in trials:
            return trials[n].params
        if self.settings.sampler == "random":
            sampler = optuna.samplers.RandomSampler(seed=self._seed(model, n))
            study = optuna.create_study(direction=self.direction, sampler=sampler)
            return dict(study.ask(self.spaces[model]).params)
        # numbers of trials in the storage are those of the search: earlier trials that the storage lacks are added first,
        # from their records, or as trials that run elsewhere
        known = self._study(model, n).trials
        for number in range(len(known), n + 1):
            study = self._study(model, number)
            if number in trials:
                study.add_trial(self._recorded(trials[number]))
            else:
                self._add_running(study, self.spaces[model])
        return dict(self._study(model, n).trials[n].params)

    def tell(self, trial: Trial) -> None:
        """Tells TPE the result of a trial that has ended."""
        if self.settings.sampler == "random":
            return
        study = self._study(trial.model, trial.number)
        study.tell(trial.number, trial.value, state=_state(trial), skip_if_finished=True)

    def _study(self, model: str, n: int) -> optuna.Study:
        if self._storage is None:
            self._storage = self.settings.storage or open_journal(self.folder)
        return optuna.create_study(
            study_name=self._study_name(model),
            storage=self._storage,
            direction=self.direction,
            # trials that run elsewhere count as bad ones, so that processes do not try the same values
            sampler=optuna.samplers.TPESampler(seed=self._seed(model, n), constant_liar=True),
            load_if_exists=True,
        )

    def _study_name(self, model: str) -> str:
        return f"{self.folder.name}-{model}"

    def _add_running(self, study: optuna.Study, space: Mapping[str, Any]) -> None:
        """Draws a trial in memory and adds the trial to the storage at once.

        `study.ask` writes one parameter after another: a process that is killed meanwhile would leave a trial that lacks some.
        """
        copy = optuna.create_study(direction=self.direction, sampler=study.sampler)
        copy.add_trials(study.trials)
        params = copy.ask(dict(space)).params
        running = optuna.trial.TrialState.RUNNING
        study.add_trial(optuna.trial.create_trial(state=running, params=params, distributions=dict(space)))

    def _recorded(self, trial: Trial) -> optuna.trial.FrozenTrial:
        space = self.spaces[trial.model]
        return optuna.trial.create_trial(
            params=trial.params, distributions=space, value=trial.value, state=_state(trial)
        )

    def _seed(self, model: str, n: int) -> int:
        return zlib.crc32(f"{self.settings.search_seed} {model} {n}".encode())


def _state(trial: Trial) -> optuna.trial.TrialState:
    # TPE ignores failed trials; diverged ones are reported as pruned, so it avoids them
    states = optuna.trial.TrialState
    if trial.value is not None:
        return states.COMPLETE
    return states.FAIL if trial.status == "failed" else states.PRUNED
