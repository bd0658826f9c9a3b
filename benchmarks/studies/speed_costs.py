"""The steps that measure what a run costs beside its turns, and how costs grow."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from benchmarks.records.checkpoints import previous_path
from benchmarks.records.paths import checkpoint_path
from benchmarks.scoring.restore import load_data, load_model
from benchmarks.scoring.scorer import make_scorer
from benchmarks.studies.ledger import Step, Tables
from benchmarks.studies.loops import silent_trainer, times
from benchmarks.studies.place import CHEAP, TINY, Place, Target
from benchmarks.studies.speed_loops import compare, configured
from benchmarks.training.checkpoint import Checkpoint
from benchmarks.training.clock import Clock
from benchmarks.training.configure import configure_words
from benchmarks.training.speed import clock, sampling_speed

# a run of one minibatch, with a checkpoint after it
_ONE_STEP = ("budget.amount=1", "checkpoint_seconds=0", "curve_points=0")
BATCHES, SIZES, JOBS = (16, 64, 256), (1_000, 10_000, 60_000), (1, 4, 8)


def start(place: Place, targets: Sequence[Target]) -> list[Step]:
    """From the command to the end of the first training step, in a process of its own, and from a job of a sweep to the next."""
    chosen = [t for t in targets if t.model in (targets[0].model, targets[-1].model)]
    return [_step("start", t, 40.0, partial(_start, place, t)) for t in chosen]


def costs(place: Place, targets: Sequence[Target]) -> list[Step]:
    """A checkpoint, a point of the curve, samples."""
    return [_step("costs", t, 6.0, partial(_costs, place, t)) for t in targets]


def growth(place: Place, targets: Sequence[Target]) -> list[Step]:
    """Speed over batch sizes and over sizes of the data, for the first network; the cost of a sweep over its jobs."""
    first = [t for t in targets if t.network == targets[0].network]
    return [
        *(_step("growth with the batch", t, 15.0, partial(_batches, place, t)) for t in first),
        *(_step("growth with the data", t, 15.0, partial(_sizes, place, t)) for t in first[:1]),
        *(_step("growth with the jobs", t, 60.0, partial(_jobs, place, t.model)) for t in first[:1]),
    ]


def _step(kind: str, target: Target, seconds: float, work: Any) -> Step:
    name = f"{kind} {target.network} {target.model} {torch.get_num_threads()}".replace(" ", "-")
    return Step(name, f"{kind} {target.network}", seconds, work)


def _start(place: Place, target: Target) -> Tables:
    """Medians of three. The first checkpoint follows the first step at once, and ends the process."""
    measured = []
    for _ in range(1 if place.is_tiny else 3):
        with tempfile.TemporaryDirectory() as folder:
            measured.append(_first_step([*place.words(*place.images(), *target.words, place.trainer)], Path(folder)))
    seconds, processor, memory = (statistics.median(values) for values in zip(*measured, strict=True))
    row = {"seconds": seconds, "of the processor": processor, "peak memory, MiB": memory}
    row["next job, s"] = statistics.median(_next_jobs(place, target, 2 if place.is_tiny else 5))
    return {"From the command to the first training step": [{**target.row, **row}]}


def _next_jobs(place: Place, target: Target, jobs: int) -> list[float]:
    """Seconds from the last file of a job of a sweep to the first checkpoint of the next one, in one process."""
    seeds = ",".join(map(str, range(jobs)))
    words = ["launcher=local", *place.words(*target.words, *place.images(), *CHEAP, place.trainer), *_ONE_STEP]
    with tempfile.TemporaryDirectory() as folder:
        folders = [f"runs_dir={folder}/runs", f"reports_dir={folder}/reports"]
        _sweep([*words, f"model={target.model}", f"seed={seeds}", f"threads={torch.get_num_threads()}", *folders])
        runs = [next(Path(folder, "runs").glob(f"*/*/*/seed={seed}")) for seed in range(jobs)]
        ended = [max(sheet.stat().st_mtime for sheet in run.glob("scores/*.json")) for run in runs]
        # the second checkpoint of a run is that of its end
        began = [previous_path(checkpoint_path(run)).stat().st_mtime for run in runs]
    return [start - end for end, start in zip(ended, began[1:], strict=False)]


def _sweep(words: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.train", "-m", *words], check=True, capture_output=True)


def _first_step(words: Sequence[str], folder: Path) -> tuple[float, float, float]:
    """Seconds, processor seconds and the peak of memory in MiB of a training process until its first step is done."""
    words = [*words, *_ONE_STEP, f"threads={torch.get_num_threads()}", f"runs_dir={folder}"]
    path, errors = checkpoint_path(configure_words(words).path), folder / "errors"
    began = time.time()
    with errors.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.train", *words], stdout=file, stderr=file)
    while not path.exists():
        if process.poll() is not None:
            raise RuntimeError(f"the training ended before its first step: {errors.read_text()[-200:]}")
        time.sleep(0.01)
    process.kill()
    _, _, usage = os.wait4(process.pid, 0)
    return path.stat().st_mtime - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _MAXRSS / 2**20


# Linux counts kibibytes, macOS bytes
_MAXRSS = 1 if sys.platform == "darwin" else 1024


class Saves(pl.Callback):
    """Saves a checkpoint some times after the first block, and stops training."""

    def __init__(self, checkpoint: Checkpoint, rounds: int) -> None:
        self.checkpoint, self.rounds = checkpoint, rounds
        self.seconds: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        for _ in range(self.rounds):
            began = time.perf_counter()  # a disk is waited for, and the processor does not count it
            self.checkpoint.save(trainer)
            self.seconds.append(time.perf_counter() - began)
        trainer.should_stop = True


def _costs(place: Place, target: Target) -> Tables:
    config = configured(place, target)
    model, data, rounds = load_model(config.parts.model), load_data(config.parts.datamodule), 1 if place.is_tiny else 5
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "last.ckpt")
        saves = Saves(Checkpoint(path, Clock(), 1e9), rounds)
        trainer = silent_trainer("cpu", [saves, saves.checkpoint], epochs=1)
        data.plan(0, 1)
        trainer.fit(model, datamodule=data)
        size = path.stat().st_size
    scorer = make_scorer({**config.parts.curve, "encoder": "auto"}, config.feature_encoder, torch.device("cpu"))
    points = []
    with model.scoring():
        for _ in range(1 + rounds):  # the first one computes the features of the data
            began = clock()
            scorer.score(model, data)
            points.append(clock() - began)
    row = {
        "checkpoint, ms": 1e3 * statistics.median(saves.seconds),
        "checkpoint, MiB": size / 2**20,
        "point of the curve, s": statistics.median(points[1:]),
        "first point, s": points[0],
        "samples/s": sampling_speed(model, seconds=0.3, clock=clock),
    }
    return {"Costs beside training": [{**target.row, **row}]}


def _batches(place: Place, target: Target) -> Tables:
    rows = []
    for size in (8,) if place.is_tiny else BATCHES:
        speeds = compare(place, configured(place, target, f"datamodule.batch_size={size}"), ["eager", "bare eager"])
        row = {"batch": size, "images/s": statistics.median(speeds["eager"])}
        rows.append({**target.row, **row, "times bare eager": times(speeds, "eager", "bare eager")})
    return {"Growth with the batch": rows}


def _sizes(place: Place, target: Target) -> Tables:
    rows = []
    for size in (100,) if place.is_tiny else SIZES:
        noise = ("datamodule=noise", "shape=[1,28,28]", f"datamodule.size={size}")
        config = configure_words([*target.words, place.trainer, *noise])
        speeds = compare(place, config, ["eager", "bare eager"])
        row = {"training images": size, "images/s": statistics.median(speeds["eager"])}
        rows.append({**target.row, **row, "times bare eager": times(speeds, "eager", "bare eager")})
    return {"Growth with the data": rows}


def _jobs(place: Place, model: str) -> Tables:
    """Sweeps of tiny runs in one process each: what a further job costs beside its training."""
    rows = []
    for jobs in (1,) if place.is_tiny else JOBS:
        with tempfile.TemporaryDirectory() as folder:
            seeds = ",".join(map(str, range(jobs)))
            words = [f"model={model}", f"seed={seeds}", *TINY, "trainer=cpu", f"runs_dir={folder}/runs"]
            words += [f"reports_dir={folder}/reports", f"threads={torch.get_num_threads()}"]
            began, before = time.perf_counter(), _children()
            _sweep(words)
            row = {"model": model, "jobs": jobs, "seconds": time.perf_counter() - began}
            rows.append({**row, "of the processor": _children() - before})
    return {"Growth with the jobs of a sweep": rows}


def _children() -> float:
    """Processor seconds of the processes that this process has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
