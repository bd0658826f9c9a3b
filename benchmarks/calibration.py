"""The rows that calibrate a table: what real data scores, and what noise scores, by the same rulers."""

from typing import Any

import torch
from torch import Tensor

from datamodules.base import DataModule


class RealTrain:
    """Samples that are real training examples: the floor that no model is expected to beat by much."""

    def __init__(self, data: DataModule) -> None:
        self._stream = data.batches("train", 4096)
        self._left = torch.empty(0, *data.shape)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """The next n training examples, in the split's pinned order.

        Raises:
            ValueError: where the training split is too small to take n apart from those taken before.
        """
        while len(self._left) < n:
            more = next(self._stream, None)
            if more is None:
                raise ValueError(f"{len(self._left)} training examples are left to stand in for {n} samples: too few")
            self._left = torch.cat([self._left, more])
        drawn, self._left = self._left[:n], self._left[n:]
        return drawn


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
