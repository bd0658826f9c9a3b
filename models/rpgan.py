"""Relativistic pairing GAN with R1 and R2: the loss of R3GAN, with a proof of local convergence.

Huang et al. 2024, sec. 2: each real example is compared with one sample, and the critic's gradient is penalised at both.
The numbers are the start of the authors' schedules for CIFAR-10. Differs from the paper: no schedules and no average of
weights; the networks.
"""

from typing import ClassVar, Unpack

from torch import Tensor
from torch.nn.functional import softplus

from models.adversarial import AdversarialModel, Pieces
from models.losses import discriminator_loss, non_saturating_loss, squared_gradient
from models.networks.norm import refuse_batch_norm


class RpGAN(AdversarialModel):
    """min over G, max over D of E log σ(D(x) - D(G(z))) - ½γ E ‖∇D(x)‖² - ½γ E ‖∇D(G(z))‖², G non-saturating.

    Args:
        gamma: γ.
        paired: true compares pairs; false is the paper's other GAN, which tells examples from samples with the same two
            penalties: max over D of E log D(x) + E log(1 - D(G(z))).
        **pieces: as `AdversarialModel`.

    Raises:
        ValueError: for a negative γ, a `paired` that is neither true nor false, or batch norm in the discriminator.
    """

    critic_name: ClassVar[str] = "discriminator"

    def __init__(self, gamma: float = 0.05, paired: bool = True, **pieces: Unpack[Pieces]) -> None:
        if gamma < 0:
            raise ValueError(f"model.gamma is {gamma}; expected 0 or more")
        if not isinstance(paired, bool):
            raise ValueError(f"model.paired is {paired!r}; expected true or false")
        super().__init__(**pieces)
        refuse_batch_norm(self.critic, "RpGAN")
        self.gamma, self.paired = gamma, paired

    def critic_loss(self, x: Tensor) -> Tensor:
        x_fake = self.fake_detached(len(x))
        loss = self._discriminator_loss(self.critic(x), self.critic(x_fake))
        r1, r2 = (squared_gradient(self.critic, at).mean() for at in (x, x_fake))
        return loss + 0.5 * self.gamma * (r1 + r2)

    def generator_loss(self, x: Tensor) -> Tensor:
        fake = self.critic(self.sample(len(x)))
        return softplus(self.critic(x) - fake).mean() if self.paired else non_saturating_loss(fake)

    def _discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real).mean() if self.paired else discriminator_loss(real, fake)
