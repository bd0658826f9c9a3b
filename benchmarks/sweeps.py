"""A multirun: which job of how many, how long is left, what became of each, and the leaderboard at its end."""

import json
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

_OUTCOME = "outcome.json"

# what `announce` knows of the sweep that this process runs
_jobs: int | None = None
_started = 0.0


class Leaderboard(Callback):
    """Counts the jobs when a multirun starts, and builds its leaderboard when it ends."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        global _jobs, _started
        _jobs, _started = _count(config), time.monotonic()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from benchmarks.report import build

        folder = Path(config.hydra.sweep.dir)
        files = sorted(folder.glob(f"*/{_OUTCOME}"), key=_job_number)
        outcomes = [json.loads(path.read_text()) for path in files]
        _remove(folder, files)
        paths = [Path(o["path"]) for o in outcomes if (Path(o["path"]) / "run.json").is_file()]
        failed = any(o["status"] == "failed" for o in outcomes)
        try:
            if paths:
                out = Path(config.reports_dir) / config.sweep_name
                build(paths, out, title=config.sweep_name, logger=config.get("logger"))
        except Exception as error:  # Hydra would turn it into a warning, and the sweep would seem to have gone well
            fail(f"the leaderboard could not be built: {one_line(error)}")
            failed = True
        for outcome in outcomes:
            if outcome["status"] != "finished":
                fail(outcome["message"])
        missing = (_jobs or len(outcomes)) - len(outcomes)
        if missing:
            fail(f"{missing} of {_jobs} jobs ended without a word")
        if missing or failed:
            raise SystemExit(1)


def is_multirun() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def announce(label: str) -> None:
    """One line as a job begins: its number, how many there are, and how long the rest will take at this pace."""
    done = int(HydraConfig.get().job.num)
    of = f"/{_jobs}" if _jobs else ""
    left = ""
    if _jobs and done:
        seconds = (time.monotonic() - _started) / done * (_jobs - done)
        left = f" · about {seconds // 60:.0f} min {seconds % 60:02.0f} s left"
    print(f"[{done + 1}{of}] {label}{left}", flush=True)


def report_outcome(outcome: Any) -> None:
    """Leaves what became of a job where the end of the sweep finds it, whichever process ran it."""
    print(f"      {outcome.message}", flush=True)
    folder = Path(HydraConfig.get().runtime.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"path": str(outcome.path), "status": outcome.status, "message": outcome.message})
    (folder / _OUTCOME).write_text(text)


def _count(config: DictConfig) -> int | None:
    """How many jobs the basic sweeper will run; None for a sweeper that decides as it goes."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        return None
    params = config.hydra.sweeper.get("params") or {}
    words = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
    batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)
    return sum(len(batch) for batch in batches)


def _remove(folder: Path, outcomes: Sequence[Path]) -> None:
    """What the sweep itself left, and folders that then are empty: one that a user chose may hold anything."""
    for file in [*outcomes, folder / "multirun.yaml"]:
        file.unlink(missing_ok=True)
    for left in [*(file.parent for file in outcomes), folder]:
        with suppress(OSError):
            left.rmdir()


def _job_number(path: Path) -> int:
    return int(path.parent.name) if path.parent.name.isdigit() else 0
