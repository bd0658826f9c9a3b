"""python -m benchmarks.train: trains what a configuration describes, then scores it; `-m` for many."""

from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from benchmarks import sweeps
from benchmarks.cli import prepare
from benchmarks.errors import UserError, exits_cleanly, fail, is_users, one_line

NAMED = ("model", "network", "datamodule")


@exits_cleanly
def main() -> None:
    prepare("train")
    _hydra_main()


@hydra.main(config_path="pkg://conf", config_name="train", version_base="1.3")
@exits_cleanly  # inside Hydra too, which would print a traceback
def _hydra_main(cfg: DictConfig) -> None:
    from benchmarks.training import Outcome, path_of, train_and_score

    config = resolve(cfg)
    label = " · ".join([*(config["names"][key] for key in ("datamodule", "model")), f"seed {config['seed']}"])
    if sweeps.is_multirun():
        sweeps.announce(label)
    try:
        outcome = train_and_score(config, label)
    except Exception as error:
        if not sweeps.is_multirun():
            raise
        # the other jobs of a sweep go on; the end of the sweep lists this one
        outcome = Outcome(path_of(config), "failed", f"{label}: {one_line(error)}")
        if not is_users(error):
            fail(outcome.message)
    if sweeps.is_multirun():
        sweeps.report_outcome(outcome)
    else:
        print(outcome.message)
        if outcome.status != "finished":
            raise SystemExit(1)
        from benchmarks.report import print_scores

        print_scores(outcome.path)


def resolve(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain values, with the names of the groups' choices and the command that makes it."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    hydra_config = HydraConfig.get()
    if not isinstance(config["seed"], int) or config["seed"] < 0:
        raise UserError(f"seed is {config['seed']!r}; expected a whole number of 0 or more")
    config["names"] = {group: Path(hydra_config.runtime.choices[group]).name for group in NAMED}
    words = [word for word in hydra_config.overrides.task if not word.startswith(("runs_dir=", "reports_dir="))]
    config["command"] = " ".join(["python -m benchmarks.train", *words])
    return {str(key): value for key, value in config.items()}


if __name__ == "__main__":
    main()
