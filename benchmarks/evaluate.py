"""python -m benchmarks.evaluate: scores runs that were trained before, under any protocol."""

from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from benchmarks.cli import prepare
from benchmarks.errors import exits_cleanly, fail, is_users, one_line


@exits_cleanly
def main() -> None:
    prepare("evaluate")
    _hydra_main()


@hydra.main(config_path="pkg://conf", config_name="evaluate", version_base="1.3")
@exits_cleanly  # inside Hydra too, which would print a traceback
def _hydra_main(cfg: DictConfig) -> None:
    import torch

    from benchmarks.report import print_scores
    from benchmarks.runs import find_runs, read_config
    from benchmarks.scoring import (
        choose_device,
        load_data,
        load_trained,
        make_scorer,
        score_calibration,
        score_run,
        set_threads,
    )

    protocol: Any = OmegaConf.to_container(cfg.protocol, resolve=True)
    device = torch.device(choose_device(cfg.accelerator))
    found = find_runs(Path(cfg.runs))
    # a search's trials are no rows of a table, and hundreds: one is scored where it is named itself
    runs = [run for run in found if run.status == "finished" and (not run.is_trial or len(found) == 1)]
    if left := sum(run.is_trial for run in found) if len(found) > 1 else 0:
        print(f"{left} trials of searches are left alone")
    failed = 0
    for i, run in enumerate(runs, 1):
        print(f"[{i}/{len(runs)}] {run.path}", flush=True)
        try:
            config = read_config(run.path)
            set_threads(config)
            scorer = make_scorer(protocol, config, device)
            if scorer.is_done(run.path):
                print("      already scored under this protocol: nothing to do")
                continue
            data = load_data(config, cfg.data_dir)
            # runs/<datamodule>/<model>/<config id>/seed=<n>: the calibration rows lie beside the models
            score_calibration(run.path.resolve().parents[3], data, scorer)
            seconds: dict[str, float] = {}
            score_run(run.path, load_trained(run.path, device), data, scorer, seconds.__setitem__)
            print_scores(run.path, scorer.id)
            spent = ", ".join(f"{name} {s:.1f}" for name, s in seconds.items() if s >= 0.05)
            print(f"  seconds: {spent or 'none'}", flush=True)
        except Exception as error:
            if not is_users(error):
                raise
            failed += 1
            fail(one_line(error))
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
