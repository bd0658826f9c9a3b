"""The baseline rows of a table: the scores of real data and of noise by the same rulers."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from datamodules.base import DataModule


class RealTrain:
    """Samples that are real training examples: the best score that a model can be expected to reach."""

    def __init__(self, data: DataModule) -> None:
        self._stream = data.batches("train", 4096)
        self._left, self._drawn = torch.empty(0, *data.shape), 0

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """The next n training examples, in the split's pinned order.

        Raises:
            ValueError: if fewer than n training examples are left after earlier draws; the message has the number of all.
        """
        while len(self._left) < n:
            more = next(self._stream, None)
            if more is None:
                raise ValueError(
                    f"there are {self._drawn + len(self._left):,} training examples, fewer than the samples needed"
                )
            self._left = torch.cat([self._left, more])
        drawn, self._left = self._left[:n], self._left[n:]
        self._drawn += n
        return drawn


class UniformNoise:
    """Every dimension uniform between the data's least and greatest value: the score of a model that learned nothing."""

    def __init__(self, data: DataModule) -> None:
        self.shape = data.shape
        values = [x for batch in data.batches("val", 4096, 4096) for x in (batch.amin(), batch.amax())]
        self.low, self.high = float(min(values)), float(max(values))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.low + (self.high - self.low) * torch.rand(n, *self.shape, generator=generator)


# a covariance of more dimensions, 64x64 pixels of colour have 12,288, takes minutes and gigabytes
MOST_DIMENSIONS = 4096
# numbers in the examples that are fitted in its place
MOST_ENTRIES = 2**26


class FittedGaussian:
    """One Gaussian with the mean and the full covariance of the training data's dimensions.

    It shows the score of a model that learned means and covariances only. Draws of pixels are clamped to [0, 1].

    Of data with more than `MOST_DIMENSIONS`, the Gaussian has the mean and the covariance of the first examples, as many as have
    `MOST_ENTRIES` numbers: 5,461 for colour images of 64 pixels. The covariance is never made: with centred examples X, (n, D),
    x = mean + zᵀX / √(n - 1) has it for z ~ N(0, I).

    Args:
        data: its training split is fitted.
        examples: at most this many examples are read.
    """

    def __init__(self, data: DataModule, examples: int = 50_000) -> None:
        self.shape = data.shape
        dimensions = math.prod(data.shape)
        if dimensions > MOST_DIMENSIONS:
            few = min(examples, MOST_ENTRIES // dimensions)
            x = torch.cat([batch.flatten(1) for batch in data.batches("train", 4096, few)])
            self.mean = x.mean(0, dtype=torch.float64)
            self._root = (x - self.mean.float()).T / max(len(x) - 1, 1) ** 0.5
            return
        n, total, outer = 0, torch.zeros(()), torch.zeros(())
        for batch in data.batches("train", 4096, examples):
            x = batch.flatten(1).double()
            n, total, outer = n + len(x), total + x.sum(0), outer + x.T @ x
        self.mean = total / n
        values, vectors = torch.linalg.eigh((outer - n * torch.outer(self.mean, self.mean)) / max(n - 1, 1))
        self._root = vectors * values.clamp(min=0).sqrt()  # rounding makes zero eigenvalues (constant pixels) negative

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        z = torch.randn(n, self._root.shape[1], generator=generator, dtype=torch.float64)
        x = (self.mean + z.to(self._root) @ self._root.T).float().reshape(n, *self.shape)
        return x.clamp(0, 1) if len(self.shape) == 3 else x


def baseline_subjects(data: DataModule) -> dict[str, Callable[[], Any]]:
    """A constructor for the subject of each baseline row, by the row's name."""
    return {
        "real train": lambda: RealTrain(data),
        "fitted Gaussian": lambda: FittedGaussian(data),
        "pixel noise" if len(data.shape) == 3 else "uniform noise": lambda: UniformNoise(data),
    }
