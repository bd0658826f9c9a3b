"""Sliced optimal transport between features: MIND, the Monge Inception Distance (Berthet et al. 2026, arXiv 2605.06797)."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one
from benchmarks.metrics.frechet import feature_detail
from benchmarks.records.columns import columns_of
from models.contracts import Samples

# directions whose projections are in memory at once
DIRECTIONS = 64


def mean_squared_transport(x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """(1/M) Σᵢ W₂²(uᵢᵀx, uᵢᵀy), a scalar: in one dimension, optimal transport joins sorted values.

    x, y: (n, D), directions u: (M, D) of length 1.
    """
    total = torch.zeros((), dtype=torch.float64)
    for u in directions.split(DIRECTIONS):
        gaps = (u @ x.T).sort(1).values - (u @ y.T).sort(1).values
        total += gaps.square().double().mean(1).sum()
    return total / len(directions)


def unit_vectors(n: int, dim: int, generator: torch.Generator) -> Tensor:
    """n independent draws of the uniform distribution on the unit sphere, (n, dim)."""
    return torch.nn.functional.normalize(torch.randn(n, dim, generator=generator))


class MIND(Ruler):
    """MIND = 3D · the mean over random directions of the squared 2-Wasserstein distance between projected features.

    The factor 3D makes it 3‖a - b‖² for two distributions that differ by a shift. Samples and reference are equally many. Two
    sets of draws of one distribution have a MIND above 0, which falls about as 1/n: the row "real train" shows it.

    Args:
        samples: of the model, and of the reference; fewer if one of them has fewer.
        projections: the number of random directions, the same for every model.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("mind")
    needs_model = (Samples,)
    needs_features = True

    def __init__(self, samples: int, projections: int) -> None:
        at_least_one("mind", samples=samples, projections=projections)
        self.samples, self.projections = samples, projections

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        generator = torch.Generator().manual_seed(subject.seed)
        real, fake = subject.reference_features, subject.features
        directions = unit_vectors(self.projections, real.shape[1], generator)
        n = min(self.samples, len(real), len(fake))
        # a split may be in an order, so its part is drawn at random
        part_of_real, part_of_fake = (x[torch.randperm(len(x), generator=generator)[:n]] for x in (real, fake))
        value = 3 * real.shape[1] * mean_squared_transport(part_of_real, part_of_fake, directions)
        detail = feature_detail(subject) | {"reference": n, "projections": self.projections}
        return {"mind": Value(float(value), n, detail)}
