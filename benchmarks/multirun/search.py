"""A search: every family gets the same number of trials; validation data choose the winners; fresh seeds confirm them."""

import shlex
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from benchmarks.errors import UserError, one_line
from benchmarks.multirun.progress import time_left
from benchmarks.multirun.settings import SearchSettings
from benchmarks.multirun.space import make_space, words_of
from benchmarks.records.files import digest
from benchmarks.records.outcomes import Outcome
from benchmarks.records.paths import RECORD, SEARCH, search_path
from benchmarks.records.runs import read_sheets
from benchmarks.records.searches import Search, Trial, read_search, write_search, write_trial
from benchmarks.reporting.numbers import number
from benchmarks.scoring.scorer import make_scorer
from benchmarks.training.configure import RunConfig, configure_words
from benchmarks.training.run import train_and_score

# the keys that the search adds to the training program's configuration
OWN_KEYS = ("families", "trials", "sampler", "search_seed", "select", "seed", "confirm_seeds", "search_name", "model")
OWN_PREFIXES = ("spaces", "selection", "protocol@selection", "search@")
PATHS = ("runs_dir=", "reports_dir=", "data_dir=")


class SearchProgram:
    """One search.

    Args:
        settings: the settings of the search.
        words: the overrides of the program.

    Raises:
        UserError: for settings that cannot be searched, before any training.
    """

    def __init__(self, settings: SearchSettings, words: Sequence[str]) -> None:
        self.settings, self.failures, self.diverged = settings, list[str](), list[str]()
        self.families, self.seeds = settings.families, settings.confirm_seeds
        self.spaces = {model: make_space(model, node) for model, node in settings.spaces.items()}
        if any(word.startswith("model=") for word in words):
            raise UserError("a search goes through models: choose them with families=[vae,gan]")
        self.words = list(_training_words(words))
        # a trial is scored by the selection protocol; what was set for the final protocol does not apply to it
        self.trial_words = [word for word in self.words if not _is_of_protocol(word)]
        self.trial_words += ["protocol=selection", *_selection_words(words)]
        self.done, self.ran, self.seconds = 0, 0, 0.0
        self.jobs = len(self.families) * (settings.trials + len(self.seeds))
        first = self._config(self.families[0], self.trial_words)
        for model in self.families:  # errors in the final runs are reported before the trials run
            for seed in self.seeds:
                self._config(model, [*self.words, f"seed={seed}"])
        if first.parts.trainer["devices"] != 1:
            raise UserError("a search trains on one device: set trainer.devices=1")
        self.protocol_id, self.higher_is_better = self._selected_score(first)
        decisive = {
            "configs": {model: self._config(model, self.trial_words).id for model in self.spaces},
            "spaces": settings.spaces,
            "select": [settings.select, self.protocol_id],
            "sampler": [settings.sampler, settings.search_seed, settings.seed],
        }
        self.id = digest(decisive)
        self.folder = search_path(settings.runs_dir, first.names.datamodule, settings.search_name, self.id)
        if not (self.folder / SEARCH).is_file():
            command = shlex.join(word for word in words if not word.startswith(PATHS))
            record = {
                "id": self.id,
                "name": settings.search_name,
                "datamodule": first.names.datamodule,
                "network": first.names.network,
                "select": settings.select,
                "higher_is_better": self.higher_is_better,
                "protocol_id": self.protocol_id,
                "protocol": first.parts.protocol,
                "sampler": settings.sampler,
                "search_seed": settings.search_seed,
                "seed": settings.seed,
                "budget": first.document["budget"],
                "spaces": settings.spaces,
                "command": f"python -m benchmarks.search {command}",
            }
            write_search(self.folder, record)

    def search(self) -> None:
        """Runs every trial of every family that has no result yet."""
        for model in self.families:
            for n in range(self.settings.trials):
                search = read_search(self.folder)
                trials = {trial.number: trial for trial in search.trials.get(model, [])}
                # a trial that failed, or whose score broke down, runs again with the same parameters
                if n in trials and (trials[n].value is not None or trials[n].status == "diverged"):
                    self.done += 1
                    continue
                params = trials[n].params if n in trials else self._ask(model, n, list(trials.values()))
                self._try(model, n, params, search)

    def confirm(self) -> list[Path]:
        """Trains and scores the winner of each family on fresh seeds. Returns the folders of the runs that have a record."""
        paths = []
        search = read_search(self.folder)
        for model in self.families:
            winner = search.best(model, of=self.settings.trials)  # the same number of trials for every family
            if winner is None:
                self.failures.append(f"{model}: no trial has a {self.settings.select}, nothing to confirm")
                continue
            for seed in self.seeds:
                words = [*self.words, *words_of(self.spaces[model], winner.params), f"seed={seed}"]
                label = f"{model} · winner (trial {winner.number}) · seed {seed}"
                config = self._in_role(self._config(model, words), "confirmation", winner.number, label)
                outcome = self._run(config, search)
                if outcome is not None and outcome.status == "diverged":
                    self.diverged.append(f"{label}: {outcome.message}")
                if (config.path / RECORD).is_file():
                    paths.append(config.path)
        return paths

    def _try(self, model: str, n: int, params: Mapping[str, Any], search: Search) -> None:
        words = [*self.trial_words, *words_of(self.spaces[model], params), f"seed={self.settings.seed}"]
        settings = ", ".join(f"{name}={number(v) if isinstance(v, float) else v}" for name, v in params.items())
        label = f"{model} · trial {n + 1} of {self.settings.trials} · {settings}"
        config = self._in_role(self._config(model, words), "trial", n, label)
        outcome = self._run(config, search)
        value, reason = (None, self.failures[-1]) if outcome is None else self._value(config.path, outcome)
        trial = Trial(
            model=model,
            number=n,
            params=dict(params),
            status="failed" if outcome is None else outcome.status,
            value=value,
            run=config.path.relative_to(self.settings.runs_dir).as_posix(),
            config_id=config.id,
            reason=reason,
        )
        write_trial(self.folder, trial)

    def _run(self, config: RunConfig, search: Search) -> Outcome | None:
        """Trains and scores a run. Returns None if the run failed; the search goes on."""
        best = search.best(config.names.model)
        best_text = f" · best so far {number(best.value)}" if best is not None and best.value is not None else ""
        left = time_left(self.seconds, self.ran, self.jobs - self.done)
        print(f"[{self.done + 1}/{self.jobs}] {config.label}{best_text}{left}", flush=True)
        start = time.monotonic()
        try:
            outcome = train_and_score(config)
        except Exception as error:  # a failed run does not stop the others; the end of the search lists it
            self.failures.append(f"{config.label}: {one_line(error)}")
            return None
        finally:
            self.done, self.ran, self.seconds = self.done + 1, self.ran + 1, self.seconds + time.monotonic() - start
        if outcome.status != "finished":
            print(f"      {outcome.message}", flush=True)
        return outcome

    def _value(self, run: Path, outcome: Outcome) -> tuple[float | None, str | None]:
        """The selected score of a run, or why there is none."""
        if outcome.status != "finished":
            return None, outcome.message
        for sheet in read_sheets(run):
            if sheet.protocol_id == self.protocol_id:
                for score in sheet.scores:
                    if score.name == self.settings.select:
                        return score.value, score.detail.get("reason")
        return None, f"has no {self.settings.select}"

    def _ask(self, model: str, n: int, trials: Sequence[Trial]) -> dict[str, Any]:
        """The parameters of trial n follow from the seed, n and the earlier trials, so interruptions change nothing.

        TPE has one exception: a trial that first failed and later succeeded was unknown when later parameters were drawn.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        space = {name: parameter.distribution for name, parameter in self.spaces[model].items()}
        seed = zlib.crc32(f"{self.settings.search_seed} {model} {n}".encode())
        samplers = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
        study = optuna.create_study(
            direction="maximize" if self.higher_is_better else "minimize",
            sampler=samplers[self.settings.sampler](seed=seed),
        )
        states = optuna.trial.TrialState
        for trial in trials:
            if trial.number < n:
                # TPE ignores failed trials; diverged ones are reported as pruned, so it avoids them
                has_value, failed = trial.value is not None, trial.status == "failed"
                state = states.COMPLETE if has_value else states.FAIL if failed else states.PRUNED
                study.add_trial(
                    optuna.trial.create_trial(params=trial.params, distributions=space, value=trial.value, state=state)
                )
        return dict(study.ask(space).params)

    def _config(self, model: str, words: Sequence[str]) -> RunConfig:
        return configure_words([f"model={model}", *words], group=self.settings.search_name)

    def _in_role(self, config: RunConfig, role: str, trial: int, label: str) -> RunConfig:
        search = {"id": self.id, "name": self.settings.search_name, "role": role, "trial": trial}
        return config.changed(search=search).labelled(label)

    def _selected_score(self, config: RunConfig) -> tuple[str, bool]:
        """The id of the selection protocol, and whether a higher value of the selected score is better."""
        protocol = config.parts.protocol
        if protocol["split"] != "val":
            raise UserError(f"selection.split is {protocol['split']!r}; a search chooses on validation data: val")
        scorer = make_scorer(protocol, config.feature_encoder, torch.device("cpu"))
        columns = {column.name: column for ruler in scorer.protocol.metrics.values() for column in ruler.columns}
        directed = sorted(name for name, column in columns.items() if column.higher_is_better is not None)
        if self.settings.select not in directed:
            raise UserError(f"select is {self.settings.select!r}; expected one of {', '.join(directed)}")
        return scorer.id, bool(columns[self.settings.select].higher_is_better)


def _training_words(words: Sequence[str]) -> Iterator[str]:
    """The overrides that the training program has."""
    for word, override in zip(words, OverridesParser.create().parse_overrides(list(words)), strict=True):
        key = override.get_key_element().lstrip("+~")
        is_own = override.key_or_group in OWN_KEYS or key.startswith(OWN_PREFIXES)
        if not is_own and not key.startswith("hydra."):
            yield word


def _is_of_protocol(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0]
    return key.partition(".")[0] == "protocol" or "@protocol." in key


def _selection_words(words: Sequence[str]) -> Iterator[str]:
    """The overrides of the selection protocol, as overrides of the training program's protocol."""
    for word in words:
        for selection, protocol in (("selection.", "protocol."), ("protocol@selection=", "protocol=")):
            bare = word.lstrip("+")
            if bare.startswith(selection):
                yield word[: len(word) - len(bare)] + protocol + bare.removeprefix(selection)
