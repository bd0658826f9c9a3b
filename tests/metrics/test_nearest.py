"""The search for nearest points against every distance in float64."""

import pytest
import torch
from torch import Tensor

from benchmarks.metrics.nearest import Nearest, nearest_others, nearest_points


def by_definition(queries: Tensor, points: Tensor, k: int, is_own: bool = False) -> Tensor:
    squared = (queries.double()[:, None] - points.double()[None]).square().sum(-1)
    if is_own:
        squared.fill_diagonal_(torch.inf)
    return squared.sort(1).values[:, :k]


def check(found: Nearest, queries: Tensor, points: Tensor, expected: Tensor) -> None:
    """The distances are those of the definition, and those to the points that the index names."""
    torch.testing.assert_close(found.squared, expected, rtol=1e-12, atol=0)
    named = (queries.double()[:, None] - points.double()[found.places]).square().sum(-1)
    torch.testing.assert_close(named, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("tile", [5, 64, 1000])
@pytest.mark.parametrize("k", [1, 3])
def test_the_nearest_are_those_of_the_definition_whatever_the_tile(k: int, tile: int) -> None:
    queries, points = torch.randn(70, 6), 0.7 * torch.randn(90, 6) + 0.3
    check(nearest_points(queries, points, k, tile), queries, points, by_definition(queries, points, k))
    check(nearest_others(points, k, tile), points, points, by_definition(points, points, k, is_own=True))


def test_the_search_does_not_suffer_where_float32_cancels() -> None:
    """Two tight clusters far from the origin and from each other: products in float32 keep nothing of their spread."""
    centres = 100 * torch.randn(2, 8)
    queries, points = (centres[torch.randint(2, (n,))] + 1e-3 * torch.randn(n, 8) for n in (60, 80))
    check(nearest_points(queries, points, 2), queries, points, by_definition(queries, points, 2))
    check(nearest_others(points, 2), points, points, by_definition(points, points, 2, is_own=True))


def test_a_copy_is_its_own_nearest_point_and_never_its_own_other() -> None:
    points = torch.randn(50, 4)
    queries = points[torch.randperm(50)[:20]]
    found = nearest_points(queries, points, 1)
    assert (found.squared == 0).all()
    assert torch.equal(points[found.places[:, 0]], queries)
    others = nearest_others(points, 49)
    assert (others.places != torch.arange(50)[:, None]).all()
    assert (others.places.sort(1).values[:, 0] == (torch.arange(50) == 0).long()).all(), "each other point is found"
    # of two equal points, each is the other's nearest
    assert (nearest_others(points.repeat(2, 1), 1).squared == 0).all()


def test_as_many_points_as_neighbours_are_enough() -> None:
    queries, points = torch.randn(7, 3), torch.randn(4, 3)
    check(nearest_points(queries, points, 4), queries, points, by_definition(queries, points, 4))
