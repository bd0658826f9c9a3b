"""The rows that calibrate a table: what real data scores, and what noise scores, by the same rulers."""

from typing import Any

import torch
from torch import Tensor

from datamodules.base import DataModule

# more than any protocol draws, and little enough to hold as floats
MOST_TRAIN = 60_000


class RealTrain:
    """Samples that are real training examples: the floor that no model is expected to beat by much."""

    def __init__(self, data: DataModule) -> None:
        self.data = data
        self._left: Tensor | None = None

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """The next n training examples, in the split's pinned order.

        Raises:
            ValueError: where the training split is too small to take n apart from those taken before.
        """
        left = self._left if self._left is not None else torch.cat(list(self.data.batches("train", 4096, MOST_TRAIN)))
        if n > len(left):
            raise ValueError(f"{len(left)} training examples are left to stand in for {n} samples: too few")
        self._left = left[n:]
        return left[:n]


class UniformNoise:
    """Every dimension uniform between the data's least and greatest value: what scores mean where nothing was learned."""

    def __init__(self, data: DataModule) -> None:
        self.shape = data.shape
        values = [x for batch in data.batches("val", 4096, 4096) for x in (batch.amin(), batch.amax())]
        self.low, self.high = float(min(values)), float(max(values))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.low + (self.high - self.low) * torch.rand(n, *self.shape, generator=generator)


def calibration_subjects(data: DataModule) -> dict[str, Any]:
    """The rows by name."""
    noise = "pixel noise" if len(data.shape) == 3 else "uniform noise"
    return {"real train": RealTrain(data), noise: UniformNoise(data)}
