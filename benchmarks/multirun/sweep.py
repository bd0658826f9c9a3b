"""A multirun: the number of each job, the time left, how each job ended, and the leaderboard at the end."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from benchmarks.errors import fail, one_line
from benchmarks.multirun.progress import time_left
from benchmarks.records.outcomes import FILE, Outcome, read_outcome, write_outcome
from benchmarks.records.paths import RECORD

# the sweep that this process runs: the number of its jobs, and when it started
_jobs: int | None = None
_started = 0.0


class Leaderboard(Callback):
    """Counts the jobs when a multirun starts, and builds its leaderboard when it ends."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        global _jobs, _started
        _jobs, _started = _count(config), time.monotonic()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from benchmarks.reporting.build import write_report

        folder = Path(config.hydra.sweep.dir)
        files = sorted(folder.glob(f"*/{FILE}"), key=_job_number)
        outcomes = [read_outcome(path) for path in files]
        _remove(folder, files)
        paths = [outcome.path for outcome in outcomes if (outcome.path / RECORD).is_file()]
        failed = any(outcome.status == "failed" for outcome in outcomes)
        try:
            if paths:
                out = Path(config.reports_dir) / config.sweep_name
                write_report(paths, out, title=config.sweep_name, logger=config.get("logger"))
        except Exception as error:  # Hydra would only warn, and the sweep would seem to have succeeded
            fail(f"the leaderboard could not be built: {one_line(error)}")
            failed = True
        for outcome in outcomes:
            if outcome.status != "finished":
                fail(outcome.message)
        missing = (_jobs or len(outcomes)) - len(outcomes)
        if missing:
            fail(f"{missing} of {_jobs} jobs ended without an outcome")
        if missing or failed:
            raise SystemExit(1)


def is_multirun() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def announce(label: str) -> None:
    """Prints a line as a job begins: its number, the number of jobs, its label, and the time left."""
    done = int(HydraConfig.get().job.num)
    of = f"/{_jobs}" if _jobs else ""
    left = time_left(time.monotonic() - _started, done, (_jobs or done) - done)
    print(f"[{done + 1}{of}] {label}{left}", flush=True)


def report_outcome(outcome: Outcome) -> None:
    """Prints the outcome of a job and writes it where `Leaderboard` reads it."""
    print(f"      {outcome.message}", flush=True)
    write_outcome(Path(HydraConfig.get().runtime.output_dir), outcome)


def _count(config: DictConfig) -> int | None:
    """The number of jobs of the basic sweeper; None for a sweeper that decides while it runs."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        return None
    params = config.hydra.sweeper.get("params") or {}
    words = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
    batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)
    return sum(len(batch) for batch in batches)


def _remove(folder: Path, outcomes: Sequence[Path]) -> None:
    """Removes the files of the sweep itself, and folders that are then empty: a folder that a user chose may hold more."""
    for file in [*outcomes, folder / "multirun.yaml"]:
        file.unlink(missing_ok=True)
    for emptied in [*(file.parent for file in outcomes), folder]:
        with suppress(OSError):
            emptied.rmdir()


def _job_number(path: Path) -> int:
    return int(path.parent.name) if path.parent.name.isdigit() else 0
