"""SN-GAN: each layer of the discriminator is divided by its largest singular value, which bounds its Lipschitz constant.

Miyato et al. 2018: spectral norm (the trunk's `norm`), the hinge loss of eq. 16 and 17, and Adam with step size 2e-4,
β = (0, 0.9) and five steps of the discriminator per step of the generator, as the authors' code has for CIFAR-10
(github.com/pfnet-research/sngan_projection). Differs from the paper: the networks. Differs from that code: the step size stays
as it starts, where theirs falls to 0; the generator's minibatch is as large as the discriminator's, where theirs has twice as
many samples.
"""

from typing import ClassVar

from torch import Tensor

from models.adversarial import AdversarialModel


class SNGAN(AdversarialModel):
    """min over D of E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))), min over G of -E D(G(z))."""

    critic_name: ClassVar[str] = "discriminator"

    def critic_loss(self, x: Tensor) -> Tensor:
        d_real, d_fake = self.critic(x), self.critic(self.fake_detached(len(x)))
        return (1 - d_real).relu().mean() + (1 + d_fake).relu().mean()

    def generator_loss(self, x: Tensor) -> Tensor:
        return -self.critic(self.sample(len(x))).mean()
