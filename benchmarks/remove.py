"""python -m benchmarks.remove: moves runs out of a folder of runs, or deletes them."""

from pathlib import Path

from omegaconf import DictConfig

from benchmarks.cli import program
from benchmarks.errors import UserError, fail, one_line, printable
from benchmarks.records.checks import placed
from benchmarks.records.files import RecordError
from benchmarks.records.removal import delete, move, place_of, unfinished_below
from benchmarks.records.roots import folders_of, runs_below
from benchmarks.reporting.filters import Only
from benchmarks.reporting.terminal import report_bad_record


@program("remove", needs_torch=False)
def main(cfg: DictConfig) -> None:
    if cfg.runs is None:
        raise UserError("runs is needed, as in runs=runs/digits/gan/4c8104c8")
    for key in ("delete", "dry_run"):
        if not isinstance(cfg[key], bool):
            raise UserError(f"{key} is {cfg[key]!r}; expected true or false")
    if not isinstance(cfg.to, str) or not cfg.to:
        raise UserError(f"to is {cfg.to!r}; expected a folder, as in to=removed")
    target = Path(cfg.to)
    folders = folders_of(cfg.runs)
    unfinished = unfinished_below(folders, report_bad_record)
    found = list(unfinished)
    try:
        found += runs_below(folders, report_bad_record)
    except RecordError:
        if not unfinished:
            raise
    runs, _ = Only.of(cfg.only, cfg.without).select(found, [])
    what = "deleted" if cfg.delete else f"moved to {printable(str(target))}"
    done = failed = 0
    for run in runs:
        try:
            placed(run)
            if not cfg.dry_run and cfg.delete:
                delete(run.path)
            elif not cfg.dry_run:
                move(run.path, target)
        except RecordError as error:  # the other runs can still be removed
            fail(f"{one_line(error)} (not removed)")
            failed += 1
            continue
        done += 1
        print(printable(f"{run.path}: {'would be ' * cfg.dry_run}{what}"), flush=True)
    counts = f"{done} {'run' if done == 1 else 'runs'} {'would be ' * cfg.dry_run}{what}; {len(found) - len(runs)} kept"
    print(counts + (f"; {failed} not removed" if failed else ""))
    if done and not cfg.delete and not cfg.dry_run:
        if any(run not in unfinished for run in runs):
            home = printable(str(place_of(runs[0].path)[0]))
            print(
                f"python -m benchmarks.merge from={printable(str(target))} to={home} checkpoints=true brings them back"
            )
        if any(run in unfinished for run in runs):
            print("runs that were interrupted come back by hand: move their folders")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
