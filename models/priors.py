"""p(z): the simple distribution that every family carries onto the data."""

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
