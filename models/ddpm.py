"""Denoising diffusion: a field learns the noise in noisy examples; samples lose their noise in T steps.

Ho et al. 2020, Alg. 1 and 2 with the simple loss (eq. 14). X = g(Z) is the probability-flow ODE of the same field (Song et al.
2021, eq. 13), and log p(x) is that of the ODE. Differs from the paper: a small U-Net without attention and dropout, no bound
from T terms, and no average of the weights by default.
"""

from typing import Unpack, cast

import torch
from torch import Tensor

from models.continuous import ContinuousModel, ODEDecoder, Pieces

# the least time of the ODE; at time 0 the noise has no scale (Song et al. 2021, app. C)
LEAST_TIME = 1e-3


class Schedule:
    """ᾱ(t) = exp(-T ∫ β) for β growing linearly from β₁ to β_T, at times t in [0, 1]. Ho et al. 2020, sec. 4.

    Continuous in t, as Song et al. (2021, eq. 33) have it; at t = i / T nearly the paper's product of 1 - β.
    """

    def __init__(self, beta_first: float, beta_last: float, steps: int) -> None:
        self.first, self.last, self.steps = beta_first, beta_last, steps

    def rate(self, t: Tensor) -> Tensor:
        """T β(t): the rate at which noise is added."""
        return self.steps * (self.first + (self.last - self.first) * t)

    def log_alpha_bar(self, t: Tensor) -> Tensor:
        return -self.steps * (self.first * t + 0.5 * (self.last - self.first) * t.square())


class NoiseDecoder(ODEDecoder):
    """dx/dt = -½ T β(t) (x - ε(x, t) / √(1 - ᾱ(t))), from t = 1 to `LEAST_TIME`."""

    schedule: Schedule

    def velocity(self, x: Tensor, s: Tensor) -> Tensor:
        span = 1 - LEAST_TIME
        t = 1 - span * s
        rate = _like(self.schedule.rate(t), x)
        deviation = _like((-torch.expm1(self.schedule.log_alpha_bar(t))).sqrt(), x)
        velocity: Tensor = span * 0.5 * rate * (x - self.field(x, t) / deviation)
        return velocity


class DDPM(ContinuousModel):
    """Minimises E ‖ε - ε_θ(√ᾱ x₀ + √(1 - ᾱ) ε, t)‖², ε ~ N(0, I), t ~ U{1, …, T} / T.

    Args:
        diffusion_steps: T.
        beta_first, beta_last: β₁ and β_T.
        **pieces: as `ContinuousModel`.

    Raises:
        ValueError: for fewer diffusion steps than 2, or βs that are not 0 < β₁ <= β_T < 1.
    """

    decoder_class = NoiseDecoder

    def __init__(self, diffusion_steps: int, beta_first: float, beta_last: float, **pieces: Unpack[Pieces]) -> None:
        if diffusion_steps < 2:
            raise ValueError(f"model.diffusion_steps is {diffusion_steps}; expected 2 or more")
        if not 0 < beta_first <= beta_last < 1:
            raise ValueError(
                f"model.beta_first is {beta_first} and model.beta_last is {beta_last}; expected 0 < first <= last < 1"
            )
        super().__init__(**pieces)
        self.diffusion_steps = diffusion_steps
        self.schedule = cast(NoiseDecoder, self.decoder).schedule = Schedule(beta_first, beta_last, diffusion_steps)

    def loss(self, x: Tensor) -> Tensor:
        x0 = self.training_example(x)
        t = torch.randint(1, self.diffusion_steps + 1, (len(x0),), device=x0.device) / self.diffusion_steps
        noise = torch.randn_like(x0)
        alpha_bar = _like(self.schedule.log_alpha_bar(t).exp(), x0)
        noisy = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise
        return (self.ode.field(noisy, t) - noise).square().mean()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Ho et al. 2020, Alg. 2, with σ² = β."""
        source = generator.device if generator else self.device

        def noise() -> Tensor:
            return torch.randn(n, *self.ode.shape, generator=generator, device=source).to(self.device)

        times = torch.arange(self.diffusion_steps + 1, device=self.device) / self.diffusion_steps
        log_alpha_bar = self.schedule.log_alpha_bar(times)
        x = noise()
        for i in range(self.diffusion_steps, 0, -1):
            beta = -torch.expm1(log_alpha_bar[i] - log_alpha_bar[i - 1])
            deviation = (-torch.expm1(log_alpha_bar[i])).sqrt()
            x = (x - beta / deviation * self.ode.field(x, times[i].expand(n))) / (1 - beta).sqrt()
            x = x + beta.sqrt() * noise() if i > 1 else x
        return self.to_data(x)


def _like(values: Tensor, x: Tensor) -> Tensor:
    """(B,) -> (B, 1, ...), to be multiplied with x."""
    return values.view(-1, *[1] * (x.dim() - 1))
