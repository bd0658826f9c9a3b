"""Fréchet distance between Gaussians fitted to features: FID (Heusel et al. 2017), FID∞ (Chong & Forsyth 2020)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from scipy.stats import linregress
from torch import Tensor
from torchmetrics import Metric

from benchmarks.metrics.base import Column, Ruler, Subject, Value
from models.contracts import Samples


def frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    """‖μa - μb‖² + tr(Σa + Σb - 2 (Σa Σb)^½), a scalar of 0 or more. mean: (D,), cov: (D, D). Heusel et al. 2017, eq. 6.

    With any R such that R Rᵀ = Σa, tr (Σa Σb)^½ is the sum of the roots of the eigenvalues of Rᵀ Σb R, which is symmetric:
    no general matrix root is taken, and no imaginary part has to be thrown away. Give float64.
    """
    root_a = _root(cov_a)
    cross = torch.linalg.eigvalsh(root_a.T @ cov_b @ root_a).clamp(min=0).sqrt().sum()
    return ((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross).clamp(min=0)


def frechet_infinity(
    real: Tensor, fake: Tensor, sizes: Sequence[int], generator: torch.Generator
) -> tuple[float, float]:
    """The Fréchet distance extrapolated to infinitely many samples, and the standard error of the extrapolation.

    FID's bias falls as 1/N (Chong & Forsyth 2020, sec. 3): the intercept of the line through FID at random subsets of
    several sizes N, against 1/N. The reference's own bias remains. real: (M, D), fake: (N, D), sizes: of the subsets.
    """
    mean, cov = moments(real)
    distances = []
    for size in sizes:
        chosen = torch.randperm(len(fake), generator=generator)[:size]
        distances.append(float(frechet_distance(mean, cov, *moments(fake[chosen]))))
    line = linregress([1 / size for size in sizes], distances)
    return float(line.intercept), float(line.intercept_stderr)


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D) of features (N, D), in float64."""
    features = features.double()
    return _moments(features.sum(0), features.T @ features, torch.tensor(len(features)))


class FrechetDistance(Metric):
    """`frechet_distance` over batches of features: `update(features, real)`, then `compute()`."""

    higher_is_better = False
    is_differentiable = False
    full_state_update = False

    real_sum: Tensor
    real_outer: Tensor
    real_n: Tensor
    fake_sum: Tensor
    fake_outer: Tensor
    fake_n: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.set_dtype(torch.float64)
        for side in ("real", "fake"):
            self.add_state(f"{side}_sum", torch.zeros(dim, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_outer", torch.zeros(dim, dim, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_n", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, features: Tensor, real: bool) -> None:
        """features: (B, dim)."""
        features = features.double()
        side = "real" if real else "fake"
        for name, part in {"sum": features.sum(0), "outer": features.T @ features, "n": len(features)}.items():
            setattr(self, f"{side}_{name}", getattr(self, f"{side}_{name}") + part)

    def compute(self) -> Tensor:
        return frechet_distance(
            *_moments(self.real_sum, self.real_outer, self.real_n),
            *_moments(self.fake_sum, self.fake_outer, self.fake_n),
        )


def fid_of(real: Tensor, fake: Tensor) -> float:
    """FID between features (M, D) and (N, D).

    Raises:
        ValueError: where either is no more than D: its covariance would be singular, and the distance about N.
    """
    for name, features in {"reference images": real, "samples": fake}.items():
        if len(features) <= features.shape[1]:
            raise ValueError(_too_few(name, *features.shape))
    metric = FrechetDistance(real.shape[1])
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return float(metric.compute())


def feature_detail(subject: Subject) -> dict[str, Any]:
    """What every score in a feature space depends on."""
    return {"encoder": subject.encoder.name, "reference": len(subject.reference_features)}


def why_no_sample_features(subject: Subject) -> str | None:
    """Why the model's samples have no place in the feature space; None where they have."""
    return subject.why_no_features() if isinstance(subject.model, Samples) else "the model does not sample"


class FID(Ruler):
    """FID of the model's own samples against the reference split, in the protocol's feature space, and FID∞.

    Args:
        points: subsets through which FID∞ is extrapolated; 15 is the paper's (Chong & Forsyth 2020, sec. 5).
        smallest: the smallest subset, as a share of the samples; a tenth is the paper's.
    """

    columns: ClassVar[tuple[Column, ...]] = (Column("fid", "", False), Column("fid_infinity", "", False))

    def __init__(self, points: int = 15, smallest: float = 0.1) -> None:
        if points < 3 or not 0 < smallest <= 0.5:
            raise ValueError(
                f"metric fid: points is {points} and smallest {smallest}; expected 3 or more, and a share up to a half"
            )
        self.points, self.smallest = points, smallest

    def why_not(self, subject: Subject) -> str | None:
        reason = why_no_sample_features(subject)
        if reason is None and subject.samples <= subject.encoder.dim:  # said before anything is drawn
            reason = _too_few("samples", subject.samples, subject.encoder.dim)
        return reason

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        n, dim = subject.samples, subject.encoder.dim
        real, fake = subject.reference_features, subject.features
        detail = feature_detail(subject)
        values: dict[str, Value | str] = {"fid": Value(fid_of(real, fake), n, detail)}
        # below twice the dimensions the bias is no longer a line in 1/N
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
    """R with R Rᵀ = cov. Cholesky's where there is one, which is many times faster; a singular matrix has none."""
    root, failed = torch.linalg.cholesky_ex(cov)
    if not failed:
        return root
    values, vectors = torch.linalg.eigh(cov)
    return vectors * values.clamp(min=0).sqrt()


def _moments(total: Tensor, outer: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    mean = total / n
    return mean, (outer - n * torch.outer(mean, mean)) / (n - 1)
