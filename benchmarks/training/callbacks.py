"""Callbacks around the training loop: divergence and the budget of seconds, the curve, the progress bar."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.records.files import finite_or_none, write_text
from benchmarks.training.budget import Budget
from benchmarks.training.clock import Clock
from models.game import GenerativeModel

# blocks between two checks of the losses; a check waits for the device
BLOCKS_BETWEEN_LOOKS = 10


class Diverged(Exception):
    """A loss or a weight is no longer a finite number."""


class Watch(Callback):
    """Ends a run when its losses are no longer finite, and a run whose budget of seconds is spent."""

    def __init__(self, clock: Clock, budget: Budget) -> None:
        self.clock, self.budget = clock, budget

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % BLOCKS_BETWEEN_LOOKS == 0:
            self._look(trainer, pl_module)
        if self.budget.unit == "seconds":
            spent = self.clock.seconds >= self.budget.amount
            # every process stops at the same step; otherwise the processes wait for each other for ever
            trainer.should_stop = trainer.strategy.reduce_boolean_decision(spent, all=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer, pl_module)
        bad = [name for name, weight in pl_module.named_parameters() if not weight.isfinite().all()]
        self._end(trainer, f"weight {bad[0]} is not finite at the end of training" if bad else None)

    def _look(self, trainer: Trainer, model: LightningModule) -> None:
        assert isinstance(model, GenerativeModel)
        bad = [(name, loss) for name, loss in model.losses().items() if not math.isfinite(loss)]
        reasons = [f"the {name}'s loss is {loss} after {model.images:,} images" for name, loss in bad]
        self._end(trainer, reasons[0] if reasons else None)

    def _end(self, trainer: Trainer, reason: str | None) -> None:
        """Ends every process if one of them has a reason: a process that went on would wait for the others for ever."""
        if trainer.strategy.reduce_boolean_decision(reason is not None, all=False):
            raise Diverged(reason or "another process diverged")


class Phases(Callback):
    """Tells the model which share of the budget is spent, for players that play in a phase of the budget.

    Seconds are read once a block, on one process: every process must see the same players play.
    """

    def __init__(self, clock: Clock, budget: Budget) -> None:
        self.clock, self.budget = clock, budget

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(pl_module, GenerativeModel)
        seconds = self.clock.seconds
        if self.budget.unit == "seconds":
            seconds = trainer.strategy.broadcast(seconds)
        pl_module.spent = partial(self.budget.fraction, pl_module, seconds)


class Curve(Callback):
    """Scores the model cheaply on validation data at log-spaced points of the budget, into `curve.csv`.

    Args:
        path: the path of the file.
        clock: the clock of the run, paused while the model is scored.
        budget: the budget of the run; the points are 1, 1/2, 1/4, ... of the budget.
        points: the number of points.
        score: the function from a model in scoring mode to values by name.
        log_row: the function to call with each row; after an interruption, also with the rows from before the interruption.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        budget: Budget,
        points: int,
        score: Callable[[GenerativeModel], Mapping[str, float | None]],
        log_row: Callable[[Mapping[str, float | None]], None],
    ) -> None:
        self.path, self.clock, self.budget, self.score, self.log_row = path, clock, budget, score, log_row
        self.fractions = [2.0**-i for i in reversed(range(points))]
        self.rows: list[dict[str, float | None]] = []
        self._next = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._next == len(self.fractions):
            return
        assert isinstance(pl_module, GenerativeModel)
        spent = self.budget.fraction(pl_module, self.clock.seconds)
        spent = trainer.strategy.broadcast(spent)
        if spent < self.fractions[self._next]:
            return
        while self._next < len(self.fractions) and spent >= self.fractions[self._next]:
            self._next += 1
        with self.clock.paused():
            row: dict[str, float | None] = {
                "images": pl_module.images,
                "seconds": round(self.clock.seconds, 3),
                "updates": pl_module.updates,
            }
            row |= {f"loss_{name}": finite_or_none(value) for name, value in pl_module.losses().items()}
            pl_module.forget_losses()
            with pl_module.scoring():
                row |= self.score(pl_module)
            self.rows.append(row)
            if trainer.is_global_zero:
                write_text(self.path, to_csv(self.rows))
            self.log_row(row)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "next": self._next}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self._next = state_dict["rows"], state_dict["next"]
        for row in self.rows:
            self.log_row(row)


class ProgressBar(Callback):
    """Shows in a terminal the share of the budget that is spent, the speed, and the time left. Shows nothing elsewhere."""

    def __init__(self, label: str, clock: Clock, budget: Budget) -> None:
        self.label, self.clock, self.budget = label, clock, budget
        self._progress: Progress | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        console = Console(stderr=True)
        if not (trainer.is_global_zero and console.is_terminal):
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
        self._progress = Progress(
            *columns, TextColumn("{task.fields[speed]}"), TimeRemainingColumn(), console=console, transient=True
        )
        self._task = self._progress.add_task(self.label, total=1.0, speed="")
        self._progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._progress is not None:
            assert isinstance(pl_module, GenerativeModel)
            seconds = self.clock.seconds
            self._progress.update(
                self._task,
                completed=self.budget.fraction(pl_module, seconds),
                speed=f"{pl_module.images / max(seconds, 1e-9):,.0f} images/s",
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def to_csv(rows: Sequence[Mapping[str, float | None]]) -> str:
    """Rows as CSV, with every column that any row has."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
