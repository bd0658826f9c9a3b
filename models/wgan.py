"""Wasserstein GAN: the critic is kept Lipschitz by clipping its weights.

Arjovsky et al. 2017, Alg. 1: RMSprop with step size 5e-5, clipping at 0.01, five critic steps a generator step.
Differs from the paper: nothing (the critic's longer first rounds are in the authors' code, not in the paper).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.adversarial import AdversarialModel
from models.game import Player
from models.losses import wasserstein_loss


class WGAN(AdversarialModel):
    """min over G, max over f of E f(x) - E f(G(z)), every weight of f in [-clip, clip].

    Args:
        clip: bound on every parameter of the critic, biases included; never on running statistics.
        **pieces: as `AdversarialModel`.

    Raises:
        ValueError: for a clip that is not above 0.
    """

    def __init__(self, clip: float = 0.01, **pieces: Any) -> None:
        if not clip > 0:
            raise ValueError(f"model.clip is {clip}; expected a number above 0")
        super().__init__(**pieces)
        self.clip = clip

    def players(self) -> Sequence[Player]:
        return [
            Player("critic", self.critic, self.loss_critic, self.optimizer, project=self.clip_critic),
            Player("generator", self.decoder, self.loss_generator, self.optimizer, every=self.n_critic, samples=True),
        ]

    def loss_critic(self, x: Tensor) -> Tensor:
        return wasserstein_loss(self.critic(x), self.critic(self.fake_detached(len(x))))

    def loss_generator(self, x: Tensor) -> Tensor:
        return -self.critic(self.sample(len(x))).mean()

    @torch.no_grad()
    def clip_critic(self) -> None:
        for weight in self.critic.parameters():
            weight.clamp_(-self.clip, self.clip)
