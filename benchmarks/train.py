"""python -m benchmarks.train: trains and scores the model that a configuration describes; `-m` trains many runs."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from benchmarks.cli import program
from benchmarks.errors import UserError, one_line
from benchmarks.imports import check_torchvision, fast_imports
from benchmarks.multirun import sweep
from benchmarks.multirun.seeds import check_size, with_seed
from benchmarks.records.outcomes import Outcome


@program("train")
def main(cfg: DictConfig) -> None:
    if sweep.is_multirun():
        with sweep.job():
            sweep.report_outcome(_job(cfg))
        return
    outcome = _run(cfg)
    print(outcome.message)
    if outcome.status != "finished":
        raise SystemExit(1)
    from benchmarks.reporting.terminal import print_scores

    print_scores(outcome.path)


def _run(cfg: DictConfig) -> Outcome:
    with fast_imports():
        from benchmarks.training.configure import configure
        from benchmarks.training.run import train_and_score

    hydra = HydraConfig.get()
    if check_size(cfg.seeds_per_job) != 1:
        raise UserError("seeds_per_job is for sweeps, which have several seeds: -m seed=0,1,2,3,4 seeds_per_job=5")
    return train_and_score(configure(cfg, hydra.runtime.choices, hydra.overrides.task))


def _job(cfg: DictConfig) -> Outcome:
    """The outcome of a job of a sweep. If the job fails, the others go on, and the end of the sweep lists the job."""
    path, label = Path(cfg.runs_dir), "job"
    try:
        check_torchvision()
        with fast_imports():
            from benchmarks.training.configure import configure
            from benchmarks.training.run import train_and_score

        hydra = HydraConfig.get()
        config = configure(cfg, hydra.runtime.choices, hydra.overrides.task, cfg.sweep_name)
        path, label = config.path, config.label
        sweep.announce(label, path, (config.budget.unit, config.budget.amount))
        if config.parts.trainer["devices"] != 1:
            raise UserError("a multirun trains on one device: leave -m out, or set trainer.devices=1")
        if len(seeds := sweep.seeds_beside(check_size(cfg.seeds_per_job))) > 1:
            _train_together(cfg, seeds)
        return train_and_score(config)
    except Exception as error:
        return Outcome(path, "failed", f"{label}: {one_line(error)}")


def _train_together(cfg: DictConfig, seeds: Sequence[int]) -> None:
    """Trains the seeds of the job's configuration that are not trained yet."""
    from benchmarks.training.configure import configure
    from benchmarks.training.seeds import train_together

    hydra, configs = HydraConfig.get(), list[Any]()
    for seed in seeds:
        of_seed = cfg.copy()
        of_seed.seed = seed
        words = with_seed(hydra.overrides.task, seed)
        with suppress(UserError):  # a seed out of range: its own job says so
            configs.append(configure(of_seed, hydra.runtime.choices, words, cfg.sweep_name))
    train_together(configs)


if __name__ == "__main__":
    main()
