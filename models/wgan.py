"""Wasserstein GAN: clipping the critic's weights keeps the critic Lipschitz.

Arjovsky et al. 2017, Alg. 1: RMSprop with step size 5e-5, clipping at 0.01, five critic steps per generator step.
Differs from the paper: nothing (the critic's longer first rounds are in the authors' code, not in the paper).
"""

from typing import Unpack

import torch
from torch import Tensor

from models.adversarial import AdversarialModel, Pieces
from models.losses import wasserstein_loss


class WGAN(AdversarialModel):
    """min over G, max over f of E f(x) - E f(G(z)), every weight of f in [-clip, clip].

    Args:
        clip: the bound on every parameter of the critic, biases included; never on running statistics.
        **pieces: as `AdversarialModel`.

    Raises:
        ValueError: for a clip that is not above 0.
    """

    def __init__(self, clip: float = 0.01, **pieces: Unpack[Pieces]) -> None:
        if not clip > 0:
            raise ValueError(f"model.clip is {clip}; expected a number above 0")
        super().__init__(**pieces)
        self.clip = clip

    def critic_loss(self, x: Tensor) -> Tensor:
        return wasserstein_loss(self.critic(x), self.critic(self.fake_detached(len(x))))

    def generator_loss(self, x: Tensor) -> Tensor:
        return -self.critic(self.sample(len(x))).mean()

    @torch.no_grad()
    def project_critic(self) -> None:
        """Clips every parameter of the critic."""
        for weight in self.critic.parameters():
            weight.clamp_(-self.clip, self.clip)
