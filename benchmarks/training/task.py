"""What the training of one run works on, and how the training ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.training.clock import Clock
from benchmarks.training.configure import RunConfig
from datamodules.base import DataModule
from models.game import GenerativeModel


@dataclass(frozen=True)
class Training:
    """A run in training: its configuration, its model and data, and its clock."""

    config: RunConfig
    model: GenerativeModel
    data: DataModule
    # sends a row of the curve to the run's logger
    log_row: Callable[[Mapping[str, float | None]], None] = lambda row: None
    clock: Clock = field(default_factory=Clock)
    # raises an error if the folder of the run is no longer the one that this process has locked
    check_lock: Callable[[], None] = lambda: None

    @property
    def device(self) -> torch.device:
        return torch.device(self.config.device)


@dataclass(frozen=True)
class Fitted:
    """The end of training: whether this is the process that writes records, the checksum of the final checkpoint, and the
    shorter run that the run went on from, as its record says it."""

    is_global_zero: bool
    sha256: str | None
    extended_from: Mapping[str, Any] | None = None
