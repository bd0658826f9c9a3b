"""The checkpoint that a run resumes from: the resumed run is bit-identical to a run that never stopped."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from benchmarks.errors import UserError, one_line, warn
from benchmarks.records.checkpoints import previous_path, rotate, why_damaged
from benchmarks.records.checks import OTHER_DATA
from benchmarks.records.files import RecordError
from benchmarks.training.clock import Clock
from benchmarks.training.random_states import RandomState, random_state, set_random_state


class Checkpoint(Callback):
    """Saves everything that a run needs to continue as if it had never stopped: every `every_seconds`, and at the end.

    Lightning saves weights, optimisers and loops; the model saves its counts, the data module its position. This callback
    adds the random states of every process, keeps the last two checkpoints, and lists their checksums.

    Args:
        path: the path of the last checkpoint.
        clock: the clock of the run, paused while a checkpoint is written.
        every_seconds: the time between two checkpoints.
        identity: the config id and the seed of the run; a checkpoint of another run is refused.
        check_lock: raises an error if another process has taken the place of the run.
        data_id: gives the id of the data; a checkpoint of other data is refused.
        own_random_state: gives the random state of the run, which is that of the process unless runs share it.
    """

    # the checksum of the last checkpoint that this process wrote
    sha256: str | None = None
    # the shorter run that the run went on from
    extended_from: Mapping[str, Any] | None = None

    def __init__(
        self,
        path: Path,
        clock: Clock,
        every_seconds: float,
        identity: tuple[str, int] = ("", 0),
        check_lock: Callable[[], None] = lambda: None,
        data_id: Callable[[], str | None] = lambda: None,
        own_random_state: Callable[[], RandomState] = random_state,
    ) -> None:
        self.path, self.clock, self.every_seconds = path, clock, every_seconds
        self.identity, self.check_lock, self.data_id = identity, check_lock, data_id
        self.own_random_state = own_random_state
        self._saved_at = time.perf_counter()
        self._states: list[dict[str, Any]] | None = None

    @property
    def is_due(self) -> bool:
        return time.perf_counter() - self._saved_at >= self.every_seconds

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._states is not None:
            set_random_state(self._states[trainer.global_rank])
        elif trainer.global_rank > 0:
            # every process has the same seed, for equal initial weights; latents and noise must differ
            torch.manual_seed(torch.initial_seed() + trainer.global_rank * 1_000_003)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.strategy.broadcast(self.is_due):
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        with self.clock.paused():
            if trainer.is_global_zero:
                self.check_lock()
                self.sha256 = rotate(self.path, trainer.save_checkpoint)
            else:
                trainer.save_checkpoint(self.path)  # joins the gathering of states, and writes nothing
        self._saved_at = time.perf_counter()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        own = self.own_random_state()
        if trainer.world_size > 1:
            states: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, own)
        else:
            states = [own]
        checkpoint["random_states"] = states
        checkpoint["run"] = list(self.identity)
        checkpoint["data"] = self.data_id()
        if self.extended_from is not None:
            checkpoint["extended_from"] = dict(self.extended_from)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        written_by = tuple(checkpoint.get("run") or self.identity)  # older checkpoints do not say whose they are
        if written_by != self.identity:
            raise UserError(
                f"{self.path} is the checkpoint of configuration {written_by[0]} with seed {written_by[1]}, not of this run; "
                "move it away to train from the start"
            )
        if (data := checkpoint.get("data")) not in (None, self.data_id()):
            raise UserError(f"{self.path} was trained on other data ({data}, not {self.data_id()}); {OTHER_DATA}")
        self.extended_from = checkpoint.get("extended_from")
        self._states = checkpoint["random_states"]
        if len(self._states) != trainer.world_size:
            raise UserError(
                f"{self.path} is the checkpoint of {len(self._states)} processes, and {trainer.world_size} are running: "
                "use the same number, or move the file away to train from the start"
            )


def resumable(path: Path) -> Path | None:
    """The checkpoint to resume from: the last one, or the previous one if the last one is damaged; None if there is none.

    Args:
        path: the path of the last checkpoint.

    Raises:
        UserError: if every checkpoint is damaged. The message says what to do, and the files stay.
    """
    damaged: list[tuple[Path, str]] = []
    for candidate in (path, previous_path(path)):
        if not candidate.is_file():
            continue
        reason = _why_unusable(candidate)
        if reason is None:
            for file, why in damaged:
                warn(f"{file} is damaged ({why}); resuming from {candidate.name}, the checkpoint before it")
            return candidate
        damaged.append((candidate, reason))
    if damaged:
        file, why = damaged[0]
        raise UserError(f"{file} cannot be loaded ({why}); move it away to train the run from its start")
    return None


def _why_unusable(path: Path) -> str | None:
    try:
        reason = why_damaged(path)
        if reason is None:
            torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RecordError:
        raise
    except Exception as error:  # torch raises several kinds of errors for a damaged file
        return one_line(error)[:160]
    return reason
