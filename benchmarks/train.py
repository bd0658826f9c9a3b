"""python -m benchmarks.train: trains what a configuration describes, then scores it; `-m` for many."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from benchmarks import sweeps
from benchmarks.cli import prepare
from benchmarks.errors import UserError, exits_cleanly, one_line
from benchmarks.leaderboard import flatten

NAMED = ("datamodule", "network", "model")
# a key that names one, or an address with a password in it
CREDENTIAL = re.compile(r"(api_?key|token|password|passwd|secret)[^=.:]*[=:]|://[^/@\s]+:[^/@\s]+@", re.IGNORECASE)


@exits_cleanly
def main() -> None:
    prepare("train")
    _hydra_main()


@hydra.main(config_path="pkg://conf", config_name="train", version_base="1.3")
@exits_cleanly  # inside Hydra too, which would print a traceback
def _hydra_main(cfg: DictConfig) -> None:
    from benchmarks.training import Outcome, path_of, train_and_score

    run, label = Path(cfg.runs_dir), "job"
    try:
        hydra_config = HydraConfig.get()
        config = resolve(cfg, hydra_config.runtime.choices, hydra_config.overrides.task)
        config["group"] = config["sweep_name"] if sweeps.is_multirun() else None
        run, label = path_of(config), " · ".join([*config["names"].values(), f"seed {config['seed']}"])
        if sweeps.is_multirun():
            sweeps.announce(label)
            if config["trainer"]["devices"] != 1:
                raise UserError("a multirun trains on one device: leave -m out, or set trainer.devices=1")
        outcome = train_and_score(config, label)
    except Exception as error:
        if not sweeps.is_multirun():
            raise
        # the other jobs of a sweep go on; the end of the sweep lists this one
        outcome = Outcome(run, "failed", f"{label}: {one_line(error)}")
    if sweeps.is_multirun():
        sweeps.report_outcome(outcome)
    else:
        print(outcome.message)
        if outcome.status != "finished":
            raise SystemExit(1)
        from benchmarks.report import print_scores

        print_scores(outcome.path)


def resolve(cfg: DictConfig, choices: Mapping[str, str], words: Sequence[str]) -> dict[str, Any]:
    """The configuration as plain values, with the names of the groups' choices and the command that makes it.

    Args:
        cfg: composed.
        choices: by group.
        words: the overrides that it was composed with.

    Raises:
        UserError: for a seed that is none, and for words that hold a credential, which records would keep.
    """
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    if not isinstance(config["seed"], int) or not 0 <= config["seed"] < 2**32:
        raise UserError(f"seed is {config['seed']!r}; expected a whole number of 0 or more, below 2^32")
    said = {word.partition("=")[0]: word for word in words}
    said |= {key: f"{key}={value}" for key, value in flatten(config) if isinstance(value, str) and value}
    for key, word in said.items():
        if CREDENTIAL.search(word):
            raise UserError(
                f"{key} looks like a credential, and records keep commands and configurations: set it in the environment "
                "(WANDB_API_KEY, or wandb login)"
            )
    config["names"] = {group: Path(choices[group]).name for group in NAMED}
    kept = [word for word in words if not word.startswith(("runs_dir=", "reports_dir="))]
    config["command"] = " ".join(["python -m benchmarks.train", shlex.join(kept)]).rstrip()
    return {str(key): value for key, value in config.items()}


def plain(words: Sequence[str]) -> dict[str, Any]:
    """What `python -m benchmarks.train words...` would train, as `resolve` has it. Inside a program of Hydra's."""
    cfg = compose("train", overrides=list(words), return_hydra_config=True)
    choices = dict(cfg.hydra.runtime.choices)
    with open_dict(cfg):
        del cfg["hydra"]
    return resolve(cfg, choices, words)


if __name__ == "__main__":
    main()
