"""python -m benchmarks.replay: trains runs again from their records alone, and compares every score."""

from pathlib import Path

from omegaconf import DictConfig

from benchmarks.cli import package_list, program
from benchmarks.errors import UserError, fail, is_users, one_line
from benchmarks.records.roots import find_all, folders_of
from benchmarks.reporting.terminal import report_bad_record


@program("replay")
def main(cfg: DictConfig) -> None:
    from benchmarks.multirun.replay import replay

    trust = package_list(cfg.trust)
    runs_below = find_all(folders_of(cfg.runs), report_bad_record)
    runs = [run for run in runs_below if run.status == "finished" and run.sheets]
    if not runs:
        raise UserError(
            f"{cfg.runs} holds no run that is finished and scored; set runs=PATH to one or to a folder of them"
        )
    failed = 0
    for i, run in enumerate(runs, 1):
        print(f"[{i}/{len(runs)}] {run.path}", flush=True)
        try:
            failed += not replay(run, Path(cfg.out), cfg.data_dir, cfg.accelerator, trust, len(runs), cfg.folder)
        except Exception as error:  # the other runs can still be replayed
            failed += 1
            fail(one_line(error) if is_users(error) else f"{type(error).__name__}: {one_line(error)}")
    if failed:
        fail(f"{failed} of {len(runs)} runs were not reproduced")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
