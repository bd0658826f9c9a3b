"""DRAGAN: a penalty on the discriminator's gradient around the data, where sharp gradients lead to mode collapse.

Kodali et al. 2017, sec. 2, with λ = 10 and k = 1. The perturbation and Adam with step size 1e-4 and β = (0.5, 0.9) are from
the authors' code (github.com/kodalinaveen3/DRAGAN). Differs from the paper: x + δ is uniform on the segment from x to
x + noise·σ·u, with σ the deviation of the minibatch and u ~ U(0, 1) for each dimension, as in the authors' code, and not
δ ~ N(0, cI).
"""

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from models.adversarial import AdversarialModel, Pieces
from models.losses import discriminator_loss, gradient_penalty, non_saturating_loss
from models.networks.norm import refuse_batch_norm


class DRAGAN(AdversarialModel):
    """min over G, max over D of E log D(x) + E log(1 - D(G(z))) - λ E (‖∇D(x + δ)‖ - 1)², the gradient of the logit.

    Args:
        penalty: λ.
        noise: the size of the perturbation, in standard deviations of the minibatch.
        **pieces: as `AdversarialModel`.

    Raises:
        ValueError: for a negative λ or noise, or for batch norm in the discriminator.
    """

    critic_name: ClassVar[str] = "discriminator"

    def __init__(self, penalty: float = 10.0, noise: float = 0.5, **pieces: Unpack[Pieces]) -> None:
        if penalty < 0 or noise < 0:
            raise ValueError(f"model.penalty is {penalty} and model.noise is {noise}; expected 0 or more")
        super().__init__(**pieces)
        refuse_batch_norm(self.critic, "DRAGAN")
        self.penalty, self.noise = penalty, noise

    def critic_loss(self, x: Tensor) -> Tensor:
        loss = discriminator_loss(self.critic(x), self.critic(self.fake_detached(len(x))))
        perturbed = x + self.noise * x.std() * torch.rand_like(x)
        return loss + self.penalty * gradient_penalty(self.critic, x, perturbed)

    def generator_loss(self, x: Tensor) -> Tensor:
        return non_saturating_loss(self.critic(self.sample(len(x))))
