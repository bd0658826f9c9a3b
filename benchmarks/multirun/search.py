"""A search: every family gets the same number of trials; validation data choose the winners; fresh seeds confirm them."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.errors import UserError, one_line
from benchmarks.multirun.claims import Claims
from benchmarks.multirun.parameters import Parameters
from benchmarks.multirun.progress import time_left
from benchmarks.multirun.search_words import NOT_RECORDED, is_of_protocol, selection_words, training_words
from benchmarks.multirun.settings import SearchSettings
from benchmarks.multirun.space import make_space, words_of
from benchmarks.records.files import digest
from benchmarks.records.outcomes import Outcome
from benchmarks.records.paths import RECORD, SEARCH, search_path
from benchmarks.records.runs import read_record, read_sheets
from benchmarks.records.searches import (
    Search,
    Trial,
    read_search,
    read_trial,
    trial_path,
    write_search,
    write_trial,
)
from benchmarks.reporting.numbers import number
from benchmarks.scoring.scorer import Scorer, make_scorer
from benchmarks.training.configure import RunConfig, configure_seeds, configure_words
from benchmarks.training.run import train_and_score

CLAIMS = "claims"


class SearchProgram:
    """One search.

    Args:
        settings: the settings of the search.
        words: the overrides of the program.
        before: what earlier commands gave up (`Claims`).

    Raises:
        UserError: for settings that cannot be searched, before any training.
    """

    def __init__(self, settings: SearchSettings, words: Sequence[str], before: dict[str, int] | None = None) -> None:
        self.settings, self.command_words = settings, list(words)
        self.families, self.seeds = settings.families, settings.confirm_seeds
        self.spaces = {model: make_space(model, node) for model, node in settings.spaces.items()}
        if any(word.startswith("model=") for word in words):
            raise UserError("a search goes through models: choose them with families=[vae,gan]")
        self.words = list(training_words(words))
        # a trial is scored by the selection protocol; what was set for the final protocol does not apply to it
        self.trial_words = [word for word in self.words if not is_of_protocol(word)]
        self.trial_words += ["protocol=selection", *selection_words(words)]
        self.trials = {_name(model, "trial", n): (model, n) for model in self.families for n in range(settings.trials)}
        self.tasks = [*self.trials, *(_name(model, "seed", seed) for model in self.families for seed in self.seeds)]
        self.winners, self.lost = dict[str, RunConfig](), list[str]()
        # the id of a search covers every space, so that families can be added to it
        by_model = {
            model: self._config(model, self.trial_words) for model in dict.fromkeys((*self.families, *self.spaces))
        }
        first = by_model[self.families[0]]
        for model in self.families:  # errors in the final runs are reported before the trials run
            self._with_seeds(model, self.words)
        if first.parts.trainer["devices"] != 1:
            raise UserError("a search trains on one device: set trainer.devices=1")
        self.protocol_id, self.higher_is_better = self._selected_score(first)
        decisive = {
            "configs": {model: by_model[model].id for model in self.spaces},
            "spaces": settings.spaces,
            "select": [settings.select, self.protocol_id],
            "sampler": [settings.sampler, settings.search_seed, settings.seed],
        }
        self.id = digest(decisive)
        self.folder = search_path(settings.runs_dir, first.names.datamodule, settings.search_name, self.id)
        self.parameters = Parameters(settings, self.spaces, self.higher_is_better, self.folder)
        if not (self.folder / SEARCH).is_file():
            command = shlex.join(word for word in words if not word.startswith(NOT_RECORDED))
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
        self.claims = Claims(self.folder / CLAIMS, before)
        self._results = set[str]()
        self._started, self._done_before = time.monotonic(), self._count_done()

    def search(self) -> None:
        """Runs every trial of every family that has no result yet and that no other process runs."""
        self.claims.share(list(self.trials), self._has_result, self._try)

    def confirm(self) -> None:
        """Trains and scores the winner of each family on fresh seeds, unless another process does."""
        search = read_search(self.folder)
        for model in self.families:
            winner = search.best(model, of=self.settings.trials)  # the same number of trials for every family
            if winner is None:
                self.lost.append(f"{model}: no trial has a {self.settings.select}, nothing to confirm")
            else:
                self.winners |= self._runs_of_winner(model, winner)
        self.claims.share(list(self.winners), self._is_confirmed, self._confirm)

    @property
    def failures(self) -> list[str]:
        """What failed since the command started, in any of its processes, and the families that turned out to have no winner."""
        reasons = [self.claims.reason(task) for task in self.tasks]
        return [*filter(None, reasons), *self.lost]

    @property
    def diverged(self) -> list[str]:
        """The winners that diverged on a fresh seed."""
        records = [(config, read_record(config.path)) for config in self.winners.values()]
        return [
            f"{config.label}: {config.path} diverged: {record.get('error')}"
            for config, record in records
            if record is not None and record["status"] == "diverged"
        ]

    @property
    def confirmed(self) -> list[Path]:
        """The folders of the winners' runs that have a record."""
        return [config.path for config in self.winners.values() if (config.path / RECORD).is_file()]

    def _has_result(self, task: str) -> bool:
        """Whether a trial has a result. One that failed, or whose score broke down, runs again with the same parameters."""
        if task not in self._results:
            path = trial_path(self.folder, *self.trials[task])
            trial = read_trial(path) if path.is_file() else None
            if trial is not None and (trial.value is not None or trial.status == "diverged"):
                self._results.add(task)
        return task in self._results

    def _try(self, task: str) -> None:
        model, n = self.trials[task]
        search = read_search(self.folder)
        with self.claims.claim(f"{model}-draw", is_patient=True):
            params = self.parameters.draw(model, n, {trial.number: trial for trial in search.trials.get(model, [])})
        words = [*self.trial_words, *words_of(self.spaces[model], params), f"seed={self.settings.seed}"]
        settings = ", ".join(f"{name}={number(v) if isinstance(v, float) else v}" for name, v in params.items())
        label = f"{model} · trial {n + 1} of {self.settings.trials} · {settings}"
        config = self._in_role(self._config(model, words), "trial", n, label)
        outcome = self._run(config, task, search)
        value, reason = (None, self.claims.reason(task)) if outcome is None else self._value(config.path, outcome)
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
        self.parameters.tell(trial)
        if outcome is not None and not self._has_result(task):
            self.claims.give_up(task, None)

    def _runs_of_winner(self, model: str, winner: Trial) -> dict[str, RunConfig]:
        """By task, the runs that confirm a trial on fresh seeds."""
        label = f"{model} · winner (trial {winner.number})"
        configs = self._with_seeds(model, [*self.words, *words_of(self.spaces[model], winner.params)])
        return {
            _name(model, "seed", seed): self._in_role(config, "confirmation", winner.number, f"{label} · seed {seed}")
            for seed, config in configs.items()
        }

    def _is_confirmed(self, task: str) -> bool:
        config = self.winners[task]
        record = read_record(config.path)
        if record is None or record["status"] == "failed":
            return False
        return record["status"] == "diverged" or self._scorer_of(config).is_done(config.path)

    def _confirm(self, task: str) -> None:
        outcome = self._run(self.winners[task], task, read_search(self.folder))
        if outcome is not None and not self._is_confirmed(task):
            self.claims.give_up(task, None)

    def _run(self, config: RunConfig, task: str, search: Search) -> Outcome | None:
        """Trains and scores a run. Returns None if the run failed; the search goes on."""
        best = search.best(config.names.model)
        best_text = f" · best so far {number(best.value)}" if best is not None and best.value is not None else ""
        done = self._count_done()
        left = time_left(time.monotonic() - self._started, done - self._done_before, len(self.tasks) - done)
        print(f"[{self.tasks.index(task) + 1}/{len(self.tasks)}] {config.label}{best_text}{left}", flush=True)
        try:
            outcome = train_and_score(config)
        except Exception as error:  # a failed run does not stop the others; the end of the search lists it
            self.claims.give_up(task, f"{config.label}: {one_line(error)}")
            return None
        if outcome.status != "finished":
            print(f"      {outcome.message}", flush=True)
        return outcome

    def _count_done(self) -> int:
        """The number of trials and confirmations that have a result, from any process."""
        return sum(map(self._has_result, self.trials)) + sum(map(self._is_confirmed, self.winners))

    def _value(self, run: Path, outcome: Outcome) -> tuple[float | None, str | None]:
        """The selected score of a run, or why there is none."""
        if outcome.status != "finished":
            return None, outcome.message.removeprefix(f"{run} ")  # the trial says which run it is
        for sheet in read_sheets(run):
            if sheet.protocol_id == self.protocol_id:
                for score in sheet.scores:
                    if score.name == self.settings.select:
                        return score.value, score.detail.get("reason")
        return None, f"has no {self.settings.select}"

    def _config(self, model: str, words: Sequence[str]) -> RunConfig:
        return configure_words([f"model={model}", *words], group=self.settings.search_name)

    def _with_seeds(self, model: str, words: Sequence[str]) -> dict[int, RunConfig]:
        if not self.seeds:
            return {}
        return configure_seeds([f"model={model}", *words], self.seeds, group=self.settings.search_name)

    def _in_role(self, config: RunConfig, role: str, trial: int, label: str) -> RunConfig:
        search = {"id": self.id, "name": self.settings.search_name, "role": role, "trial": trial}
        return config.changed(search=search).labelled(label)

    def _scorer_of(self, config: RunConfig) -> Scorer:
        return make_scorer(config.parts.protocol, config.feature_encoder, torch.device("cpu"))

    def _selected_score(self, config: RunConfig) -> tuple[str, bool]:
        """The id of the selection protocol, and whether a higher value of the selected score is better."""
        protocol = config.parts.protocol
        if protocol["split"] != "val":
            raise UserError(f"selection.split is {protocol['split']!r}; a search chooses on validation data: val")
        scorer = self._scorer_of(config)
        columns = {column.name: column for ruler in scorer.protocol.metrics.values() for column in ruler.columns}
        directed = sorted(name for name, column in columns.items() if column.higher_is_better is not None)
        if self.settings.select not in directed:
            raise UserError(f"select is {self.settings.select!r}; expected one of {', '.join(directed)}")
        return scorer.id, bool(columns[self.settings.select].higher_is_better)


def _name(model: str, kind: str, n: int) -> str:
    """The name of a trial or a confirmation: the name of the file of its claim."""
    return f"{model}-{kind}-{n}"
