"""python -m benchmarks.train: trains and scores the model that a configuration describes; `-m` trains many runs."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from benchmarks.cli import program
from benchmarks.errors import UserError, one_line
from benchmarks.multirun import sweep
from benchmarks.records.outcomes import Outcome


@program("train")
def main(cfg: DictConfig) -> None:
    from benchmarks.training.configure import configure
    from benchmarks.training.run import train_and_score

    is_multirun = sweep.is_multirun()
    path, label = Path(cfg.runs_dir), "job"
    try:
        hydra = HydraConfig.get()
        config = configure(cfg, hydra.runtime.choices, hydra.overrides.task, cfg.sweep_name if is_multirun else None)
        path, label = config.path, config.label
        if is_multirun:
            sweep.announce(label)
            if config.parts.trainer["devices"] != 1:
                raise UserError("a multirun trains on one device: leave -m out, or set trainer.devices=1")
        outcome = train_and_score(config)
    except Exception as error:
        if not is_multirun:
            raise
        # the other jobs of a sweep go on; the end of the sweep lists this one
        outcome = Outcome(path, "failed", f"{label}: {one_line(error)}")
    if is_multirun:
        sweep.report_outcome(outcome)
        return
    print(outcome.message)
    if outcome.status != "finished":
        raise SystemExit(1)
    from benchmarks.reporting.terminal import print_scores

    print_scores(outcome.path)


if __name__ == "__main__":
    main()
