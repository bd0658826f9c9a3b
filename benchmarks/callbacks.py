"""What goes on around the training loop: the clock and the budget, the curve, checkpoints, and progress."""

import csv
import io
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.budget import Budget
from benchmarks.errors import UserError
from benchmarks.runs import finite_or_none, replacing, write_text
from models.game import GenerativeModel

# blocks between two looks at whether losses are still numbers: a look waits for the device
BLOCKS_BETWEEN_LOOKS = 10


class Diverged(Exception):
    """A loss or a weight is no longer a finite number."""


class Clock(Callback):
    """Seconds of training: scoring, checkpoints and pictures stop it. It goes on from where it was in a resumed run."""

    def __init__(self) -> None:
        self._before = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        return self._before + (0.0 if self._since is None else time.perf_counter() - self._since)

    @contextmanager
    def paused(self) -> Iterator[None]:
        was_running = self._since is not None
        self._stop()
        try:
            yield
        finally:
            if was_running:
                self._since = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = state_dict["seconds"]

    def _stop(self) -> None:
        if self._since is not None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self._before, self._since = self.seconds, None


class Watch(Callback):
    """Ends a run whose losses are no longer numbers, and one whose budget of seconds is spent."""

    def __init__(self, clock: Clock, budget: Budget) -> None:
        self.clock, self.budget = clock, budget

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % BLOCKS_BETWEEN_LOOKS == 0:
            self._look(trainer, pl_module)
        if self.budget.unit == "seconds":
            spent = self.clock.seconds >= self.budget.amount
            # the processes stop together or wait for each other for ever
            trainer.should_stop = trainer.strategy.reduce_boolean_decision(spent, all=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer, pl_module)
        bad = [name for name, weight in pl_module.named_parameters() if not weight.isfinite().all()]
        self._end(trainer, f"weight {bad[0]} is not finite at the end of training" if bad else None)

    def _look(self, trainer: Trainer, model: LightningModule) -> None:
        assert isinstance(model, GenerativeModel)
        bad = [(name, loss) for name, loss in model.losses().items() if not math.isfinite(loss)]
        said = [f"the {name}'s loss is {loss} after {model.images:,} images" for name, loss in bad]
        self._end(trainer, said[0] if said else None)

    def _end(self, trainer: Trainer, reason: str | None) -> None:
        """Ends every process if one of them has a reason: those that went on would wait for it for ever."""
        if trainer.strategy.reduce_boolean_decision(reason is not None, all=False):
            raise Diverged(reason or "another process diverged")


class Curve(Callback):
    """Scores the model cheaply on validation data at log-spaced points of the budget, into `curve.csv`.

    Args:
        path: of the file.
        clock: stopped meanwhile.
        budget: whose fractions 1, 1/2, 1/4, ... are the points.
        points: how many.
        score: from a model in scoring mode to values by name.
        log_row: also gets each row; after an interruption those from before it too.
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


class Checkpoint(Callback):
    """Saves everything that a run needs to go on as if it had never stopped: every so many seconds, and at the end.

    Lightning saves weights, optimisers and loops, the model its counts, the data module its position. This adds the
    random states of every process, and the atomic replacement of the file.
    """

    def __init__(self, path: Path, clock: Clock, every_seconds: float) -> None:
        self.path, self.clock, self.every_seconds = path, clock, every_seconds
        self._saved_at = time.perf_counter()
        self._states: list[dict[str, Any]] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._states is not None:
            _set_random_state(self._states[trainer.global_rank])
        elif trainer.global_rank > 0:
            # every process was seeded alike, for equal weights; latents and noise are to differ
            torch.manual_seed(torch.initial_seed() + trainer.global_rank * 1_000_003)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        due = time.perf_counter() - self._saved_at >= self.every_seconds
        if trainer.strategy.broadcast(due):
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        with self.clock.paused():
            if trainer.is_global_zero:
                with replacing(self.path) as temporary:
                    trainer.save_checkpoint(temporary)
            else:
                trainer.save_checkpoint(self.path)  # takes part in gathering, writes nothing
        self._saved_at = time.perf_counter()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        own = _random_state()
        if trainer.world_size > 1:
            states: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, own)
        else:
            states = [own]
        checkpoint["random_states"] = states

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._states = checkpoint["random_states"]
        if len(self._states) != trainer.world_size:
            raise UserError(
                f"{self.path} is of a run of {len(self._states)} processes and cannot go on with {trainer.world_size}: "
                "use as many, or move it away to begin again"
            )


class ProgressBar(Callback):
    """How far the budget is spent, how fast, and how long is left; in a terminal a bar, elsewhere nothing."""

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
    """Rows as CSV, with every column that any of them has."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _random_state() -> dict[str, Any]:
    """Of Python, numpy and torch on every device, in types that a checkpoint may hold without pickled classes."""
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [torch.from_numpy(np.asarray(keys, np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        # of the device in use: another machine may have another number of them
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def _set_random_state(state: Mapping[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
