"""WGAN-GP: a penalty on the critic's gradient keeps the critic Lipschitz.

Gulrajani et al. 2017, Alg. 1: Adam with step size 1e-4 and β = (0, 0.9), λ = 10, five critic steps per generator step, no
batch norm in the critic. Differs from the paper: nothing.
"""

from typing import Unpack

from torch import Tensor

from models.adversarial import AdversarialModel, Pieces
from models.losses import gradient_penalty, wasserstein_loss
from models.networks.norm import refuse_batch_norm


class WGANGP(AdversarialModel):
    """min over G, max over f of E f(x) - E f(G(z)) - λ E (‖∇f(x̂)‖ - 1)².

    Args:
        penalty: λ.
        **pieces: as `AdversarialModel`.

    Raises:
        ValueError: for a negative λ, or for batch norm in the critic, whose gradient at one example would depend on the
            other examples (sec. 4).
    """

    def __init__(self, penalty: float = 10.0, **pieces: Unpack[Pieces]) -> None:
        if penalty < 0:
            raise ValueError(f"model.penalty is {penalty}; expected 0 or more")
        super().__init__(**pieces)
        refuse_batch_norm(self.critic, "WGAN-GP")
        self.penalty = penalty

    def critic_loss(self, x: Tensor) -> Tensor:
        x_fake = self.fake_detached(len(x))
        distance = wasserstein_loss(self.critic(x), self.critic(x_fake))
        return distance + self.penalty * gradient_penalty(self.critic, x, x_fake)

    def generator_loss(self, x: Tensor) -> Tensor:
        return -self.critic(self.sample(len(x))).mean()
