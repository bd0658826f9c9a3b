"""Models with an exact density of examples: log p(x) by the change of variables, for pixels in [0, 1] and for points."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from models.game import GenerativeModel


class DensityModel(GenerativeModel, ABC):
    """A decoder that has an inverse, so that decoded latents have a density."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (B, ...) -> (B,); images are dequantised, in [0, 1]."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """The latent that decodes to x, (B, ...) -> (B, Z)."""

    def draw_code(self, x: Tensor) -> Tensor:
        return self.encode(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def why_no_density(self, binary: bool) -> str | None:
        return "a density of grey pixels is none of binary pixels" if binary else None


def dequantised(x: Tensor) -> Tensor:
    """(g + u) / 256 with u ~ U(0, 1), from pixels g / 255 or from pixels that have such noise. (B, C, H, W)."""
    grey = (x * 256).floor().clamp(max=255)
    return (grey + torch.rand_like(x)) / 256
