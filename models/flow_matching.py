"""Flow matching: a field learns the velocity of straight paths from noise to data, and an ODE along the field samples.

Lipman et al. 2023, eq. 20 to 23 (the optimal-transport path). Differs from the paper: a solver with equal steps instead of
dopri5, a small U-Net without attention, and a constant step size.
"""

from typing import Unpack

import torch
from torch import Tensor

from models.continuous import ContinuousModel, ODEDecoder, Pieces


class VelocityDecoder(ODEDecoder):
    """dx/ds = v(x, s): the field is the velocity."""

    def velocity(self, x: Tensor, s: Tensor) -> Tensor:
        v: Tensor = self.field(x, s)
        return v


class FlowMatching(ContinuousModel):
    """Minimises E ‖v(x_t, t) - (x₁ - (1 - σ_min) x₀)‖², x_t = (1 - (1 - σ_min) t) x₀ + t x₁, x₀ ~ N(0, I), t ~ U(0, 1).

    Args:
        sigma_min: the standard deviation at t = 1 of the path to an example.
        **pieces: as `ContinuousModel`.

    Raises:
        ValueError: for σ_min outside [0, 1).
    """

    decoder_class = VelocityDecoder

    def __init__(self, sigma_min: float, **pieces: Unpack[Pieces]) -> None:
        if not 0 <= sigma_min < 1:
            raise ValueError(f"model.sigma_min is {sigma_min}; expected a number from 0 to 1")
        super().__init__(**pieces)
        self.sigma_min = sigma_min

    def loss(self, x: Tensor) -> Tensor:
        x1 = self.training_example(x)
        x0, t = torch.randn_like(x1), torch.rand(len(x1), device=x1.device)
        at = t.view(-1, *[1] * (x1.dim() - 1))
        x_t = (1 - (1 - self.sigma_min) * at) * x0 + at * x1
        target = x1 - (1 - self.sigma_min) * x0
        return (self.ode.field(x_t, t) - target).square().mean()
