"""python -m benchmarks.studies.soak: sweeps that are killed at random moments end as sweeps that were not.

Each family is trained, scored and reported once without a kill. Then the same command is started again and again and killed
(SIGKILL) after a random time, in training, writing a checkpoint, scoring or reporting, until it ends. What it left is compared:
weights, states of optimisers, scores, curve, pictures and steps to the bit, and the names of all files. Networks are small, a
checkpoint is written after each block, and every attempt is a process that is forked once torch is imported.
"""

import contextlib
import csv
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.records.paths import CURVE, PICTURES, RECORD, checkpoint_path
from benchmarks.studies.words import choices, study

# a few blocks, every part of the loop
WORDS = (
    *(
        "-m",
        "network=mlp_narrow",
        "budget.amount=3200",
        "datamodule.block_size=8",
        "checkpoint_seconds=0",
        "curve_points=4",
    ),
    *("trainer=cpu", "threads=1", "protocol.metrics.ais.temperatures=12", "protocol.metrics.ais.examples=4"),
    "protocol.metrics.inversion.steps=12",
)


@dataclass
class Soak:
    """The kills of one family, and what differs from the sweep that was not killed.

    Args:
        family: the model.
        kills: the number of attempts that were killed, by what the attempt was doing.
        rounds: the number of sweeps that were killed and then finished.
        differences: what differs; empty if nothing does.
    """

    family: str
    kills: dict[str, int] = field(default_factory=dict)
    rounds: int = 0
    differences: list[str] = field(default_factory=list)


@study(kills=200)
def main(kills: int) -> None:
    families = choices("model")
    seed = int.from_bytes(os.urandom(4))
    print(f"{kills} kills, moments drawn with seed {seed}", flush=True)
    draw = random.Random(seed)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for i, family in enumerate(families):
            share = kills * (i + 1) // len(families) - kills * i // len(families)
            soak = run_soak(family, share, draw, Path(folder) / family)
            moments = ", ".join(f"{count} in {moment}" for moment, count in sorted(soak.kills.items()))
            result = "; ".join(soak.differences) or "all equal, nothing left over"
            print(
                f"{family:<8} {sum(soak.kills.values()):>4} kills ({moments}), {soak.rounds} sweeps: {result}",
                flush=True,
            )
            found += soak.differences
    if found:
        raise SystemExit(1)


def run_soak(family: str, kills: int, draw: random.Random, folder: Path) -> Soak:
    """Kills sweeps of a family until `kills` attempts were killed, and compares each sweep with one that was not killed."""
    soak = Soak(family)
    whole, cut = folder / "whole", folder / "cut"
    started = time.monotonic()
    if (status := _attempt(family, whole, None)[0]) != 0:
        raise RuntimeError(f"the sweep of {family} ended with status {status}: {(whole / 'output.txt').read_text()}")
    duration = time.monotonic() - started
    while sum(soak.kills.values()) < kills:
        left = kills - sum(soak.kills.values())
        # the last attempt of a sweep is not killed
        for attempt in itertools.count():
            after = draw.uniform(0, duration) if attempt < left else None
            status, moment = _attempt(family, cut, after)
            if status != -signal.SIGKILL:
                break
            soak.kills[moment] = soak.kills.get(moment, 0) + 1
        soak.rounds += 1
        if status != 0:
            soak.differences.append(f"status {status}: {(cut / 'output.txt').read_text().strip().splitlines()[-1]}")
        else:
            soak.differences += differences(whole, cut)
        shutil.rmtree(cut)
    return soak


def differences(whole: Path, cut: Path) -> list[str]:
    """What differs between what two sweeps of the same command left."""
    names = [{str(path.relative_to(root)) for path in _left_by(root)} for root in (whole, cut)]
    found = [f"{name} is missing" for name in sorted(names[0] - names[1])]
    found += [f"{name} is left over" for name in sorted(names[1] - names[0])]
    for name in sorted(names[0] & names[1]):
        a, b = (_content(root / name) for root in (whole, cut))
        found += [] if _is_equal(a, b) else [f"{name} differs"]
    return found


def _attempt(family: str, folder: Path, kill_after: float | None) -> tuple[int, str]:
    """Runs the sweep in a forked process. Returns its exit status (-9 if killed), and what it was doing when it was killed."""
    folder.mkdir(parents=True, exist_ok=True)
    train = import_module("benchmarks.train")
    import_module("benchmarks.training.run")
    import_module("benchmarks.reporting.build")
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        status = 70
        try:
            os.chdir(folder)
            os.environ["GENBENCH_CACHE"] = str(folder / "cache")
            with (
                open("output.txt", "a") as output,
                contextlib.redirect_stdout(output),
                contextlib.redirect_stderr(output),
            ):
                sys.argv = ["benchmarks/train.py", *WORDS, f"model={family}"]
                try:
                    train.main()
                    status = 0
                except SystemExit as ended:
                    status = int(ended.code or 0)
        finally:
            os._exit(status)
    deadline = None if kill_after is None else time.monotonic() + kill_after
    while True:
        waited_for, code = os.waitpid(process, os.WNOHANG)
        if waited_for:
            return os.waitstatus_to_exitcode(code), ""
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(process, signal.SIGKILL)
            _, code = os.waitpid(process, 0)
            return os.waitstatus_to_exitcode(code), _moment(folder)
        time.sleep(0.001)


def _moment(folder: Path) -> str:
    """What a killed attempt was doing, by what it left."""
    runs = list(folder.glob("runs/digits/*/*/seed=*"))
    if not runs:
        return "starting"
    if list(runs[0].glob("checkpoints/.*")):
        return "checkpointing"
    if not (runs[0] / RECORD).is_file():
        return "training"
    return "reporting" if list(runs[0].glob("scores/*.json")) else "scoring"


def _left_by(root: Path) -> Iterator[Path]:
    """Every file that a sweep left, but for what this study writes."""
    return (path for path in root.rglob("*") if path.is_file() and path != root / "output.txt")


def _content(path: Path) -> Any:
    """What two sweeps must have in common of a file; None for files that hold times, costs or checksums of them."""
    if path.name == checkpoint_path(Path()).name:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "random_states", "run")}
    if path.name == CURVE:
        rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    if path.name == RECORD:
        record = json.loads(path.read_text(encoding="utf-8"))
        return [record[key] for key in ("status", "steps", "config_id", "data")] + [record["spent"]["images"]]
    if path.parent.name == "scores" or path.name in (*PICTURES.values(), "config.yaml"):
        return path.read_bytes()
    return None


def _is_equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_is_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_is_equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


if __name__ == "__main__":
    main()
