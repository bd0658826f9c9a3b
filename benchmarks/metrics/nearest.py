"""The search for nearest points: in tiles, by float32 products, with the distances of those found in float64."""

from typing import NamedTuple

import torch
from torch import Tensor

# rows and columns of distances that are in memory at once
TILE = 2048

# neighbours beyond the k-th that float32 keeps, so that float64 finds the k-th among them in spite of rounding
SPARE = 8


class Nearest(NamedTuple):
    """The k nearest points of each query, the nearest first.

    Args:
        squared: (N, k), squared Euclidean distances in float64.
        places: (N, k), indices of the points.
    """

    squared: Tensor
    places: Tensor


class Cloud:
    """Points around a centre, in float32. The origin changes no distance, but it changes rounding errors."""

    def __init__(self, points: Tensor, centre: Tensor) -> None:
        self.points = torch.cat([(part.double() - centre).float() for part in points.split(TILE)])
        self.norms = self.points.square().sum(1)

    def squared_distances(self, rows: slice, other: "Cloud", columns: slice) -> Tensor:
        """‖a - b‖² by a float32 product, (n, m)."""
        sums = self.norms[rows, None] + other.norms[columns]
        return sums.addmm_(self.points[rows], other.points[columns].T, alpha=-2)

    def errors(self, other: "Cloud") -> Tensor:
        """For each point, a bound on the rounding error of its squared distances to another cloud's, (N,)."""
        # sums of D products have errors of about √D ulps; eight times that is above every error that was measured
        return (self.norms + other.norms.max()) * (8 * self.points.shape[1] ** 0.5 * 2**-24)


def nearest_points(queries: Tensor, points: Tensor, k: int, tile: int = TILE) -> Nearest:
    """The k nearest points of each query. (N, D), (M, D) with M ≥ k -> (N, k) each; equal to a search in float64."""
    centre = mean_of(points)
    cloud, others = Cloud(queries, centre), Cloud(points, centre)
    kept = _Kept(len(queries), min(k + SPARE, len(points)))
    for rows in tiles(len(queries), tile):
        for columns in tiles(len(points), tile):
            kept.keep(rows, cloud.squared_distances(rows, others, columns), columns.start)
    return _in_float64(queries, points, kept, cloud.errors(others), k, is_own=False)


def nearest_others(x: Tensor, k: int, tile: int = TILE) -> Nearest:
    """The k nearest other points of each point. (N, D) with N > k -> (N, k) each; equal to a search in float64."""
    cloud = Cloud(x, mean_of(x))
    kept = _Kept(len(x), min(k + SPARE, len(x) - 1))
    for rows in tiles(len(x), tile):
        for columns in tiles(len(x), tile):
            if columns.start < rows.start:  # the distances of two tiles are computed once
                continue
            squared = cloud.squared_distances(rows, cloud, columns)
            if rows == columns:
                squared.fill_diagonal_(torch.inf)
            else:
                # topk of values that lie apart takes twice as long
                kept.keep(columns, squared.T.contiguous(), rows.start)
            kept.keep(rows, squared, columns.start)
    return _in_float64(x, x, kept, cloud.errors(cloud), k, is_own=True)


def exact(a: Tensor, b: Tensor) -> Tensor:
    """‖a - b‖² by differences in float64. (..., n, D), (..., m, D) -> (..., n, m)"""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist").square_()


def mean_of(x: Tensor) -> Tensor:
    """In float64, without a copy of all of x. (N, D) -> (D,)"""
    sums = [part.double().sum(0) for part in x.split(TILE)]
    return torch.stack(sums).sum(0) / len(x)


def tiles(n: int, size: int) -> list[slice]:
    """0, ..., n - 1 in slices."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


class _Kept:
    """The nearest points of each query so far, by float32 distances, in any order."""

    def __init__(self, queries: int, count: int) -> None:
        self.count = count
        self.squared = torch.full((queries, count), torch.inf)
        self.index = torch.zeros((queries, count), dtype=torch.int64)

    def keep(self, rows: slice, squared: Tensor, first: int) -> None:
        """Looks at the distances (n, m) of some queries to m points, of which `first` is the place of the first."""
        best = squared.topk(min(self.count, squared.shape[1]), largest=False)
        both = torch.cat([self.squared[rows], best.values], 1).topk(self.count, largest=False)
        indices = torch.cat([self.index[rows], best.indices + first], 1)
        self.squared[rows], self.index[rows] = both.values, indices.gather(1, both.indices)


def _in_float64(queries: Tensor, points: Tensor, kept: _Kept, errors: Tensor, k: int, is_own: bool) -> Nearest:
    """The k nearest of the points that were kept. `is_own`: whether the queries are the points, and no point is its own."""
    n, dim = queries.shape
    squared = torch.empty((n, k), dtype=torch.float64)
    index = torch.empty((n, k), dtype=torch.int64)

    def choose(rows: slice | Tensor, distances: Tensor, places: Tensor) -> None:
        best = distances.topk(k, largest=False)
        squared[rows], index[rows] = best.values, places.gather(1, best.indices)

    for rows in tiles(n, max(1, 2**21 // (kept.count * dim))):
        places = kept.index[rows]
        choose(rows, exact(queries[rows, None], points[places])[:, 0], places)
    # if a point that was not kept might be nearer than the k-th, every distance is computed in float64
    last = squared[:, -1]
    unsure = (kept.squared.amax(1) - errors < last) & (last > 0) & (kept.count < len(points) - is_own)
    for i in unsure.nonzero()[:, 0].split(max(1, 2**27 // (len(points) * 8))):
        distances = exact(queries[i], points)
        if is_own:
            distances[torch.arange(len(i)), i] = torch.inf
        choose(i, distances, torch.arange(len(points)).expand(len(i), -1))
    return Nearest(squared, index)
