"""python -m benchmarks.evaluate: scores runs that were trained before, or a model from elsewhere, under any protocol."""

import shlex
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from benchmarks.cli import package_list, program
from benchmarks.errors import UserError, fail, is_users, one_line
from benchmarks.external.words import Words, read_words
from benchmarks.imports import check_torchvision


@program("evaluate", needs_torch=False)
def main(cfg: DictConfig) -> None:
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    words = read_words(config)  # before torch, which takes seconds
    check_torchvision()
    if words is None:
        _score_runs(cfg, config["protocol"])
    else:
        _score_external(words, config)


def _score_external(words: Words, config: dict[str, Any]) -> None:
    from benchmarks.external.scoring import score_words
    from benchmarks.reporting.terminal import print_scores
    from benchmarks.scoring.bench import Bench
    from benchmarks.training.configure import refuse_credentials

    task = [word for word in HydraConfig.get().overrides.task if not word.startswith("runs_dir=")]
    refuse_credentials({"about": words.about}, task)
    bench = Bench.of(config)
    command = shlex.join(["python", "-m", "benchmarks.evaluate", *task])
    scored, failed = score_words(words, bench, Path(config["runs_dir"]), command)
    for path in scored:
        print(path)
        print_scores(path, bench.scorer.id, is_brief=True)
    if failed:
        raise SystemExit(1)


def _score_runs(cfg: DictConfig, protocol: dict[str, Any]) -> None:
    import torch

    from benchmarks.records.checks import check_data, check_place
    from benchmarks.records.files import RecordError
    from benchmarks.records.paths import runs_dir_of
    from benchmarks.records.roots import find_all, folders_of
    from benchmarks.records.runs import sha256_of
    from benchmarks.reporting.terminal import print_scores
    from benchmarks.scoring.restore import (
        at_folders,
        choose_device,
        load_data,
        load_trained,
        read_trained_config,
        set_threads,
        use_float32,
    )
    from benchmarks.scoring.scorer import make_scorer, score_baselines, score_run

    if not isinstance(cfg.reuse, bool):
        raise UserError(f"reuse is {cfg.reuse!r}; expected true or false")
    device = torch.device(choose_device(cfg.accelerator))
    use_float32()
    trust = package_list(cfg.trust)
    bad: list[RecordError] = []
    try:
        runs_below = find_all(folders_of(cfg.runs), bad.append)
    except RecordError:
        if not bad:
            raise
        runs_below = []
    for error in bad:
        fail(f"{one_line(error)} (left out)")
    finished = [run for run in runs_below if run.status == "finished"]
    # trials are many and are not rows of a table: a trial is scored only if `runs` names it alone
    runs = [run for run in finished if not run.is_external and (not run.is_trial or len(runs_below) == 1)]
    if trials := sum(run.is_trial for run in runs_below) if len(runs_below) > 1 else 0:
        print(f"{trials} trials of searches are not scored")
    if others := [run for run in finished if run.is_external]:
        message = f"{len(others)} rows from elsewhere ({others[0].path}) are not scored: their samples are needed, samples=PATH"
        if not runs:
            raise UserError(message)
        print(message)
    failed = len(bad)
    for i, run in enumerate(runs, 1):
        print(f"[{i}/{len(runs)}] {run.path}", flush=True)
        try:
            config = read_trained_config(run.path, trust)
            set_threads(config.threads)
            scorer = make_scorer(protocol, config.feature_encoder, device)
            if scorer.is_done(run.path):
                print("      already scored under this protocol: nothing to do")
                continue
            data = load_data(at_folders(config.datamodule, cfg.data_dir, folder=cfg.folder))
            check_data(run, data.info.id)
            check_place(run)
            score_baselines(runs_dir_of(run.path), data, scorer)
            seconds: dict[str, float] = {}
            identity = run.record["config_id"], run.record["seed"]
            model = load_trained(run.path, config.model, device, sha256_of(run.record), identity)
            score_run(run.path, model, data, scorer, seconds.__setitem__, cfg.reuse)
            print_scores(run.path, scorer.id)
            spent = ", ".join(f"{name} {s:.1f}" for name, s in seconds.items() if s >= 0.05)
            print(f"  seconds: {spent or 'none'}", flush=True)
        except Exception as error:  # the other runs can still be scored
            failed += 1
            fail(one_line(error) if is_users(error) else f"{run.path}: {type(error).__name__}: {one_line(error)}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
