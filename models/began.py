"""BEGAN: the critic is an autoencoder, and the game is kept in balance between the errors of real and generated examples.

Berthelot et al. 2017, sec. 3.4: η = 1, λ_k = 0.001, k₀ = 0, Adam with step size 1e-4; γ = 0.5 is in the middle of their range.
Differs from the paper: no halving of the step size when the measure stalls; the latents are normal; the critic's decoder is a
second copy of the generator's network, with its batch norm, which the paper does not use.
"""

from typing import Unpack

import torch
from torch import Tensor, nn

from models.adversarial import AdversarialModel, Pieces
from models.networks import with_head


class BEGAN(AdversarialModel):
    """min over D of L(x) - k L(G(z)), min over G of L(G(z)), L(v) = mean |v - D(v)| over every dimension; eq. BEGAN.

    k ← k + λ_k (γ L(x) - L(G(z))) after each step of the generator, in [0, 1]. `losses` has the measure of convergence
    L(x) + |γ L(x) - L(G(z))| as "convergence".

    Args:
        critic_decoder: the decoder of the autoencoder, of as many latents as the generator.
        gamma: γ, the error of samples as a share of the error of examples; less gives sharper samples of less variety.
        lambda_k: λ_k, the rate of k.
        **pieces: as `AdversarialModel`.

    Raises:
        ValueError: for a γ outside [0, 1], or a rate that is not above 0.
    """

    k: Tensor

    def __init__(
        self, critic_decoder: nn.Module, gamma: float = 0.5, lambda_k: float = 0.001, **pieces: Unpack[Pieces]
    ) -> None:
        if not 0 <= gamma <= 1 or not lambda_k > 0:
            raise ValueError(
                f"model.gamma is {gamma} and model.lambda_k is {lambda_k}; expected a γ of 0 to 1 and a rate above 0"
            )
        encoder = with_head(pieces["trunk"], pieces["prior"].dim)
        super().__init__(critic=nn.Sequential(encoder, critic_decoder, pieces["squash"]), **pieces)
        self.gamma, self.lambda_k = gamma, lambda_k
        self.register_buffer("k", torch.zeros(()))

    def error(self, v: Tensor) -> Tensor:
        """The mean L(v) of a minibatch, (B, ...) -> scalar."""
        error: Tensor = (v - self.critic(v)).abs().mean()
        return error

    def critic_loss(self, x: Tensor) -> Tensor:
        real = self.error(x)
        self._real = real.detach()
        return real - self.k * self.error(self.fake_detached(len(x)))

    def generator_loss(self, x: Tensor) -> Tensor:
        fake = self.error(self.sample(len(x)))
        self._fake = fake.detach()
        return fake

    @torch.no_grad()
    def project_generator(self) -> None:
        """The step of k. Every process of a distributed run has the same k."""
        real, fake = (self.trainer.strategy.reduce(error, reduce_op="mean") for error in (self._real, self._fake))
        balance = self.gamma * real - fake
        self.k.add_(self.lambda_k * balance).clamp_(0, 1)
        self.note("convergence", real + balance.abs())
