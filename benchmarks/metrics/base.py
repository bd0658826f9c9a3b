"""The interface of metrics: a ruler is a metric with named columns, which measures a subject."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, ClassVar, NamedTuple, TypeVar, get_args

from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks.metrics.subject import NonFinite as NonFinite
from benchmarks.metrics.subject import Subject as Subject
from benchmarks.metrics.subject import finite as finite
from benchmarks.metrics.subject import seeded as seeded
from benchmarks.metrics.subject import to_uint8 as to_uint8
from benchmarks.records.columns import Column as Column
from datamodules.contracts import KnownDensity, LeavesOutClass
from models.contracts import Bounds, Decodes, Densities, Encodes, Lacks, Reconstructs, Samples

T = TypeVar("T")

# of a network for one decoded latent, for metrics that search the latents: more take hours on a CPU
MOST_EVALUATIONS = 8


class Value(NamedTuple):
    """A measured value over n examples or samples.

    Args:
        value: the number.
        n: the number of examples or samples.
        detail: what a reader needs to compare the value.
        by_example: the values that the number is the mean of, if it is a mean over examples of the split in order.
    """

    value: float
    n: int
    detail: dict[str, Any] = {}  # noqa: RUF012 - nothing writes to the default
    by_example: tuple[float, ...] = ()


# the reason why a metric does not apply, by the capability that it needs
LACKING: Mapping[type, str] = {
    Samples: "the model does not sample",
    Decodes: "the model has no decoder",
    Encodes: "the model has no encoder",
    Reconstructs: "the model has no encoder",
    Bounds: "the model has no bound on log p(x)",
    Densities: "the model has no exact density",
    KnownDensity: "the data's density is not known",
    LeavesOutClass: "no class was left out of training; set datamodule.leave_out",
}


class Ruler(ABC):
    """A metric: its columns, what it needs, and its values.

    A metric that needs more than capabilities extends `why_not`.
    """

    columns: ClassVar[tuple[Column, ...]]
    # raised when the metric gives other numbers for the same model; part of the id of every protocol with the metric
    version: ClassVar[int] = 1
    # capabilities of models.contracts that the model must have, and of datamodules.contracts that the data must have
    needs_model: ClassVar[tuple[type | UnionType, ...]] = ()
    needs_data: ClassVar[tuple[type | UnionType, ...]] = ()
    # whether the metric compares features; whether it measures images, pixels that are not binary, the model's own density
    needs_features: ClassVar[bool] = False
    needs_images: ClassVar[bool] = False
    needs_grey: ClassVar[bool] = False
    needs_density: ClassVar[bool] = False
    # whether the metric decodes latents thousands of times, with their gradients
    searches_latents: ClassVar[bool] = False

    def why_not(self, subject: Subject) -> str | None:
        """Why the metric does not apply to the subject: the first unmet need; None if it applies."""
        needs = [(subject.model, need) for need in self.needs_model] + [
            (subject.data, need) for need in self.needs_data
        ]
        for owner, need in needs:
            if not isinstance(owner, need):
                return why_lacking(owner, get_args(need)[0] if isinstance(need, UnionType) else need)
        binary = subject.data.is_binary
        reasons = (
            "points are not images" if self.needs_images and not subject.is_images else None,
            "a Gaussian is not a likelihood of binary pixels" if self.needs_grey and binary else None,
            subject.model.why_no_density(binary) if self.needs_density else None,
            why_no_search(subject.model) if self.searches_latents else None,
            subject.why_no_features() if self.needs_features else None,
        )
        return next((reason for reason in reasons if reason is not None), None)

    @abstractmethod
    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        """A value for each column, or the reason why the column has none. A column that is left out does not apply."""


def why_lacking(owner: object, capability: type) -> str:
    """Why a model, or data, lacks a capability."""
    if capability is Bounds and isinstance(owner, Densities):
        return "the density is exact; see log p(x)"
    return (owner.lacking.get(capability) if isinstance(owner, Lacks) else None) or LACKING[capability]


def why_no_search(model: object) -> str | None:
    """Why no search of a model's latents is made; None if a search is not too long."""
    evaluations = getattr(model, "decoder_evaluations", 1)
    if evaluations <= MOST_EVALUATIONS:
        return None
    return f"a decoded latent costs {evaluations} evaluations of a network, and a search decodes thousands"


def mean_value(values: Tensor, detail: dict[str, Any] | None = None) -> Value:
    """The mean over examples, (N,), in float64. One NaN makes the mean NaN: nothing is dropped silently."""
    values = values.detach().double().cpu()
    return Value(float(values.mean()), len(values), detail or {}, tuple(values.tolist()))


def attempt(measure: Callable[[], Value]) -> Value | str:
    """The value of one column, or the reason why there is none. The ruler's other columns are still measured."""
    try:
        return measure()
    except (ValueError, NonFinite) as error:
        return str(error)


def at_least_one(metric: str, **counts: int | None) -> None:
    """Raises ValueError for the first count below 1, and names the count. None stands for all."""
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"metric {metric}: {name} is {value}; expected 1 or more")


def standard_error(values: Tensor) -> float | None:
    """The standard error of the mean of independent values (N,); None for a single value."""
    return float(values.double().std() / len(values) ** 0.5) if len(values) > 1 else None


def progress(steps: Sequence[T], label: str) -> Iterator[T]:
    """The steps. A terminal shows a bar with the time left."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(steps, label, console=console, transient=True)
    else:
        yield from steps
