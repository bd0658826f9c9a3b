"""Least-squares GAN: the discriminator regresses onto 1 and 0, and a sample far from the boundary still has a gradient.

Mao et al. 2017, eq. 9: a = 0, b = c = 1 in eq. 2. Differs from the paper: the networks; the latents are normal, where the
authors' code draws uniform ones.
"""

from typing import ClassVar

from torch import Tensor

from models.adversarial import AdversarialModel


class LSGAN(AdversarialModel):
    """min over D of ½E (D(x) - 1)² + ½E D(G(z))², min over G of ½E (D(G(z)) - 1)²."""

    critic_name: ClassVar[str] = "discriminator"

    def critic_loss(self, x: Tensor) -> Tensor:
        d_real, d_fake = self.critic(x), self.critic(self.fake_detached(len(x)))
        return 0.5 * ((d_real - 1).square().mean() + d_fake.square().mean())

    def generator_loss(self, x: Tensor) -> Tensor:
        return 0.5 * (self.critic(self.sample(len(x))) - 1).square().mean()
