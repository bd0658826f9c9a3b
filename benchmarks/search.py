"""python -m benchmarks.search: the same number of trials for every family, chosen on validation, confirmed on fresh seeds."""

import json
import shlex
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from benchmarks.cli import prepare
from benchmarks.errors import UserError, exits_cleanly, fail, one_line
from benchmarks.leaderboard import number
from benchmarks.runs import config_id, digest, read_sheets
from benchmarks.searches import Search, Trial, read_search, search_path, write_search, write_trial
from benchmarks.train import plain

# what this program adds to the training program's configuration
OWN_KEYS = ("families", "trials", "sampler", "search_seed", "select", "seed", "confirm_seeds", "search_name", "model")
PATHS = ("runs_dir=", "reports_dir=", "data_dir=")
OWN_PREFIXES = ("spaces", "selection", "protocol@selection", "search@")


@exits_cleanly
def main() -> None:
    prepare("search")
    _hydra_main()


@hydra.main(config_path="pkg://conf", config_name="search", version_base="1.3")
@exits_cleanly  # inside Hydra too, which would print a traceback
def _hydra_main(cfg: DictConfig) -> None:
    words = list(HydraConfig.get().overrides.task)
    program = _Program(cfg, words)
    try:
        program.search()
        confirmed = program.confirm()
    finally:
        for failure in [*program.diverged, *program.failures]:
            fail(failure)
    from benchmarks.report import build

    out = Path(cfg.reports_dir) / cfg.search_name
    build([*confirmed, program.folder], out, cfg.search_name, logger=cfg.logger)
    if program.failures:
        raise SystemExit(1)


@dataclass(frozen=True)
class Parameter:
    """One dimension of a search space.

    Args:
        override: of the training program, with {} for the value.
        choices: to draw from; or else
        low, high: of a real number, on a logarithmic scale with `log`.

    Raises:
        UserError: for none or both of them, or bounds out of order.
    """

    override: str
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        has_bounds = self.low is not None and self.high is not None
        if bool(self.choices) == has_bounds or self.override.count("{}") != 1:
            raise UserError(f"search space: {self.override!r} needs one {{}} and either choices or low and high")
        if has_bounds and not (self.low < self.high and (self.low > 0 or not self.log)):  # type: ignore[operator]
            raise UserError(
                f"search space: {self.override!r} has low {self.low} and high {self.high}; expected low < high, and above 0 "
                "on a logarithmic scale"
            )

    @property
    def distribution(self) -> Any:
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        return FloatDistribution(self.low or 0.0, self.high or 0.0, log=self.log)

    def word(self, value: Any) -> str:
        return self.override.replace("{}", json.dumps(value))


def _listed(cfg: DictConfig, key: str) -> list[Any]:
    if not OmegaConf.is_list(cfg[key]):
        raise UserError(f"{key} is {cfg[key]!r}; expected a list, as in {key}=[...]")
    return list(cfg[key])


def _space(model: str, node: Any) -> dict[str, Parameter]:
    if not OmegaConf.is_dict(node) or not all(OmegaConf.is_dict(node[name]) for name in node):
        raise UserError(
            f"spaces.{model} is no search space; expected parameters, as conf/search has (lr.low=1e-4, say)"
        )
    return {str(name): _parameter(_plain_node(node[name])) for name in node}


def _parameter(node: Mapping[str, Any]) -> Parameter:
    try:
        return Parameter(**{**node, "choices": tuple(node.get("choices", ()))})
    except TypeError as error:
        raise UserError(
            f"search space: {dict(node)} is no parameter; expected override and choices, or low and high"
        ) from error


class _Program:
    """One search from its configuration: what is asked for, what is there, and what failed."""

    def __init__(self, cfg: DictConfig, words: Sequence[str]) -> None:
        self.cfg, self.failures, self.diverged = cfg, list[str](), list[str]()
        self.families, self.seeds = (_listed(cfg, key) for key in ("families", "confirm_seeds"))
        self.spaces = {model: _space(model, space) for model, space in cfg.spaces.items()}
        self._check(words)
        self.words = list(_training_words(words))
        # how a trial is scored is said by the selection protocol, and by nothing that was said of the final one
        self.trial_words = [word for word in self.words if not _is_of_protocol(word)]
        self.trial_words += ["protocol=selection", *_selection_words(words)]
        self.done, self.ran, self.seconds = 0, 0, 0.0
        self.jobs = len(self.families) * (cfg.trials + len(self.seeds))
        first = self._config(self.families[0], self.trial_words)
        for model in self.families:  # what is wrong with the final runs is said before the trials
            for seed in self.seeds:
                self._config(model, [*self.words, f"seed={seed}"])
        if first["trainer"]["devices"] != 1:
            raise UserError("a search trains on one device: set trainer.devices=1")
        self.protocol_id, self.higher_is_better = self._selected_score(first)
        decisive = {
            "configs": {model: config_id(self._config(model, self.trial_words)) for model in self.spaces},
            "spaces": _plain_node(cfg.spaces),
            "select": [cfg.select, self.protocol_id],
            "sampler": [cfg.sampler, cfg.search_seed, cfg.seed],
        }
        self.id = digest(decisive)
        self.folder = search_path(Path(cfg.runs_dir), first["names"]["datamodule"], cfg.search_name, self.id)
        if not (self.folder / "search.json").is_file():
            names = first["names"]
            write_search(
                self.folder,
                {"id": self.id, "name": cfg.search_name, "datamodule": names["datamodule"], "network": names["network"]}
                | {"select": cfg.select, "higher_is_better": self.higher_is_better, "protocol_id": self.protocol_id}
                | {"protocol": first["protocol"], "sampler": cfg.sampler, "search_seed": cfg.search_seed}
                | {"seed": cfg.seed, "budget": first["budget"], "spaces": _plain_node(cfg.spaces)}
                | {
                    "command": " ".join(
                        ["python -m benchmarks.search", shlex.join(w for w in words if not w.startswith(PATHS))]
                    )
                },
            )

    def search(self) -> None:
        """Every trial of every family that is not there yet."""
        for model in self.families:
            for n in range(self.cfg.trials):
                so_far = read_search(self.folder)
                trials = so_far.trials.get(model, [])
                there = {trial.number: trial for trial in trials}
                # one that failed, or whose score broke down, is tried again with what it had
                if n in there and (there[n].value is not None or there[n].status == "diverged"):
                    self.done += 1
                    continue
                params = there[n].params if n in there else self._ask(model, n, trials)
                self._try(model, n, params, so_far)

    def confirm(self) -> list[Path]:
        """Trains and scores each family's winner on fresh seeds; the folders of all that have a record, however they ended."""
        from benchmarks.training import path_of

        ended = []
        search = read_search(self.folder)
        for model in self.families:
            winner = search.best(model, of=self.cfg.trials)  # as many for every family, whatever else was tried
            if winner is None:
                self.failures.append(f"{model}: no trial has a {self.cfg.select}, nothing to confirm")
                continue
            for seed in self.seeds:
                words = [self.spaces[model][name].word(value) for name, value in winner.params.items()]
                config = self._config(model, [*self.words, *words, f"seed={seed}"])
                config["search"] = self._role("confirmation", winner.number)
                label = f"{model} · winner (trial {winner.number}) · seed {seed}"
                outcome = self._run(config, label, search)
                if outcome is not None and outcome.status == "diverged":
                    self.diverged.append(f"{label}: {outcome.message}")
                if (path_of(config) / "run.json").is_file():
                    ended.append(path_of(config))
        return ended

    def _try(self, model: str, n: int, params: Mapping[str, Any], so_far: Search) -> None:
        from benchmarks.training import path_of

        words = [self.spaces[model][name].word(value) for name, value in params.items()]
        config = self._config(model, [*self.trial_words, *words, f"seed={self.cfg.seed}"])
        config["search"] = self._role("trial", n)
        said = ", ".join(f"{name}={number(v) if isinstance(v, float) else v}" for name, v in params.items())
        outcome = self._run(config, f"{model} · trial {n + 1} of {self.cfg.trials} · {said}", so_far)
        run = path_of(config)
        value, reason = (None, self.failures[-1]) if outcome is None else self._value(run, outcome)
        trial = Trial(
            model=model,
            number=n,
            params=dict(params),
            status="failed" if outcome is None else outcome.status,
            value=value,
            run=run.relative_to(self.cfg.runs_dir).as_posix(),
            config_id=config_id(config),
            reason=reason,
        )
        write_trial(self.folder, trial)

    def _run(self, config: Mapping[str, Any], label: str, search: Search) -> Any:
        """What became of a run; None where it failed, which the others survive."""
        from benchmarks.training import train_and_score

        best = search.best(config["names"]["model"])
        said = f" · best so far {number(best.value)}" if best is not None and best.value is not None else ""
        print(f"[{self.done + 1}/{self.jobs}] {label}{said}{self._left()}", flush=True)
        start = time.monotonic()
        try:
            outcome = train_and_score(config, label)
        except Exception as error:  # a failed run does not stop the others; the end lists it
            self.failures.append(f"{label}: {one_line(error)}")
            return None
        finally:
            self.done, self.ran, self.seconds = self.done + 1, self.ran + 1, self.seconds + time.monotonic() - start
        if outcome.status != "finished":
            print(f"      {outcome.message}", flush=True)
        return outcome

    def _left(self) -> str:
        if not self.ran:
            return ""
        seconds = self.seconds / self.ran * (self.jobs - self.done)
        return f" · about {seconds // 60:.0f} min {seconds % 60:02.0f} s left"

    def _value(self, run: Path, outcome: Any) -> tuple[float | None, str | None]:
        if outcome.status != "finished":
            return None, outcome.message
        for sheet in read_sheets(run):
            if sheet.protocol_id == self.protocol_id:
                for score in sheet.scores:
                    if score.name == self.cfg.select:
                        return score.value, score.detail.get("reason")
        return None, f"has no {self.cfg.select}"

    def _ask(self, model: str, n: int, trials: Sequence[Trial]) -> dict[str, Any]:
        """The n-th trial's parameters: they follow from the seed, n and the trials before, however often it was stopped.
        For TPE, of trials before that failed and were tried again later, they follow from what was known at the time."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        space = {name: parameter.distribution for name, parameter in self.spaces[model].items()}
        seed = zlib.crc32(f"{self.cfg.search_seed} {model} {n}".encode())
        samplers = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
        study = optuna.create_study(
            direction="maximize" if self.higher_is_better else "minimize", sampler=samplers[self.cfg.sampler](seed=seed)
        )
        for trial in trials:
            if trial.number < n:
                # to TPE a pruned trial is a bad one, a failed one is none at all: it is to keep away from what diverges
                has_value, failed = trial.value is not None, trial.status == "failed"
                states = optuna.trial.TrialState
                state = states.COMPLETE if has_value else states.FAIL if failed else states.PRUNED
                study.add_trial(
                    optuna.trial.create_trial(params=trial.params, distributions=space, value=trial.value, state=state)
                )
        return dict(study.ask(space).params)

    def _config(self, model: str, words: Sequence[str]) -> dict[str, Any]:
        config = plain([f"model={model}", *words])
        config["group"] = self.cfg.search_name
        return config

    def _role(self, role: str, trial: int) -> dict[str, Any]:
        return {"id": self.id, "name": self.cfg.search_name, "role": role, "trial": trial}

    def _selected_score(self, config: Mapping[str, Any]) -> tuple[str, bool]:
        """The selection protocol's id, and whether more of the chosen score is better."""
        import torch

        from benchmarks.scoring import make_scorer

        if config["protocol"]["split"] != "val":
            raise UserError(f"selection.split is {config['protocol']['split']!r}; a search chooses on validation: val")
        scorer = make_scorer(config["protocol"], config, torch.device("cpu"))
        columns = {column.name: column for ruler in scorer.protocol.metrics.values() for column in ruler.columns}
        directed = sorted(name for name, column in columns.items() if column.higher_is_better is not None)
        if self.cfg.select not in directed:
            raise UserError(f"select is {self.cfg.select!r}; expected one of {', '.join(directed)}")
        return scorer.id, bool(columns[self.cfg.select].higher_is_better)

    def _check(self, words: Sequence[str]) -> None:
        cfg = self.cfg
        if any(word.startswith("model=") for word in words):
            raise UserError("model is what a search goes through: choose with families=[vae,gan]")
        if cfg.sampler not in ("random", "tpe"):
            raise UserError(f"sampler is {cfg.sampler!r}; expected random or tpe")
        if not isinstance(cfg.trials, int) or cfg.trials < 1:
            raise UserError(f"trials is {cfg.trials!r}; expected a whole number of 1 or more")
        for model in self.families:
            if model not in self.spaces:
                raise UserError(
                    f"families has {model}, which has no search space; expected one of {', '.join(self.spaces)}, "
                    f"or write conf/search/{model}.yaml and add +search@spaces.{model}={model}"
                )
        if not self.families:
            raise UserError("families is empty; expected models, e.g. families=[vae,gan]")
        if cfg.seed in self.seeds:
            raise UserError(f"confirm_seeds has {cfg.seed}, the trials' own seed; a winner is confirmed on fresh ones")


def _training_words(words: Sequence[str]) -> Iterator[str]:
    """The words that the training program knows."""
    for word, override in zip(words, OverridesParser.create().parse_overrides(list(words)), strict=True):
        key = override.get_key_element().lstrip("+~")
        is_own = override.key_or_group in OWN_KEYS or key.startswith(OWN_PREFIXES)
        if not is_own and not key.startswith("hydra."):
            yield word


def _is_of_protocol(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0]
    return key.partition(".")[0] == "protocol" or "@protocol." in key


def _selection_words(words: Sequence[str]) -> Iterator[str]:
    """What was said of the selection protocol, in the training program's words."""
    for word in words:
        for mine, its in (("selection.", "protocol."), ("protocol@selection=", "protocol=")):
            bare = word.lstrip("+")
            if bare.startswith(mine):
                yield word[: len(word) - len(bare)] + its + bare.removeprefix(mine)


def _plain_node(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True)


if __name__ == "__main__":
    main()
