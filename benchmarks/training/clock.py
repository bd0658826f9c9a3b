"""The clock of a run: seconds of training, without scoring and checkpoints, and how many runs shared them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from benchmarks.training.neighbours import Others


class Clock(Callback):
    """Counts seconds of training, and the processor seconds of other programs meanwhile.

    Scoring, checkpoints and pictures pause the clock; a resumed run continues the count.
    """

    # the runs that were trained together in these seconds, at most
    runs = 1

    def __init__(self) -> None:
        self.others = Others()
        self._before = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        return self._before + (0.0 if self._since is None else time.perf_counter() - self._since)

    @property
    def neighbours(self) -> float | None:
        """The processors that other programs kept busy on average; None where the system does not tell."""
        others = self.others.seconds
        return None if others is None or not self.seconds else others / self.seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        was_running = self._since is not None
        self._stop()
        try:
            yield
        finally:
            if was_running:
                self._start()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "others": self.others.seconds, "runs": self.runs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = state_dict["seconds"]
        self.others.seconds = state_dict.get("others")  # checkpoints of earlier versions do not say
        self.runs = max(self.runs, state_dict.get("runs", 1))

    def _start(self) -> None:
        self._since = time.perf_counter()
        self.others.start()

    def _stop(self) -> None:
        if self._since is not None:
            if torch.cuda.is_initialized():  # a run on the CPU does not wake a GPU up
                torch.cuda.synchronize()
            self._before, self._since = self.seconds, None
            self.others.stop()
