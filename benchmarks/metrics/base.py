"""What a metric is given (a subject) and what it is (a ruler with named columns)."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks.encoders.base import FeatureEncoder
from benchmarks.records.columns import Column as Column
from models.contracts import Decodes, Encodes, Samples

T = TypeVar("T")

Cache = Callable[[Mapping[str, Any], Callable[[], Tensor]], Tensor]


class Value(NamedTuple):
    """A measured value over n examples or samples; `detail` is what a reader needs to compare it."""

    value: float
    n: int
    detail: dict[str, Any] = {}  # noqa: RUF012 - never written to


class Data(Protocol):
    """The part of a data module that scoring reads."""

    name: str
    shape: tuple[int, ...]

    dequantize: bool

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
        batch_size: of every pass through the encoders. Pinned, since some kernels' results depend on it.
        seed: of every draw.
        device: where the model is.
        load_encoder: loads the feature encoder; called only if a metric asks for features.
        cache: keeps reference features: from what they depend on, and how to compute them, to the features.
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
    cache: Cache = lambda key, compute: compute()
    _drawn: dict[int, Tensor] = field(default_factory=dict)
    _codes: dict[tuple[str, int | None, bool], Tensor] = field(default_factory=dict)

    @cached_property
    def encoder(self) -> FeatureEncoder:
        return self.load_encoder()

    @property
    def is_images(self) -> bool:
        return len(self.data.shape) == 3

    def real(self, limit: int | None = None) -> Iterator[Tensor]:
        """The reference split, or its first `limit` examples, in batches (B, ...), on the model's device."""
        limits = [n for n in (limit, self.examples) if n is not None]
        for x in self.data.batches(self.split, self.batch_size, min(limits, default=None)):
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
            self._drawn[n] = torch.cat([model.sample(size, generator).float().cpu() for size in sizes])
        return finite(self._drawn[n], "samples")

    def decode(self, z: Tensor) -> Tensor:
        """Decoded latents, (n, Z) -> (n, ...) on the CPU, in batches.

        Raises:
            NonFinite: where any of them is not a finite number.
        """
        model: Decodes = self.model
        decoded = [model.decode(batch.to(self.device)).float().cpu() for batch in z.split(self.batch_size)]
        return finite(torch.cat(decoded), "decoded latents")

    def codes(self, split: str, limit: int | None = None, drawn: bool = False) -> Tensor:
        """The codes of a split's first `limit` examples, or a draw of q(z|x) for each, (n, Z) on the CPU; made once."""
        key = (split, limit, drawn)
        if key not in self._codes:
            model: Encodes = self.model
            encode = model.draw_code if drawn else model.encode
            with seeded(self.seed, f"codes of {split}"):  # whichever metric asks first
                batches = self.data.batches(split, self.batch_size, limit)
                self._codes[key] = torch.cat([encode(x.to(self.device)).float().cpu() for x in batches])
        return finite(self._codes[key], "codes")

    @cached_property
    def features(self) -> Tensor:
        """Features of `samples` samples, (samples, dim)."""
        return self.features_of(self.draw(self.samples))

    @cached_property
    def reference_features(self) -> Tensor:
        """Features of the reference split, (N, dim)."""
        depends_on = {
            "data": self.data.info.id,
            "split": self.split,
            "examples": self.examples,
            "batch_size": self.batch_size,
            "encoder": self.encoder.checksum,
            "resizing": self.encoder.resizing,
            "device": self.device.type,
            # how a sum is split between threads shows in its last bit
            "threads": torch.get_num_threads() if self.device.type == "cpu" else None,
        }
        return self.cache(depends_on, lambda: torch.cat([self.encoder(to_uint8(x)) for x in self.real()]))

    def features_of(self, images: Tensor) -> Tensor:
        """Features of images in [0, 1], (n, C, H, W) -> (n, dim)."""
        return torch.cat([self.encoder(to_uint8(batch)) for batch in images.split(self.batch_size)])

    def why_no_features(self) -> str | None:
        """Why examples of this data cannot be compared in the feature space; None where they can."""
        if not self.is_images:
            return "points have no feature encoder"
        return self.encoder.why_not(self.data.shape)


class Ruler(ABC):
    """A metric as a protocol names it: its columns, when it applies, and its values."""

    columns: ClassVar[tuple[Column, ...]]

    @abstractmethod
    def why_not(self, subject: Subject) -> str | None:
        """Why the metric does not apply to the subject; None where it does."""

    @abstractmethod
    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        """By column name a value, or why that column alone has none. One that is left out does not apply."""


def mean_value(values: Tensor, detail: dict[str, Any] | None = None) -> Value:
    """The mean over examples, (N,), in float64. A single value that is no number makes the mean none: nothing is left
    out of an average unseen."""
    return Value(float(values.double().mean()), len(values), detail or {})


def attempt(measure: Callable[[], Value]) -> Value | str:
    """One column's value, or why it has none: what is wrong with one column leaves a ruler's others alone."""
    try:
        return measure()
    except (ValueError, NonFinite) as error:
        return str(error)


def at_least_one(metric: str, **counts: int | None) -> None:
    """Raises ValueError, naming it, for the first count that is below 1; None stands for all."""
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"metric {metric}: {name} is {value}; expected 1 or more")


def standard_error(values: Tensor) -> float | None:
    """Of the mean of independent values (N,); None for a single one."""
    return float(values.double().std() / len(values) ** 0.5) if len(values) > 1 else None


def finite(x: Tensor, what: str) -> Tensor:
    """x itself.

    Raises:
        NonFinite: where any number of it is not finite.
    """
    if not x.isfinite().all():
        raise NonFinite(f"the model's {what} are not finite numbers")
    return x


def progress(steps: Sequence[T], label: str) -> Iterator[T]:
    """The steps, with a bar and the time that is left where a person is looking."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(steps, label, console=console, transient=True)
    else:
        yield from steps


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
