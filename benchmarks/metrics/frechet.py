"""Fréchet distance between Gaussians fitted to features: FID (Heusel et al. 2017)."""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from benchmarks.metrics.base import Column, Ruler, Subject, Value
from models.contracts import Samples


def frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    """‖μa - μb‖² + tr(Σa + Σb - 2 (Σa Σb)^½), a scalar of 0 or more. mean: (D,), cov: (D, D). Heusel et al. 2017, eq. 6.

    tr (Σa Σb)^½ is the sum of the roots of the eigenvalues of Σa^½ Σb Σa^½, which is symmetric: no general matrix root
    is taken, and no imaginary part has to be thrown away. Give float64.
    """
    values, vectors = torch.linalg.eigh(cov_a)
    root_a = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root_a @ cov_b @ root_a).clamp(min=0).sqrt().sum()
    return ((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross).clamp(min=0)


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


class FID(Ruler):
    """FID of the model's own samples against the reference split, in the protocol's feature space."""

    columns: ClassVar[tuple[Column, ...]] = (Column("fid", "", False),)

    def why_not(self, subject: Subject) -> str | None:
        if not isinstance(subject.model, Samples):
            return "the model does not sample"
        if not subject.is_images:
            return "points have no feature encoder"
        reason = subject.encoder.why_not(subject.data.shape)
        if reason is None and subject.samples <= subject.encoder.dim:
            reason = f"{subject.samples} samples for {subject.encoder.dim} dimensions: FID needs more samples than dimensions"
        return reason

    def measure(self, subject: Subject) -> dict[str, Value]:
        real, fake = subject.reference_features, subject.features
        if len(real) <= subject.encoder.dim:
            raise ValueError(
                f"{len(real)} reference images for {subject.encoder.dim} dimensions: FID needs more of them"
            )
        metric = FrechetDistance(subject.encoder.dim)
        metric.update(real, real=True)
        metric.update(fake, real=False)
        detail = {"encoder": subject.encoder.name, "reference": len(real)}
        return {"fid": Value(float(metric.compute()), len(fake), detail)}


def _moments(total: Tensor, outer: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    mean = total / n
    return mean, (outer - n * torch.outer(mean, mean)) / (n - 1)
