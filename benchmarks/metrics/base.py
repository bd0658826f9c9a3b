"""What a metric is given (a subject) and what it is (a ruler with named columns)."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from benchmarks.encoders.base import FeatureEncoder
from models.contracts import Samples

# one cached set of reference features a process: sweeps score many runs against the same data
_REFERENCES: dict[tuple[Any, ...], Tensor] = {}


class Column(NamedTuple):
    """A column's facts, known before anything is measured."""

    name: str
    unit: str
    higher_is_better: bool | None


class Value(NamedTuple):
    """A measured value over n examples or samples; `detail` is what a reader needs to compare it."""

    value: float
    n: int
    detail: dict[str, Any] = {}  # noqa: RUF012 - never written to


class Data(Protocol):
    """The part of a data module that scoring reads."""

    name: str
    shape: tuple[int, ...]

    @property
    def is_binary(self) -> bool: ...

    def batches(self, split: Any, batch_size: int, limit: int | None = None) -> Iterator[Tensor]: ...

    @property
    def info(self) -> Any: ...


class NonFinite(Exception):
    """The model's samples are not finite numbers."""


@dataclass
class Subject:
    """A model (or anything that can do part of what a model can) under one protocol on one split.

    Args:
        model: what is scored; its capabilities decide which metrics apply.
        data: what it is scored on.
        split: which split is the reference.
        samples: how many examples are drawn for sample scores.
        examples: how many of the split are read; None for all.
        batch_size: of every pass. Pinned, since some kernels' results depend on it.
        seed: of every draw.
        device: where the model is.
        encoder: loads the feature encoder; called only if a metric asks for features.
    """

    model: Any
    data: Data
    split: str
    samples: int
    examples: int | None
    batch_size: int
    seed: int
    device: torch.device
    load_encoder: Callable[[], FeatureEncoder]
    _drawn: dict[int, Tensor] = field(default_factory=dict)

    @cached_property
    def encoder(self) -> FeatureEncoder:
        return self.load_encoder()

    @property
    def is_images(self) -> bool:
        return len(self.data.shape) == 3

    def real(self) -> Iterator[Tensor]:
        """The reference split in batches (B, ...), on the model's device."""
        for x in self.data.batches(self.split, self.batch_size, self.examples):
            yield x.to(self.device)

    def draw(self, n: int) -> Tensor:
        """Exactly n samples of the model, (n, ...) on the CPU, in the data's range; drawn once.

        Raises:
            NonFinite: where any of them is not a finite number.
        """
        if n not in self._drawn:
            model: Samples = self.model
            generator = torch.Generator().manual_seed(self.seed)
            sizes = [min(self.batch_size, n - start) for start in range(0, n, self.batch_size)]
            drawn = torch.cat([model.sample(size, generator).float().cpu() for size in sizes])
            if not drawn.isfinite().all():
                raise NonFinite("the model's samples are not finite numbers")
            self._drawn[n] = drawn
        return self._drawn[n]

    @cached_property
    def features(self) -> Tensor:
        """Features of `samples` samples, (samples, dim)."""
        drawn = to_uint8(self.draw(self.samples))
        return torch.cat([self.encoder(batch) for batch in drawn.split(self.batch_size)])

    @cached_property
    def reference_features(self) -> Tensor:
        """Features of the reference split, (N, dim)."""
        key = (self.data.info.id, self.split, self.examples, self.batch_size, self.encoder.checksum)
        if key not in _REFERENCES:
            _REFERENCES[key] = torch.cat([self.encoder(to_uint8(x)) for x in self.real()])
        return _REFERENCES[key]


class Ruler(ABC):
    """A metric as a protocol names it: its columns, when it applies, and its values."""

    columns: ClassVar[tuple[Column, ...]]

    @abstractmethod
    def why_not(self, subject: Subject) -> str | None:
        """Why the metric does not apply to the subject; None where it does."""

    @abstractmethod
    def measure(self, subject: Subject) -> dict[str, Value]:
        """Values by column name. A column may be left out where it alone does not apply."""


def mean_value(values: Tensor, detail: dict[str, Any] | None = None) -> Value:
    """The mean over examples, (N,), in float64. A single value that is no number makes the mean none: nothing is left
    out of an average unseen."""
    return Value(float(values.double().mean()), len(values), detail or {})


def to_uint8(images: Tensor) -> Tensor:
    """[0, 1] to the nearest of 256 grey values: round(clamp(x)·255). Truncating would darken 63 of them."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Global random numbers seeded by (seed, purpose) inside, and as they were before outside."""
    word = int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:7])
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(word)
        yield
