"""Bounds on log p(x) by the model's own posterior: the ELBO at KL weight 1, with its two parts, and the bound of IWAE."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one, mean_value, progress, standard_error
from benchmarks.records.columns import columns_of
from models.contracts import Bounds

NOT_GREY = "only grey images have bits per dimension"


class Bound(Ruler):
    """Means over the examples of E log p(x|z) - KL(q(z|x) ‖ p(z)), in nats an example. Kingma & Welling 2014, eq. 3.

    Each value sums over all pixels and latents, with every constant, at one posterior draw. The score is the mean over examples.
    Grey images are dequantised.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("bound")
    version = 2  # dequantised pixels
    needs_model = (Bounds,)
    needs_density = True

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        examples = subject.likelihood_examples(subject.split)
        parts = [[part.double().cpu() for part in subject.model.elbo(x)] for x in examples]
        reconstruction, kl = (torch.cat(column) for column in zip(*parts, strict=True))
        values = {"elbo": reconstruction - kl, "elbo_reconstruction": reconstruction, "elbo_kl": kl}
        means: dict[str, Value | str] = {name: mean_value(value) for name, value in values.items()}
        means["elbo_bits_per_dim"] = NOT_GREY
        if subject.is_images and not subject.data.is_binary:
            bits = bits_per_dim(values["elbo"], math.prod(subject.data.shape))
            means["elbo_bits_per_dim"] = mean_value(bits, {"bound": "upper"})
        return means


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


def bits_per_dim(log_density: Tensor, dimensions: int) -> Tensor:
    """Bits a dimension: -log₂ p of an example's grey values, from the log density of (x + u) / 256 in nats, (B,) -> (B,).

    Theis et al. 2016, sec. 3.1: a density on [0, 1) is 256 times one on [0, 256), which adds log₂ 256 = 8 a dimension.
    """
    return 8 - log_density / (dimensions * math.log(2))
