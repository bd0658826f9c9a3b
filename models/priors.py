"""p(z): the simple distribution that every family maps to the data."""

import math

import torch
from torch import Tensor


class Normal:
    """N(0, I) over `dim` latents."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def sample(self, n: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Tensor:
        source = generator.device if generator else device
        return torch.randn(n, self.dim, generator=generator, device=source).to(device or source)

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def score(self, z: Tensor) -> Tensor:
        return -z

    def project(self, z: Tensor) -> Tensor:
        return z

    def reflect(self, z: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        return z, momentum

    def midpoint(self, a: Tensor, b: Tensor) -> Tensor:
        """On the great circle (White 2016, sec. 2.1), because a straight line between two draws passes too near the origin.

        slerp(a, b; ½) = (a + b) / (2 cos θ/2), where θ is the angle between a and b; opposite latents get the
        straight midpoint.
        """
        cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1).unsqueeze(-1)
        half_angle_cosine = ((1 + cosine) / 2).clamp(min=0).sqrt()
        opposite = half_angle_cosine < 1e-3
        return (a + b) / (2 * torch.where(opposite, 1.0, half_angle_cosine))


class Uniform:
    """U(-1, 1) over `dim` latents, as in the DCGAN paper (Radford et al. 2016, sec. 4)."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def sample(self, n: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Tensor:
        source = generator.device if generator else device
        return (2 * torch.rand(n, self.dim, generator=generator, device=source) - 1).to(device or source)

    def log_prob(self, z: Tensor) -> Tensor:
        inside = (z.abs() <= 1).all(-1)
        density = torch.full_like(z[..., 0], -self.dim * math.log(2.0))
        return density.masked_fill(~inside, -math.inf)

    def score(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z)

    def project(self, z: Tensor) -> Tensor:
        return z.clamp(-1, 1)

    def reflect(self, z: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        # unfolded, the line repeats with period 4, and every second copy of [-1, 1] is mirrored
        unfolded = (z + 1).remainder(4)
        mirrored = unfolded > 2
        return torch.where(mirrored, 3 - unfolded, unfolded - 1), torch.where(mirrored, -momentum, momentum)

    def midpoint(self, a: Tensor, b: Tensor) -> Tensor:
        return (a + b) / 2
