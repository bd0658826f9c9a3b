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

        Opposite latents get the straight midpoint.
        """
        return great_circle_midpoint(a, b)


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


class NoiseAndCode:
    """Noise N(0, I) and a code of independent parts: `uniforms` latents U(-1, 1) and one of `categories` equal categories.

    A latent is (uniform codes, category, noise). The category takes `categories` normal latents: the category is the place of the
    largest one. So each category has the same probability, and p(z) has a density and a score that samplers of latents can use.
    `one_hot` is what a generator sees.

    Raises:
        ValueError: for fewer than two categories, fewer than no uniform codes, or a `dim` that is too small for the code.
    """

    def __init__(self, dim: int, categories: int, uniforms: int) -> None:
        if categories < 2 or uniforms < 0:
            raise ValueError(
                f"model.prior has {categories} categories and {uniforms} uniform codes; expected 2 or more, and 0 or more"
            )
        if dim < categories + uniforms:
            raise ValueError(
                f"model.prior has {dim} latents for {categories} categories and {uniforms} uniform codes: "
                f"set latent_dim to {categories + uniforms} or more, or model.prior.categories to fewer"
            )
        self.dim, self.categories, self.uniforms = dim, categories, uniforms
        self._uniform, self._normal = Uniform(uniforms), Normal(dim - uniforms)

    @property
    def code_entropy(self) -> float:
        """H(c) of the code in nats: log K of the category, and log 2 of each uniform code."""
        return math.log(self.categories) + self.uniforms * math.log(2.0)

    def code(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The uniform codes (B, uniforms) and the category (B,) of latents."""
        uniform, category, _ = self._parts(z)
        return uniform, category.argmax(-1)

    def one_hot(self, z: Tensor) -> Tensor:
        """The latents with the category as a one-hot vector, (B, Z) -> (B, Z). The gradient is that of a softmax, so that a
        search over latents can leave a category."""
        uniform, category, noise = self._parts(z)
        # `one_hot` of torch reads the classes, which no recorded turn can do
        hard = torch.zeros_like(category).scatter(-1, category.argmax(-1, keepdim=True), 1.0)
        soft = category.softmax(-1)
        return torch.cat([uniform, hard + (soft - soft.detach()), noise], dim=-1)

    def sample(self, n: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Tensor:
        return torch.cat(
            [self._uniform.sample(n, generator, device), self._normal.sample(n, generator, device)], dim=-1
        )

    def log_prob(self, z: Tensor) -> Tensor:
        uniform, normal = self._halves(z)
        return self._uniform.log_prob(uniform) + self._normal.log_prob(normal)

    def score(self, z: Tensor) -> Tensor:
        uniform, normal = self._halves(z)
        return torch.cat([self._uniform.score(uniform), self._normal.score(normal)], dim=-1)

    def project(self, z: Tensor) -> Tensor:
        uniform, normal = self._halves(z)
        return torch.cat([self._uniform.project(uniform), normal], dim=-1)

    def reflect(self, z: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        (uniform, normal), (p, q) = self._halves(z), self._halves(momentum)
        uniform, p = self._uniform.reflect(uniform, p)
        return torch.cat([uniform, normal], dim=-1), torch.cat([p, q], dim=-1)

    def midpoint(self, a: Tensor, b: Tensor) -> Tensor:
        """Straight between the uniform codes, on the great circle between the normal latents."""
        (a_uniform, a_normal), (b_uniform, b_normal) = self._halves(a), self._halves(b)
        middle = self._uniform.midpoint(a_uniform, b_uniform), self._normal.midpoint(a_normal, b_normal)
        return torch.cat(middle, dim=-1)

    def _halves(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z[..., : self.uniforms], z[..., self.uniforms :]

    def _parts(self, z: Tensor) -> tuple[Tensor, ...]:
        return z.split([self.uniforms, self.categories, self.dim - self.uniforms - self.categories], dim=-1)


def great_circle_midpoint(a: Tensor, b: Tensor) -> Tensor:
    """slerp(a, b; ½) = (a + b) / (2 cos θ/2), where θ is the angle between a and b, (B, Z) each -> (B, Z).

    Opposite latents get the straight midpoint. White 2016, sec. 2.1.
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1).unsqueeze(-1)
    half_angle_cosine = ((1 + cosine) / 2).clamp(min=0).sqrt()
    opposite = half_angle_cosine < 1e-3
    return (a + b) / (2 * torch.where(opposite, 1.0, half_angle_cosine))
