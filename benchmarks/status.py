"""python -m benchmarks.status: how far the sweeps and the runs of a folder are, from files alone."""

import math
import time

from omegaconf import DictConfig

from benchmarks.cli import folder_of, program
from benchmarks.errors import UserError
from benchmarks.multirun.status import print_status


@program("status", needs_torch=False)
def main(cfg: DictConfig) -> None:
    runs, seconds = folder_of(cfg.runs, "runs"), cfg.watch
    if not runs.is_dir():
        raise UserError(f"{runs} is not a folder; set runs=PATH to a folder of runs")
    if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds < math.inf):
        raise UserError(f"watch is {seconds!r}; expected a number of seconds above 0, or null to look once")
    while print_status(runs) and seconds is not None:
        time.sleep(seconds)
        print()


if __name__ == "__main__":
    main()
