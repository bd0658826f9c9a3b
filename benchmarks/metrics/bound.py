"""The model's own log p(x): exact, or bounded by its posterior (the ELBO at KL weight 1, with its parts; IWAE)."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmarks.metrics.base import (
    Column,
    Ruler,
    Subject,
    Value,
    at_least_one,
    mean_value,
    progress,
    standard_error,
    why_lacking,
)
from benchmarks.records.columns import columns_of
from models.contracts import Bounds, Densities

NOT_GREY = "only grey images have bits per dimension"


class Bound(Ruler):
    """Means over the examples of log p(x) where it is exact, and of E log p(x|z) - KL(q(z|x) ‖ p(z)), in nats an example.

    The bound is Kingma & Welling 2014, eq. 3, at one posterior draw. Each value sums over all pixels and latents, with every
    constant. Grey images are dequantised.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("bound")
    version = 2  # dequantised pixels
    needs_model = (Bounds | Densities,)
    needs_density = True

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        return {
            **(_bounds(subject) if isinstance(subject.model, Bounds) else _reasons("elbo", subject, Bounds)),
            **(_density(subject) if isinstance(subject.model, Densities) else _reasons("density", subject, Densities)),
        }


class IWAE(Ruler):
    """Mean of log 1/K Σₖ p(x, zₖ) / q(zₖ|x), zₖ ~ q(z|x), in nats an example: a bound on log p(x) that rises with K.

    Burda et al. 2016, eq. 8. Sampled log weights, never the analytic KL.

    Args:
        k: draws of the posterior for each example.
        examples: of the split; None for all.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("iwae")
    version = 2  # dequantised pixels
    needs_model = (Bounds,)
    needs_density = True

    def __init__(self, k: int = 50, examples: int | None = 1000) -> None:
        at_least_one("iwae", k=k, examples=examples)
        self.k, self.examples = k, examples

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        values = []
        examples = list(subject.likelihood_examples(subject.split, self.examples))
        for x in progress(examples, f"IWAE-{self.k}"):
            # few examples at a time, because the K latents of each are in memory at once
            parts = x.split(max(1, 2**18 // self.k))
            values += [subject.model.log_weights(part, self.k).double().logsumexp(0).cpu() for part in parts]
        bound = torch.cat(values) - math.log(self.k)
        return {"iwae": mean_value(bound, {"k": self.k, "standard_error": standard_error(bound)})}


def _bounds(subject: Subject) -> dict[str, Value | str]:
    parts = [
        [part.double().cpu() for part in subject.model.elbo(x)] for x in subject.likelihood_examples(subject.split)
    ]
    reconstruction, kl = (torch.cat(column) for column in zip(*parts, strict=True))
    elbo = reconstruction - kl
    values = {"elbo": elbo, "elbo_reconstruction": reconstruction, "elbo_kl": kl}
    means: dict[str, Value | str] = {name: mean_value(value) for name, value in values.items()}
    return means | {"elbo_bits_per_dim": _in_bits(elbo, subject, {"bound": "upper"})}


def _density(subject: Subject) -> dict[str, Value | str]:
    examples = subject.likelihood_examples(subject.split)
    density = torch.cat([subject.model.log_prob(x).double().cpu() for x in examples])
    return {"log_density": mean_value(density), "density_bits_per_dim": _in_bits(density, subject)}


def _reasons(kind: str, subject: Subject, capability: type) -> dict[str, Value | str]:
    """The reason why the columns of one kind are empty."""
    reason = why_lacking(subject.model, capability)
    return {column.name: reason for column in columns_of("bound") if kind in column.name}


def _in_bits(log_density: Tensor, subject: Subject, detail: dict[str, Any] | None = None) -> Value | str:
    if not subject.is_images or subject.data.is_binary:
        return NOT_GREY
    return mean_value(bits_per_dim(log_density, math.prod(subject.data.shape)), detail)


def own_log_density(model: Any, x: Tensor) -> Tensor:
    """The model's own log p(x) in nats, exact or its bound, (B, ...) -> (B,)."""
    value: Tensor = model.log_prob(x) if isinstance(model, Densities) else model.elbo(x).value
    return value


def bits_per_dim(log_density: Tensor, dimensions: int) -> Tensor:
    """Bits a dimension: -log₂ p of an example's grey values, from the log density of (x + u) / 256 in nats, (B,) -> (B,).

    Theis et al. 2016, sec. 3.1: a density on [0, 1) is 256 times one on [0, 256), which adds log₂ 256 = 8 a dimension.
    """
    return 8 - log_density / (dimensions * math.log(2))
