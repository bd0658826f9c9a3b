"""The speed of training and of sampling, measured for its own sake: a new model trains for some seconds after a warm-up."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks.scoring.restore import load_model
from benchmarks.training.configure import RunConfig
from benchmarks.training.fit import make_trainer, make_turns
from datamodules.base import DataModule
from models.game import GenerativeModel, Player

# minibatches before a measurement on a GPU: warm-ups, captures, compilations; and on a CPU
WARM = {"cuda": 60, "cpu": 5}
# rounds of all players before a measurement: a GPU captures the fourth turn of a player, and a CPU compiles the first one
WARM_ROUNDS = {"cuda": 4, "cpu": 1}
# minibatches; the end of a longer round is not waited for
LONGEST_ROUND = 100
# of a measurement; a window has at least one block of minibatches
WINDOWS = 10
# times the seconds of a measurement, after which it ends inside a round of players
MOST = 10
# a batch of samples that takes more seconds is not made larger: 256 samples of 1,000 evaluations each take minutes
SLOW = 10.0


def clock() -> float:
    """Seconds: of the processor where one thread does all work, so that programs beside a measurement cost little."""
    alone = not torch.cuda.is_initialized() and torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def now() -> float:
    """`clock`, once the device has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return clock()


class Stopwatch(pl.Callback):
    """Stops training after some seconds, and measures them from the warm-up on.

    Args:
        batch_size: images of a minibatch.
        warm: minibatches of the warm-up.
        seconds: of the measurement, by `clock`.
        round: minibatches after which every player has played equally often. Windows have whole rounds: a player of every fifth
            minibatch is in each window, in blocks of any length.
    """

    def __init__(self, batch_size: int, warm: int, seconds: float, round: int = 1) -> None:
        self.batch_size, self.warm, self.seconds, self.round = batch_size, warm, seconds, round
        self.minibatches, self.speed = 0, 0.0
        self._start: tuple[float, int] | None = None
        self._marks = list[tuple[float, int]]()

    @property
    def usual_speed(self) -> float:
        """Images a second in the median of the windows: other programs slow a machine in bursts."""
        marks = self._marks[:: max(1, len(self._marks) // WINDOWS)]
        speeds = [(n - before) / (at - since) for (since, before), (at, n) in pairwise(marks) if at > since]
        return statistics.median(speeds) * self.batch_size if len(speeds) > 1 else self.speed

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.minibatches += len(batch) if isinstance(batch, Tensor) else 1
        if self._start is None:
            if self.minibatches >= self.warm:
                self._start = now(), self.minibatches
                self._marks.append(self._start)
            return
        spent, is_whole = clock() - self._start[0], (self.minibatches - self._start[1]) % self.round == 0
        if is_whole:
            self._marks.append((self._start[0] + spent, self.minibatches))
        if spent >= self.seconds and (is_whole or spent >= MOST * self.seconds):
            self.speed = (self.minibatches - self._start[1]) * self.batch_size / (now() - self._start[0])
            trainer.should_stop = True


def training_speed(config: RunConfig, data: DataModule, seconds: float) -> float:
    """Images a second of training, with the trainer of a run, from new weights.

    A model whose players play in phases of the budget trains for some seconds in each phase; the speed is that of a whole
    budget of images.

    Args:
        config: of the run. Nothing is written into its folder.
        data: of the run.
        seconds: of each measurement, by `clock`; two blocks of minibatches at least.
    """
    pl.seed_everything(0, verbose=False)
    model = load_model(config.parts.model)
    edges = sorted({0.0, 1.0, *(edge for player in model.players() for edge in player.phase)})
    return 1 / sum((b - a) / _speed_at((a + b) / 2, config, data, seconds) for a, b in pairwise(edges))


def round_of(players: Sequence[Player]) -> int:
    """Minibatches after which every player has played equally often; `LONGEST_ROUND` at most."""
    return min(math.lcm(*(player.every for player in players)), LONGEST_ROUND)


def sampling_speed(
    model: GenerativeModel,
    batch_size: int = 256,
    seconds: float = 0.1,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Samples a second, drawn and decoded, after a warm-up, in the median batch.

    Args:
        model: on its device.
        batch_size: of the samples; fewer if a smaller batch takes `SLOW` seconds.
        seconds: of the measurement, by `clock`; one batch at least.
        clock: seconds.
    """
    generator = torch.Generator().manual_seed(0)

    def one_batch(n: int) -> float:
        start = clock()
        model.sample(n, generator).sum().item()  # reading a number waits for the device
        return clock() - start

    with model.scoring():
        n = 1
        while (warm := one_batch(n)) < SLOW and n < batch_size:
            n = min(4 * n, batch_size)
        spent = [warm if warm >= SLOW else one_batch(n)]
        while sum(spent) < seconds:
            spent.append(one_batch(n))
    return n / statistics.median(spent)


def _speed_at(share: float, config: RunConfig, data: DataModule, seconds: float) -> float:
    """Images a second after this share of the budget."""
    model = load_model(config.parts.model)
    model.turns = make_turns(config)
    model.spent = lambda: share
    round = round_of(model.players())
    watch = Stopwatch(data.batch_size, max(WARM[config.device], WARM_ROUNDS[config.device] * round), seconds, round)
    data.plan(0, None)
    data.load_state_dict({"position": 0})
    make_trainer(config, [watch]).fit(model, datamodule=data)
    return watch.speed if config.device == "cuda" else watch.usual_speed  # a GPU is behind the clock of a window
