"""The configuration of one run, resolved and typed. Later code gets this object instead of a Hydra configuration."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose
from omegaconf import DictConfig, OmegaConf, open_dict

from benchmarks.errors import UserError, warn
from benchmarks.records.configurations import config_id, flatten
from benchmarks.records.paths import NO_RUNS, run_path
from benchmarks.records.schemas import NAME, is_nickname
from benchmarks.scoring.restore import choose_device
from benchmarks.training.budget import Budget

# a key that names a credential, or an address with a password in it
CREDENTIAL = re.compile(r"(api_?key|token|password|passwd|secret)[^=.:]*[=:]|://[^/@\s]+:[^/@\s]+@", re.IGNORECASE)

# of Lightning; the others change the type of the weights, and scores and pictures are of float32 weights
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

# the keys of a configuration that have no default
NEEDED = (
    *("names", "command", "seed", "runs_dir", "model", "datamodule", "trainer", "budget", "feature_encoder"),
    *("curve_points", "checkpoint_seconds"),
)

Node = Mapping[str, Any]


class Names(NamedTuple):
    """What names a run: the data's name, and the choices of two groups."""

    datamodule: str
    network: str
    model: str


@dataclass(frozen=True)
class Parts:
    """The groups that objects are made from, resolved; `_target_` names a class."""

    model: Node
    datamodule: Node
    trainer: Node
    protocol: Node
    curve: Node
    logger: Node


@dataclass(frozen=True)
class RunConfig:
    """The configuration of one run.

    Args:
        names: the names of data module, network and model.
        seed: the seed of training.
        id: the id of the configuration without the seed.
        runs_dir: the folder of runs.
        path: the folder of the run.
        device: "cuda" or "cpu".
        label: the name of the run in progress lines.
        budget: the amount of training.
        threads: the number of torch's threads on the CPU; None for torch's default.
        feature_encoder: the encoder of the data; None if the data have none.
        curve_points: the number of points of the validation curve.
        checkpoint_seconds: the seconds between two checkpoints.
        parts: the groups that objects are made from.
        command: the command that trains the run.
        group: the sweep or search that the run belongs to.
        search: the search that the run belongs to, and the run's role in it.
        document: the whole configuration, as `config.yaml` keeps it.
    """

    names: Names
    seed: int
    id: str
    runs_dir: Path
    path: Path
    device: str
    label: str
    budget: Budget
    threads: int | None
    feature_encoder: str | None
    curve_points: int
    checkpoint_seconds: float
    parts: Parts
    command: str
    group: str | None
    search: Node | None
    document: Node

    @classmethod
    def of(cls, document: Node) -> "RunConfig":
        """From a resolved configuration that has the keys `names` and `command`.

        Raises:
            UserError: for a missing key, an invalid seed, budget, precision, folder or number of threads, or a GPU on a machine
                without one.
        """
        if missing := [key for key in NEEDED if key not in document]:
            raise UserError(f"the configuration of the run lacks {', '.join(missing)}")
        seed = document["seed"]
        if not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise UserError(f"seed is {seed!r}; expected a whole number of 0 or more, below 2^32")
        nickname = document.get("nickname")
        if nickname is not None and not is_nickname(nickname):
            raise UserError(f"nickname is {nickname!r}; expected a text of at most 60 characters, as in nickname=wide")
        precision = (document.get("trainer") or {}).get("precision", PRECISIONS[0])
        if precision not in PRECISIONS:  # 32 would be 32-true under another config id
            raise UserError(
                f"trainer.precision is {precision!r}; expected one of {', '.join(PRECISIONS)}, which keep weights in float32"
            )
        if not isinstance(document["runs_dir"], str):
            raise UserError(f"runs_dir is {document['runs_dir']!r}; expected a folder, as in runs_dir=./NAME")
        threads = document.get("threads")
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise UserError(
                f"threads is {threads!r}; expected a whole number of 1 or more, or null for torch's default"
            )
        names = Names(**document["names"])
        identity, runs_dir = config_id(document), Path(document["runs_dir"])
        parts = Parts(**{name: document.get(name) or {} for name in Parts.__dataclass_fields__})
        return cls(
            names=names,
            seed=seed,
            id=identity,
            runs_dir=runs_dir,
            path=run_path(runs_dir, names.datamodule, names.model, identity, seed),
            device=choose_device(parts.trainer["accelerator"]),
            label=" · ".join([*names, f"seed {seed}"]),
            budget=Budget(**document["budget"]),
            threads=threads,
            feature_encoder=document["feature_encoder"],
            curve_points=document["curve_points"],
            checkpoint_seconds=document["checkpoint_seconds"],
            parts=parts,
            command=document["command"],
            group=document.get("group"),
            search=document.get("search"),
            document=document,
        )

    @property
    def has_one_process(self) -> bool:
        """Whether one process trains the run, and not one on each of several devices."""
        return self.parts.trainer.get("devices") == 1 and self.parts.trainer.get("num_nodes", 1) == 1

    @property
    def resume_command(self) -> str:
        """The command that resumes the run, wherever its folder is."""
        place = "" if str(self.runs_dir) == "runs" else f" {shlex.quote(f'runs_dir={self.runs_dir}')}"
        return f"{self.command}{place}"

    def changed(self, **keys: Any) -> "RunConfig":
        """The configuration with other values of top-level keys."""
        return RunConfig.of({**self.document, **keys})

    def labelled(self, label: str) -> "RunConfig":
        """The same configuration under another label."""
        return replace(self, label=label)


def configure(cfg: DictConfig, choices: Mapping[str, str], words: Sequence[str], group: str | None = None) -> RunConfig:
    """The configuration of a run from a composed one.

    Args:
        cfg: the composed configuration, without Hydra's own part.
        choices: the chosen file of each group.
        words: the overrides of the command.
        group: the sweep or search that the run belongs to.

    Raises:
        UserError: as `RunConfig.of`, and for words that hold a credential, because records keep commands.
    """
    document: Any = OmegaConf.to_container(cfg, resolve=True)
    refuse_credentials(document, words)
    if (rates := choices.get("rates", "paper")) != "paper":
        _name_missing_rates(str(choices.get("model_rates")), choices["model"], rates)
    names = Names(*(Path(choices[name]).name for name in Names._fields))
    # the user's own name of the data, as in baseline rows, encoders and rows from elsewhere
    names = names._replace(datamodule=_data_name(document["datamodule"].get("name", names.datamodule)))
    # the command trains this run alone: seeds_per_job is for sweeps
    left_out = ("runs_dir=", "reports_dir=", "seeds_per_job=")
    kept = [word for word in words if not word.startswith(left_out)]
    document["names"] = names._asdict()
    document["command"] = " ".join(["python -m benchmarks.train", shlex.join(kept)]).rstrip()
    document["group"] = group
    return RunConfig.of(document)


def configure_words(words: Sequence[str], group: str | None = None) -> RunConfig:
    """What `python -m benchmarks.train words...` would train. Call it inside a Hydra program."""
    cfg, choices = _composed(words)
    return configure(cfg, choices, words, group)


def configure_seeds(words: Sequence[str], seeds: Sequence[int], group: str | None = None) -> dict[int, RunConfig]:
    """What `python -m benchmarks.train words... seed=N` would train, for each N. Hydra, which is slow, composes once."""
    cfg, choices = _composed([*words, f"seed={seeds[0]}"])
    configs = {}
    for seed in seeds:
        cfg.seed = seed
        configs[seed] = configure(cfg, choices, [*words, f"seed={seed}"], group)
    return configs


def _composed(words: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """The configuration that words compose, without Hydra's own part, and the chosen file of each group."""
    cfg = compose("train", overrides=list(words), return_hydra_config=True)
    choices = dict(cfg.hydra.runtime.choices)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg, choices


@lru_cache  # once for all runs of a process
def _name_missing_rates(file: str, model: str, rates: str) -> None:
    """Warns of rates that a model has none of: the file is optional, and the command would silently do nothing."""
    if not resources.files("conf").joinpath("model_rates", f"{file}.yaml").is_file():
        warn(
            f"rates={rates} changes nothing of {model}, which has no conf/model_rates/{file}.yaml: its own step sizes are used"
        )


def _data_name(name: Any) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in NO_RUNS:
        raise UserError(
            f"datamodule.name is {name!r}, which names no folder of runs; expected letters, digits, dots, dashes and underscores"
        )
    return name


def refuse_credentials(document: Node, words: Sequence[str]) -> None:
    """Raises UserError for a configuration or a word of a command that holds a credential: records keep both."""
    texts = {word.partition("=")[0]: word for word in words}
    texts |= {key: f"{key}={value}" for key, value in flatten(document) if isinstance(value, str) and value}
    for key, text in texts.items():
        if CREDENTIAL.search(text):
            raise UserError(
                f"{key} looks like a credential, and records keep commands and configurations: set it in the environment "
                "(WANDB_API_KEY, or wandb login)"
            )
