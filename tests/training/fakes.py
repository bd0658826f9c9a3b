"""What the tests of training share: a trainer without output and files, and a training process that gets a signal."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytorch_lightning as pl

from benchmarks.training.callbacks import Watch
from tests.conftest import ROOT, Result


def trainer_in(folder: Path, **options: Any) -> pl.Trainer:
    """One epoch on the CPU."""
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=str(folder),
        **options,
    )


def train_until(is_time: Callable[[], bool], number: int, *words: str, cwd: Path) -> Result:
    """`python -m benchmarks.train words...` as a process that gets a signal once it is time."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.train", *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not is_time() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=200)
    finally:
        process.kill()
    return Result(process.returncode, out, err)


@contextmanager
def interrupted_at(block: int) -> Iterator[None]:
    """A signal reaches each training in this block of minibatches."""
    look = Watch.on_train_batch_end

    def interrupt(self: Watch, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        look(self, trainer, model, outputs, batch, batch_idx)
        if batch_idx == block:
            signal.raise_signal(signal.SIGTERM)

    with mock.patch.object(Watch, "on_train_batch_end", interrupt):
        yield
