"""What data can do. Evaluation asks for these capabilities and never for the name of a data set.

Images are float32 in [0, 1] of shape (B, C, H, W), points are (B, D).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Split = Literal["train", "val", "test"]


@runtime_checkable
class Data(Protocol):
    """Every data set: gives examples in the form in which models are scored."""

    name: str
    shape: tuple[int, ...]
    dequantize: bool

    @property
    def is_binary(self) -> bool:
        """Whether every pixel is 0 or 1."""
        ...

    @property
    def info(self) -> Any:
        """Facts for a record, with the checksum and the id of the data."""
        ...

    def batches(self, split: Split, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        """The first `limit` examples of a split, in order, (B, ...) on the CPU."""
        ...


@runtime_checkable
class Labelled(Protocol):
    """Images with classes."""

    name: str

    def labelled(self) -> Mapping[Split, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Images (N, C, H, W) and their classes (N,), by split."""
        ...


@runtime_checkable
class LeavesOutClass(Protocol):
    """Images with classes, one of which may be left out of every split."""

    leave_out: int | None

    def left_out(self, split: Split, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        """The first `limit` examples of the class that the split leaves out, (B, C, H, W)."""
        ...


class Density(Protocol):
    """A mixture, in equal parts, of Gaussians with one standard deviation."""

    @property
    def means(self) -> NDArray[np.float32]:
        """The centres, (M, D)."""
        ...

    @property
    def sigma(self) -> float:
        """The standard deviation in each direction."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (B, D) -> (B,)."""
        ...


@runtime_checkable
class KnownDensity(Protocol):
    """Points that are drawn from a known density."""

    mixture: Density


@runtime_checkable
class StackedDigits(Protocol):
    """Images with a digit in each channel. The digits make a number, and the numbers are the modes of the data."""

    def stack_probabilities(self) -> NDArray[np.float64]:
        """The probability of each number, (10^C,)."""
        ...
