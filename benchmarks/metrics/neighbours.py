"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), by nearest neighbours."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one
from benchmarks.metrics.frechet import feature_detail
from benchmarks.records.columns import columns_of
from models.contracts import Samples

# rows and columns of distances that are in memory at once
TILE = 2048

# neighbours beyond the k-th that float32 keeps, so that float64 finds the k-th among them in spite of rounding
SPARE = 8


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
    real_radii, fake_radii = _squared_radii(real, k, tile), _squared_radii(fake, k, tile)
    centre = _mean(real)
    reals, fakes = _Cloud(real, centre), _Cloud(fake, centre)
    real_errors, fake_errors = reals.errors(fakes), fakes.errors(reals)
    in_real_balls = torch.zeros(len(fake), dtype=torch.int64)
    covered, recalled = (torch.zeros(len(real), dtype=torch.bool) for _ in range(2))
    for rows in _tiles(len(real), tile):
        for columns in _tiles(len(fake), tile):
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


class _Cloud:
    """Points around a centre, in float32. The origin changes no distance, but it changes rounding errors."""

    def __init__(self, points: Tensor, centre: Tensor) -> None:
        self.points = torch.cat([(part.double() - centre).float() for part in points.split(TILE)])
        self.norms = self.points.square().sum(1)

    def squared_distances(self, rows: slice, other: "_Cloud", columns: slice) -> Tensor:
        """‖a - b‖² by a float32 product, (n, m)."""
        sums = self.norms[rows, None] + other.norms[columns]
        return sums.addmm_(self.points[rows], other.points[columns].T, alpha=-2)

    def errors(self, other: "_Cloud") -> Tensor:
        """For each point, a bound on the rounding error of its squared distances to another cloud's, (N,)."""
        # sums of D products have errors of about √D ulps; eight times that is above every error that was measured
        return (self.norms + other.norms.max()) * (8 * self.points.shape[1] ** 0.5 * 2**-24)


def _squared_radii(x: Tensor, k: int, tile: int) -> Tensor:
    """For each example, the squared distance to its k-th nearest other, in float64. (N, D) -> (N,)"""
    n, kept = len(x), min(k + SPARE, len(x) - 1)
    cloud = _Cloud(x, _mean(x))
    nearest = torch.full((n, kept), torch.inf)
    index = torch.zeros((n, kept), dtype=torch.int64)

    def keep(rows: slice, squared: Tensor, first: int) -> None:
        best = squared.topk(min(kept, squared.shape[1]), largest=False)
        both = torch.cat([nearest[rows], best.values], 1).topk(kept, largest=False)
        indices = torch.cat([index[rows], best.indices + first], 1)
        nearest[rows], index[rows] = both.values, indices.gather(1, both.indices)

    for rows in _tiles(n, tile):
        for columns in _tiles(n, tile):
            if columns.start < rows.start:
                continue
            squared = cloud.squared_distances(rows, cloud, columns)
            if rows == columns:
                squared.fill_diagonal_(torch.inf)
            else:
                keep(columns, squared.T, rows.start)
            keep(rows, squared, columns.start)
    radii = torch.empty(n, dtype=torch.float64)
    for rows in _tiles(n, max(1, 2**21 // (kept * x.shape[1]))):
        radii[rows] = _exact(x[rows, None], x[index[rows]])[:, 0].kthvalue(k, 1).values
    # if an example that was not kept might be nearer than the k-th, every distance is computed in float64
    unsure = (nearest.amax(1) - cloud.errors(cloud) < radii) & (radii > 0) & (kept < n - 1)
    for i in unsure.nonzero()[:, 0].split(max(1, 2**27 // (n * 8))):
        exact = _exact(x[i], x)
        exact[torch.arange(len(i)), i] = torch.inf
        radii[i] = exact.kthvalue(k, 1).values
    return radii


def _less(squared: Tensor, radii: Tensor, error: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Whether each distance is less than the radius, as float64 says. squared: (n, m), radii and error: of its rows or its
    columns, a: (n, D), b: (m, D)."""
    less = squared < (radii - error).float()
    unsure = (less ^ (squared < (radii + error).float())).nonzero()
    for i, j in (part.unbind(1) for part in unsure.split(max(1, 2**21 // a.shape[1]))):
        less[i, j] = _exact(a[i, None], b[j, None])[:, 0, 0] < radii.expand(less.shape)[i, j]
    return less


def _mean(x: Tensor) -> Tensor:
    """In float64, without a copy of all of x. (N, D) -> (D,)"""
    sums = [part.double().sum(0) for part in x.split(TILE)]
    return torch.stack(sums).sum(0) / len(x)


def _exact(a: Tensor, b: Tensor) -> Tensor:
    """‖a - b‖² by differences in float64. (..., n, D), (..., m, D) -> (..., n, m)"""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist").square_()


def _tiles(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
