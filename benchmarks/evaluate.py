"""python -m benchmarks.evaluate: scores runs that were trained before, under any protocol."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from benchmarks.cli import package_list, program
from benchmarks.errors import fail, is_users, one_line


@program("evaluate")
def main(cfg: DictConfig) -> None:
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

    protocol: Any = OmegaConf.to_container(cfg.protocol, resolve=True)
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
    # trials are many and are not rows of a table: a trial is scored only if `runs` names it alone
    runs = [run for run in runs_below if run.status == "finished" and (not run.is_trial or len(runs_below) == 1)]
    if trials := sum(run.is_trial for run in runs_below) if len(runs_below) > 1 else 0:
        print(f"{trials} trials of searches are not scored")
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
            score_run(run.path, model, data, scorer, seconds.__setitem__)
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
