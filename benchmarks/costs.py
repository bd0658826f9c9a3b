"""python -m benchmarks.costs: measures the speeds of runs in turns, so that costs of rows can be compared."""

import math

from omegaconf import DictConfig

from benchmarks.cli import package_list, program
from benchmarks.errors import UserError, fail, is_users, one_line
from benchmarks.records.costs import write_costs
from benchmarks.records.roots import folders_of, runs_below
from benchmarks.reporting.filters import Only
from benchmarks.reporting.terminal import report_bad_record


@program("costs", needs_torch=False)
def main(cfg: DictConfig) -> None:
    seconds = cfg.seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise UserError(f"seconds is {seconds!r}; expected a number above 0, as in seconds=1")
    trust = package_list(cfg.trust)
    found = runs_below(folders_of(cfg.runs), report_bad_record)
    chosen, _ = Only.of(cfg.only, cfg.without).select(found, [])
    runs = [run for run in chosen if run.status == "finished" and not run.is_external and not run.is_trial]
    if not runs:
        raise UserError(
            f"{cfg.runs} holds no finished run that genbench trained; set runs=PATH to one or to a folder of them"
        )
    # after the words are read: importing torch takes seconds
    from benchmarks.multirun.costs import Meter, in_turns

    meter, measured, failed = Meter(seconds, cfg.data_dir, cfg.folder, trust), [], 0
    for i, run in enumerate(in_turns(runs), 1):
        print(f"[{i}/{len(runs)}] {run.path}", flush=True)
        try:
            costs = meter.measure(run)
            measured.append((run, costs))
            print(
                f"      {costs['images_per_second']:,.0f} images/s in training, "
                f"{costs['sampling_images_per_second']:,.0f} samples/s",
                flush=True,
            )
        except Exception as error:  # the other runs can still be measured
            failed += 1
            fail(one_line(error) if is_users(error) else f"{run.path}: {type(error).__name__}: {one_line(error)}")
    for run, costs in measured:  # at the end: a measurement that was interrupted leaves the one before it whole
        write_costs(run.path, costs)
    print(f"{len(measured)} runs measured in turns ({meter.id}); python -m benchmarks.report shows their costs")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
