"""Gaussian mixtures in the plane. Their density is known exactly, so every mode that a model drops can be counted.

The ring and the grid of Lin et al. 2018 (PacGAN), sec. 4.1, after Srivastava et al. 2017 (VEEGAN).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.base import SPLIT_SEED, DataModule, Split


@dataclass(frozen=True)
class Mixture:
    """Equal parts of N(mean, σ²I). means: (M, D)."""

    means: NDArray[np.float32]
    sigma: float

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """(n, D) independent draws."""
        modes = rng.integers(len(self.means), size=n)
        noise = rng.standard_normal((n, self.means.shape[1]), dtype=np.float32)
        return (self.means[modes] + self.sigma * noise).astype(np.float32)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (B, D) -> (B,)."""
        means = torch.from_numpy(self.means).to(x)
        # differences are exact; a matrix product in float32 would lose a thousandth of a nat
        squared = torch.cdist(x, means, compute_mode="donot_use_mm_for_euclid_dist").square()
        dim = x.shape[1]
        log_component = -0.5 * squared / self.sigma**2 - dim * math.log(self.sigma * math.sqrt(2 * math.pi))
        return log_component.logsumexp(1) - math.log(len(means))


def ring(modes: int, radius: float) -> NDArray[np.float32]:
    """`modes` distinct centres, evenly on a circle. (modes, 2)"""
    angles = 2 * np.pi * np.arange(modes) / modes
    return (radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)


def grid(side: int, spacing: float) -> NDArray[np.float32]:
    """side x side centres around the origin. (side², 2)"""
    axis = spacing * (np.arange(side) - (side - 1) / 2)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)


class GaussianMixture(DataModule):
    """Points drawn once, with a pinned seed, from a known mixture.

    Args:
        means: the centres, (M, D).
        sigma: the standard deviation of each Gaussian, in each direction.
        train_size: the size of the training split; 100,000 is PacGAN's.
        held_out: the size of the validation split and of the test split.
        **options: as `DataModule`; points are neither binarised nor dequantised.

    Raises:
        ValueError: for an option of images.
    """

    def __init__(
        self,
        means: NDArray[np.float32],
        sigma: float,
        train_size: int = 100_000,
        held_out: int = 10_000,
        **options: Any,
    ) -> None:
        super().__init__(shape=means.shape[1:], **options)
        if self.is_binary or self.dequantize:
            raise ValueError(f"datamodule={self.name} is points, not pixels: leave binarize and dequantize off")
        self.mixture = Mixture(means, sigma)
        self.sizes: dict[Split, int] = {"train": train_size, "val": held_out, "test": held_out}

    def load(self) -> Mapping[Split, NDArray[Any]]:
        rng = np.random.default_rng(SPLIT_SEED)
        return {split: self.mixture.sample(size, rng) for split, size in self.sizes.items()}
