"""python -m benchmarks.replay: trains runs again from their records alone, and compares every score."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from benchmarks.cli import folder_of, package_list, program
from benchmarks.errors import UserError, fail, is_users, one_line
from benchmarks.external.words import KINDS, paths_of
from benchmarks.records.publishing import check_published
from benchmarks.records.roots import find_all, folders_of
from benchmarks.reporting.terminal import report_bad_record


@program("replay")
def main(cfg: DictConfig) -> None:
    from benchmarks.multirun.replay import replay
    from benchmarks.multirun.rescore import score_again

    trust = [] if cfg.trust is True else package_list(cfg.trust)
    out = folder_of(cfg.out, "out")
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    files = tuple((kind, path) for kind in KINDS if config[kind] is not None for path in paths_of(config[kind], kind))
    folders = folders_of(cfg.runs)
    for folder in folders:
        check_published(folder)
    runs_below = find_all(folders, report_bad_record)
    runs = [run for run in runs_below if run.status == "finished" and run.sheets]
    if not runs:
        raise UserError(
            f"{cfg.runs} holds no run that is finished and scored; set runs=PATH to one or to a folder of them"
        )
    failed = 0
    for i, run in enumerate(runs, 1):
        print(f"[{i}/{len(runs)}] {run.path}", flush=True)
        try:
            if run.is_external:
                failed += not score_again(
                    run, files, cfg.data_dir, cfg.accelerator, trust, cfg.folder, cfg.trust is True
                )
                continue
            failed += not replay(run, out, cfg.data_dir, cfg.accelerator, trust, len(runs), cfg.folder)
        except Exception as error:  # the other runs can still be replayed
            failed += 1
            fail(one_line(error) if is_users(error) else f"{type(error).__name__}: {one_line(error)}")
    if failed:
        fail(f"{failed} of {len(runs)} runs were not reproduced")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
