"""The evidence lower bound, at KL weight 1, with its two parts apart."""

from typing import ClassVar

import torch

from benchmarks.metrics.base import Column, Ruler, Subject, Value, mean_value
from models.contracts import Bounds


class Bound(Ruler):
    """Means over the examples of E log p(x|z) - KL(q(z|x) ‖ p(z)), in nats an example. Kingma & Welling 2014, eq. 3.

    Sums over every pixel and latent, with every constant, one posterior draw an example; a mean over examples only.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column("elbo", "nats", True),
        Column("elbo_reconstruction", "nats", True),
        Column("elbo_kl", "nats", None),
    )

    def why_not(self, subject: Subject) -> str | None:
        if not isinstance(subject.model, Bounds):
            return "the model has no bound on log p(x)"
        return subject.model.why_no_density(subject.data.is_binary)

    def measure(self, subject: Subject) -> dict[str, Value]:
        parts = [[part.double().cpu() for part in subject.model.elbo(x)] for x in subject.real()]
        reconstruction, kl = (torch.cat(column) for column in zip(*parts, strict=True))
        values = {"elbo": reconstruction - kl, "elbo_reconstruction": reconstruction, "elbo_kl": kl}
        return {name: mean_value(value) for name, value in values.items()}
