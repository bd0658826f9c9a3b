"""How many modes of a known mixture a model's samples reach, and how many samples lie on one.

Srivastava et al. 2017 (VEEGAN), sec. 5.1; Lin et al. 2018 (PacGAN), sec. 4.1.
"""

from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value
from models.contracts import Samples


def nearest_modes(points: Tensor, means: Tensor, sigma: float, radius: float = 3.0) -> tuple[Tensor, Tensor]:
    """Each point's nearest centre, (B,), and whether it lies within `radius` standard deviations of it, (B,).

    points: (B, D), means: (M, D).
    """
    distance, nearest = torch.cdist(points.double(), means.double()).min(1)
    return nearest, distance <= radius * sigma


class Modes(Ruler):
    """Modes with a high-quality sample, and the share of high-quality samples: those within 3σ of their centre.

    Args:
        samples: how many are drawn, whatever the protocol draws for other scores; 2,500 is the papers'.
    """

    columns: ClassVar[tuple[Column, ...]] = (Column("modes", "", True), Column("high_quality", "%", True))

    def __init__(self, samples: int = 2500) -> None:
        self.samples = samples

    def why_not(self, subject: Subject) -> str | None:
        if not isinstance(subject.model, Samples):
            return "the model does not sample"
        return None if hasattr(subject.data, "mixture") else "the data's density is not known"

    def measure(self, subject: Subject) -> dict[str, Value]:
        mixture = subject.data.mixture  # type: ignore[attr-defined]  # asked for in why_not
        nearest, good = nearest_modes(subject.draw(self.samples), torch.from_numpy(mixture.means), mixture.sigma)
        detail = {"of": len(mixture.means)}
        return {
            "modes": Value(len(nearest[good].unique()), self.samples, detail),
            "high_quality": Value(100 * float(good.double().mean()), self.samples),
        }
