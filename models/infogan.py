"""InfoGAN: a part of the latent is a code that must be readable from the sample.

Chen et al. 2016, eq. 6: Q shares the discriminator's trunk; λ = 1, one category of ten and two uniform codes, and Adam with
step sizes 2e-4 and 1e-3 as for MNIST (app. C and C.1). Differs from the paper: Q is a linear layer on the trunk's features,
where the paper has a hidden layer of 128; the deviation of Q's Gaussian is 1, as in the authors' code for MNIST, where the
paper's Q gives it; the code is a part of the data set's latents and not beside them; the noise is normal.
"""

from typing import ClassVar, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from models.adversarial import AdversarialModel, Pieces
from models.losses import discriminator_loss, gaussian_log_prob, non_saturating_loss
from models.networks import with_head
from models.priors import NoiseAndCode


class InfoGAN(AdversarialModel):
    """min over G and Q, max over D of E log D(x) + E log(1 - D(G(z, c))) - λ L(G, Q), G non-saturating.

    L = E log Q(c|G(z, c)) + H(c) bounds the mutual information of code and sample from below (eq. 5). Q has a categorical and,
    for the uniform codes, a Gaussian of deviation 1. `losses` has L as "information", in nats.

    Args:
        information: λ.
        **pieces: as `AdversarialModel`; the prior is a `NoiseAndCode`.

    Raises:
        ValueError: for a negative λ, or for another prior.
    """

    critic_name: ClassVar[str] = "discriminator"
    prior: NoiseAndCode

    def __init__(self, information: float = 1.0, **pieces: Unpack[Pieces]) -> None:
        prior = pieces["prior"]
        if information < 0:
            raise ValueError(f"model.information is {information}; expected 0 or more")
        if not isinstance(prior, NoiseAndCode):
            raise ValueError(f"model.prior is {type(prior).__name__}; InfoGAN takes models.priors.NoiseAndCode")
        # the discriminator's logit, the logits of the category, the means of the uniform codes
        super().__init__(critic=with_head(pieces["trunk"], 1 + prior.categories + prior.uniforms), **pieces)
        self.information = information

    def decoder_input(self, z: Tensor) -> Tensor:
        """The noise, the uniform codes and the category as a one-hot vector, (B, Z) -> (B, Z)."""
        return self.prior.one_hot(z)

    def critic_loss(self, x: Tensor) -> Tensor:
        z = self.prior.sample(len(x), device=self.device)
        with torch.no_grad():
            x_fake = self.decode(z)
        real, fake = self.critic(x), self.critic(x_fake)
        return discriminator_loss(real[:, 0], fake[:, 0]) - self.information * self.bound(z, fake)

    def generator_loss(self, x: Tensor) -> Tensor:
        z = self.prior.sample(len(x), device=self.device)
        fake = self.critic(self.decode(z))
        bound = self.bound(z, fake)
        self.note("information", bound)
        return non_saturating_loss(fake[:, 0]) - self.information * bound

    def bound(self, z: Tensor, outputs: Tensor) -> Tensor:
        """L(G, Q) of latents (B, Z) and the critic's outputs for their samples, a scalar in nats."""
        uniform, category = self.prior.code(z)
        _, logits, mean = outputs.split([1, self.prior.categories, self.prior.uniforms], dim=1)
        log_q = gaussian_log_prob(uniform, mean, torch.zeros_like(mean)) - F.cross_entropy(
            logits, category, reduction="none"
        )
        return log_q.mean() + self.prior.code_entropy
