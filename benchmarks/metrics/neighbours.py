"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), by nearest neighbours."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one
from benchmarks.metrics.frechet import feature_detail
from benchmarks.metrics.nearest import TILE, Cloud, exact, mean_of, nearest_others, tiles
from benchmarks.records.columns import columns_of
from models.contracts import Samples


class Manifold(NamedTuple):
    """The four scores, each 0 or more; the first, second and fourth at most 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(real: Tensor, fake: Tensor, k: int, tile: int = TILE) -> Manifold:
    """The scores of features (N, D) and (M, D). The ball of an example reaches to its k-th nearest neighbour of its side.

    precision: the share of fakes in the ball of any real; recall: the share of reals in the ball of any fake
    (Kynkäänniemi et al. 2019, eq. 1); density: the mean number of reals' balls that a fake is in, over k; coverage: the
    share of reals whose ball contains a fake (Naeem et al. 2020, eqs. 3 and 4).

    Distances are float32 products, in tiles. Comparisons within the rounding error are repeated in float64, so that the
    scores equal those of float64.

    Raises:
        ValueError: for no more than k examples on a side.
    """
    for name, features in {"reference images": real, "samples": fake}.items():
        if len(features) <= k:
            raise ValueError(f"{len(features)} {name}: k = {k} nearest neighbours need more")
    # one side after the other, so that only one copy of features is in memory
    real_radii, fake_radii = (nearest_others(x, k, tile).squared[:, -1] for x in (real, fake))
    centre = mean_of(real)
    reals, fakes = Cloud(real, centre), Cloud(fake, centre)
    real_errors, fake_errors = reals.errors(fakes), fakes.errors(reals)
    in_real_balls = torch.zeros(len(fake), dtype=torch.int64)
    covered, recalled = (torch.zeros(len(real), dtype=torch.bool) for _ in range(2))
    for rows in tiles(len(real), tile):
        for columns in tiles(len(fake), tile):
            squared = reals.squared_distances(rows, fakes, columns)
            pair = (real[rows], fake[columns])
            in_real = _less(squared, real_radii[rows, None], real_errors[rows, None], *pair)
            in_fake = _less(squared, fake_radii[None, columns], fake_errors[None, columns], *pair)
            in_real_balls[columns] += in_real.sum(0)
            covered[rows] |= in_real.any(1)
            recalled[rows] |= in_fake.any(1)
    return Manifold(
        precision=float((in_real_balls > 0).double().mean()),
        recall=float(recalled.double().mean()),
        density=float(in_real_balls.double().mean() / k),
        coverage=float(covered.double().mean()),
    )


class Neighbours(Ruler):
    """The scores of the model's samples against the reference split, in the protocol's feature space.

    Args:
        k: the neighbour that sets the size of a ball; 5 is Naeem et al.'s (2020, sec. 4.1).
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("neighbours")
    needs_model = (Samples,)
    needs_features = True

    def __init__(self, k: int = 5) -> None:
        at_least_one("neighbours", k=k)
        self.k = k

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        scores = manifold_scores(subject.reference_features, subject.features, self.k)
        detail = feature_detail(subject) | {"neighbours": self.k}
        return {name: Value(value, subject.samples, detail) for name, value in scores._asdict().items()}


def _less(squared: Tensor, radii: Tensor, error: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Whether each distance is less than the radius, as float64 says. squared: (n, m), radii and error: of its rows or its
    columns, a: (n, D), b: (m, D)."""
    less = squared < (radii - error).float()
    unsure = (less ^ (squared < (radii + error).float())).nonzero()
    for i, j in (part.unbind(1) for part in unsure.split(max(1, 2**21 // a.shape[1]))):
        less[i, j] = exact(a[i, None], b[j, None])[:, 0, 0] < radii.expand(less.shape)[i, j]
    return less
