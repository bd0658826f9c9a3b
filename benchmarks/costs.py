"""python -m benchmarks.costs: measures the speeds of runs in turns, so that costs of rows can be compared."""

import math
import os

from omegaconf import DictConfig

from benchmarks.cli import package_list, program
from benchmarks.errors import UserError, fail, is_users, one_line
from benchmarks.records.checks import check_place
from benchmarks.records.costs import write_costs
from benchmarks.records.files import RecordError
from benchmarks.records.publishing import RUNS, published_above
from benchmarks.records.roots import folders_of, runs_below
from benchmarks.records.runs import Run
from benchmarks.reporting.filters import Only
from benchmarks.reporting.terminal import report_bad_record
from benchmarks.signals import Interrupted


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
    refused = {run.path: line for run in runs if (line := _why_not(run)) is not None}
    for line in refused.values():  # before hours of measuring
        fail(f"{line} (not measured)")
    runs = [run for run in runs if run.path not in refused]
    if not runs:
        raise SystemExit(1)
    # after the words are read: importing torch takes seconds
    from benchmarks.multirun.costs import Meter, in_turns

    meter, measured, failed = Meter(seconds, cfg.data_dir, cfg.folder, trust), [], len(refused)
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
        except Interrupted as interrupted:
            advice = "nothing was written; the same command measures all runs from the start"
            raise Interrupted(interrupted.number, advice) from None
    written = 0
    for run, costs in measured:  # at the end: a measurement that was interrupted leaves the one before it whole
        try:
            write_costs(run.path, costs)
            written += 1
        except OSError as error:  # the others can still be written
            failed += 1
            fail(one_line(error))
    print(f"{written} runs measured in turns ({meter.id}); python -m benchmarks.report shows their costs")
    if failed:
        raise SystemExit(1)


def _why_not(run: Run) -> str | None:
    """Why nothing is written into the folder of a run; None if it can be."""
    try:
        check_place(run)
    except RecordError as error:
        return one_line(error)
    if (root := published_above(run.path)) is not None:
        return (
            f"{run.path} lies in the published folder {root}, whose checksums would no longer agree; measure a copy: "
            f"python -m benchmarks.merge from={root / RUNS} to=FOLDER"
        )
    return (
        None if os.access(run.path, os.W_OK) else f"{run.path} cannot be written; choose a folder that can be written"
    )


if __name__ == "__main__":
    main()
