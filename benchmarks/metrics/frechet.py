"""Fréchet distance between Gaussians fitted to features: FID (Heusel et al. 2017), FID∞ (Chong & Forsyth 2020)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from scipy.linalg.blas import dsyrk, dtrmm
from scipy.stats import linregress
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value
from benchmarks.records.columns import columns_of
from models.contracts import Samples

# features of fewer dimensions keep the bits of their FID and FID∞; features of more, as Inception's, have both in less time
MANY_DIMENSIONS = 256


def frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    """‖μa - μb‖² + tr(Σa + Σb - 2 (Σa Σb)^½), a scalar of 0 or more. mean: (D,), cov: (D, D). Heusel et al. 2017, eq. 6.

    With any R such that R Rᵀ = Σa, tr (Σa Σb)^½ is the sum of the roots of the eigenvalues of Rᵀ Σb R, which is symmetric:
    no general matrix root is needed, and no imaginary part appears. The arguments are float64.
    """
    root_a = _root(cov_a)
    cross = torch.linalg.eigvalsh(root_a.T @ cov_b @ root_a).clamp(min=0).sqrt().sum()
    return ((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross).clamp(min=0)


def frechet_infinity(
    real: Tensor, fake: Tensor, sizes: Sequence[int], generator: torch.Generator
) -> tuple[float, float]:
    """The Fréchet distance extrapolated to infinitely many samples, and the standard error of the extrapolation.

    FID's bias falls as 1/N (Chong & Forsyth 2020, sec. 3). FID at random subsets of several sizes N is fitted by a line in
    1/N; the result is the intercept. The reference's own bias remains. real: (M, D), fake: (N, D), sizes: of the subsets.
    """
    orders = (torch.randperm(len(fake), generator=generator) for _ in sizes)
    if fake.shape[1] < MANY_DIMENSIONS:
        mean, cov = moments(real)
        distances = [
            float(frechet_distance(mean, cov, *moments(fake[order[:size]])))
            for size, order in zip(sizes, orders, strict=True)
        ]
    else:
        distances = list(_distances_of_parts(real, fake, zip(sizes, orders, strict=True)))
    line = linregress([1 / size for size in sizes], distances)
    return float(line.intercept), float(line.intercept_stderr)


def _distances_of_parts(real: Tensor, fake: Tensor, parts: Iterable[tuple[int, Tensor]]) -> Iterator[float]:
    """`frechet_distance` of the first rows of fake (N, D) in several orders, equal up to rounding.

    With R Rᵀ = Σa, the rows y = Rᵀ x have the covariance Rᵀ Σb R: R is applied to all rows once, not to the covariance of each
    part. The sum of y yᵀ over a part of more than half of the rows is that over all rows less that over the others.

    Args:
        real: the reference, (M, D).
        fake: the samples.
        parts: the number of rows of a part, and an order of all rows.
    """
    mean, cov = moments(real)
    fake, root = fake.double() - mean, _root(cov)
    lengths, mapped = fake.square().sum(1), _times(fake, root)
    gram_of_all = _gram(mapped)
    chosen = torch.empty(
        (len(fake) + 1) // 2, fake.shape[1], dtype=torch.float64
    )  # new memory for each part takes time
    for size, order in parts:
        inside, outside = order[:size], order[size:]
        is_most = len(outside) < len(inside)
        rows = outside if is_most else inside
        gram = _gram(torch.index_select(mapped, 0, rows, out=chosen[: len(rows)]))
        gram = gram_of_all - gram if is_most else gram
        gap = torch.zeros(len(fake), dtype=torch.float64).index_fill_(0, inside, 1 / size) @ fake
        centre = gap @ root
        covariance = (gram - size * torch.outer(centre, centre)) / (size - 1)
        cross = torch.linalg.eigvalsh(covariance).clamp(min=0).sqrt().sum()  # reads the lower triangle alone
        squared_gap = gap.square().sum()
        trace = (lengths[inside].sum() - size * squared_gap) / (size - 1)
        yield float((squared_gap + cov.trace() + trace - 2 * cross).clamp(min=0))


def _gram(x: Tensor) -> Tensor:
    """The lower triangle of xᵀ x for x (N, D) in float64, (D, D), in half of the time of the whole; what is above it is 0."""
    return torch.from_numpy(dsyrk(1.0, x.numpy().T).T)


def _times(x: Tensor, root: Tensor) -> Tensor:
    """x @ root; in half of the time if the root is a lower triangle. (N, D), (D, D) -> (N, D), float64."""
    if bool(root.triu(1).any()):
        return x @ root
    # BLAS reads columns where torch writes rows: the transpose of the product is rootᵀ xᵀ
    return torch.from_numpy(dtrmm(1.0, root.numpy().T, x.numpy().T, lower=0).T)


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D) of features (N, D), in float64."""
    features, n = features.double(), len(features)
    mean = features.sum(0) / n
    if features.shape[1] < MANY_DIMENSIONS:
        gram = features.T @ features
    else:
        gram = _gram(features)
        gram = gram + gram.tril(-1).T
    return mean, (gram - n * torch.outer(mean, mean)) / (n - 1)


def fid_of(real: Tensor, fake: Tensor) -> float:
    """FID between features (M, D) and (N, D).

    Raises:
        ValueError: if a side has D features or fewer: the covariance would be singular.
    """
    for name, features in {"reference images": real, "samples": fake}.items():
        if len(features) <= features.shape[1]:
            raise ValueError(_too_few(name, *features.shape))
    return float(frechet_distance(*moments(real), *moments(fake)))


def feature_detail(subject: Subject) -> dict[str, Any]:
    """The facts that every score in a feature space depends on."""
    return {"encoder": subject.encoder.name, "reference": len(subject.reference_features)}


class FID(Ruler):
    """FID of the model's own samples against the reference split, in the protocol's feature space, and FID∞.

    Args:
        points: subsets through which FID∞ is extrapolated; 15 is the paper's (Chong & Forsyth 2020, sec. 5).
        smallest: the smallest subset, as a share of the samples; a tenth is the paper's.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("fid")
    needs_model = (Samples,)
    needs_features = True

    def __init__(self, points: int = 15, smallest: float = 0.1) -> None:
        if points < 3 or not 0 < smallest <= 0.5:
            raise ValueError(
                f"metric fid: points is {points} and smallest {smallest}; expected 3 or more, and a share up to a half"
            )
        self.points, self.smallest = points, smallest

    def why_not(self, subject: Subject) -> str | None:
        reason = super().why_not(subject)
        if reason is None and subject.samples <= subject.encoder.dim:  # before any sample is drawn
            reason = _too_few("samples", subject.samples, subject.encoder.dim)
        return reason

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        n, dim = subject.samples, subject.encoder.dim
        real, fake = subject.reference_features, subject.features
        detail = feature_detail(subject)
        values: dict[str, Value | str] = {"fid": Value(fid_of(real, fake), n, detail)}
        # with fewer samples than twice the dimensions, the bias is not linear in 1/N
        first = max(int(self.smallest * n), 2 * dim)
        if first > n / 2:
            values["fid_infinity"] = (
                f"{n} samples for {dim} dimensions: a line to infinitely many needs {4 * dim} or more"
            )
        else:
            sizes = torch.linspace(first, n, self.points).round().int().tolist()
            generator = torch.Generator().manual_seed(subject.seed)
            limit, error = frechet_infinity(real, fake, sizes, generator)
            values["fid_infinity"] = Value(limit, n, detail | {"standard_error": error, "points": self.points})
        return values


def _too_few(name: str, n: int, dim: int) -> str:
    return f"{n} {name} for {dim} dimensions: FID needs more {name} than dimensions"


def _root(cov: Tensor) -> Tensor:
    """R with R Rᵀ = cov, by Cholesky, which is many times faster; by eigenvalues for a singular matrix."""
    root, failed = torch.linalg.cholesky_ex(cov)
    if not failed:
        return root
    values, vectors = torch.linalg.eigh(cov)
    return vectors * values.clamp(min=0).sqrt()
