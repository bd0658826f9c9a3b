"""What a run does when a signal asks the process to end: it saves a checkpoint first."""

import signal
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from benchmarks.errors import one_line
from benchmarks.signals import ENDING, Handler, Interrupted, handlers, raise_interrupted
from models.game import GenerativeModel


class Interruption(Callback):
    """Saves a checkpoint at the end of the block in which a signal came, and then ends the run.

    The handler from before the training gets the signal after the checkpoint: submitit's queues the job again. If that handler
    returns, the training goes on. A second Ctrl-C does not wait for the end of the block.

    Args:
        save: writes a checkpoint.
        command: the command that resumes the run.
    """

    def __init__(self, save: Callable[[Trainer], None], command: str) -> None:
        self.save, self.command = save, command
        # read now, because Lightning installs handlers of its own when the training starts; SIGUSR2 is submitit's
        known = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGUSR2)}
        self._before: dict[int, Handler] = {number: old for number, old in known.items() if callable(old)}
        self._received: int | None = None
        self._installed = ExitStack()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._installed.enter_context(handlers(dict.fromkeys(self._before, self._receive)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # a signal may reach one of several processes only
        if not trainer.strategy.reduce_boolean_decision(self._received is not None, all=False):
            return
        self.save(trainer)  # if this fails, `deliver` hands the signal over
        number, self._received = self._received or signal.SIGTERM, None
        before = self._before.get(number, raise_interrupted)
        if before is raise_interrupted:
            assert isinstance(pl_module, GenerativeModel)
            saved = f"the run is saved after {pl_module.images:,} images"
            raise Interrupted(number, f"{saved}; run the same command again, or resume this run alone: {self.command}")
        before(number, None)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._installed.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._installed.close()

    def deliver(self, error: Exception | None = None) -> None:
        """After the training, hands over a signal that came too late for a checkpoint of its own.

        Args:
            error: the error that ended the training: a checkpoint that could not be written, for example.

        Raises:
            Interrupted: for such a signal; without it the other jobs of a sweep would go on.
        """
        number, self._received = self._received, None
        if number is None:
            return
        before = self._before.get(number, raise_interrupted)
        if error is None:
            before(number, None)
        elif before is raise_interrupted:
            advice = f"the training ended with an error ({one_line(error)}); run the same command again"
            raise Interrupted(number, advice) from error

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._received == signal.SIGINT:
            raise Interrupted(number)
        self._received = number
