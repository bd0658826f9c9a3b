"""Maximum mean discrepancy (Gretton et al. 2012), and KID, that of features under a cubic kernel (Bińkowski et al. 2018)."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value
from benchmarks.metrics.frechet import feature_detail
from benchmarks.records.columns import columns_of
from models.contracts import Samples

# (n, D), (m, D) -> (n, m)
Kernel = Callable[[Tensor, Tensor], Tensor]

# rows and columns of the kernel matrix that are in memory at once; a tile fits a processor's cache
TILE = 1024


def polynomial(a: Tensor, b: Tensor) -> Tensor:
    """(a·b / D + 1)³. Bińkowski et al. 2018, sec. 4."""
    product = torch.addmm(torch.ones((), dtype=a.dtype), a, b.T, alpha=1 / a.shape[1])
    return product.square().mul_(product)


def inverse_multiquadric(a: Tensor, b: Tensor) -> Tensor:
    """C / (C + ‖a - b‖²) with C = 2D, its expectation between draws of N(0, I). Tolstikhin et al. 2018, sec. 4."""
    scale = 2.0 * a.shape[1]
    return scale / (scale + torch.cdist(a, b).square())


def squared_mmd(x: Tensor, y: Tensor, kernel: Kernel, tile: int = TILE) -> tuple[float, float]:
    """The unbiased estimate of MMD² over all pairs, and its standard error. x: (n, D), y: (m, D).

    Gretton et al. 2012, eq. 3. The variance of a U-statistic has a term of first order, of its projections on each example, and a
    term of second order, which alone remains where the two distributions are equal. The projections are estimated
    from finite samples, whose own noise is subtracted. The kernel is evaluated in tiles, in the precision of the inputs;
    sums over tiles are in float64.
    """
    n, m = len(x), len(y)
    # the mean kernel of each example with the others, (n,) and (m,), and the second moment of the centred kernel
    (xx, xx_centred), (yy, yy_centred) = (_within(z, kernel, tile) for z in (x, y))
    x_to_y, y_to_x = torch.zeros(n, dtype=torch.float64), torch.zeros(m, dtype=torch.float64)
    for i in range(0, n, tile):
        for j in range(0, m, tile):
            block = kernel(x[i : i + tile], y[j : j + tile])
            x_to_y[i : i + tile] += block.sum(1) / m
            y_to_x[j : j + tile] += block.sum(0) / n
    value = xx.mean() + yy.mean() - x_to_y.mean() - y_to_x.mean()
    projections = 4 * ((xx - x_to_y).var() / n + (yy - y_to_x).var() / m)
    # 2 ξ (1/n + 1/m)², ξ the mean square of the centred kernel. Of equal distributions the projections are all noise, and
    # their term is twice as much in expectation
    second_order = (1 / n + 1 / m) ** 2 * (xx_centred + yy_centred)
    variance = torch.maximum(projections - second_order, second_order)
    return float(value), float(variance.sqrt())


class KID(Ruler):
    """Unbiased MMD² between features of the model's samples and of the reference split, over all pairs."""

    columns: ClassVar[tuple[Column, ...]] = columns_of("kid")
    version = 2  # a smaller standard error where the distributions are nearly equal
    needs_model = (Samples,)
    needs_features = True

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        value, error = squared_mmd(subject.reference_features, subject.features, polynomial)
        return {"kid": Value(value, subject.samples, feature_detail(subject) | {"standard_error": error})}


def _within(x: Tensor, kernel: Kernel, tile: int) -> tuple[Tensor, Tensor]:
    """The mean kernel of each example with the others, (n,), and the mean square of the centred kernel over pairs.

    Each pair is evaluated once.
    """
    sums, squares = torch.zeros(len(x), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for i in range(0, len(x), tile):
        for j in range(i, len(x), tile):
            block = kernel(x[i : i + tile], x[j : j + tile])
            if i == j:
                block.fill_diagonal_(0)
            else:
                sums[j : j + tile] += block.sum(0)
            sums[i : i + tile] += block.sum(1)
            squares += block.square_().sum() * (1 if i == j else 2)
    means = sums / (len(x) - 1)
    square = squares / (len(x) * (len(x) - 1))
    return means, (square - 2 * means.square().mean() + means.mean().square()).clamp(min=0)
