"""VAE-GAN: the discriminator of a GAN measures the reconstruction of a VAE, by its features.

Larsen et al. 2016, Alg. 1: three players. Differs from the paper: the players take turns on a minibatch instead of one joint
step, with fresh noise each; the decoder's adversarial loss is the non-saturating one; the feature layer is the trunk's last.
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from models.autoencoding import Pieces, PosteriorModel, draw_gaussian
from models.game import Player
from models.losses import gaussian_kl, non_saturating_loss, squared_error
from models.networks import with_head
from models.priors import Normal


class VAEGAN(PosteriorModel):
    """Encoder: KL(q(z|x) ‖ N(0, I)) + ½‖D_l(x̃) - D_l(x)‖². Decoder: γ ½‖D_l(x̃) - D_l(x)‖² - log D(x̃) - log D(x_p).

    Discriminator: -log D(x) - log(1 - D(x̃)) - log(1 - D(x_p)). x̃ is decoded from q(z|x), x_p from the prior; D_l are features.

    Args:
        critic_trunk: the map from examples to features D_l; the discriminator is a linear layer on the features.
        gamma: γ, the weight of the reconstruction for the decoder.
        **pieces: as `EncoderModel`; the prior is N(0, I), because the KL is in closed form.

    Raises:
        ValueError: for a prior that is not normal, or a negative γ.
    """

    def __init__(self, critic_trunk: nn.Module, gamma: float, **pieces: Unpack[Pieces]) -> None:
        prior = pieces["prior"]
        if not isinstance(prior, Normal):
            raise ValueError(f"model.prior is {type(prior).__name__}; a VAE-GAN's KL is in closed form for Normal only")
        if gamma < 0:
            raise ValueError(f"model.gamma is {gamma}; expected 0 or more")
        super().__init__(**pieces)
        self.features, self.head = with_head(critic_trunk, 1)
        self.gamma = gamma

    def players(self) -> Sequence[Player]:
        discriminator = nn.ModuleList([self.features, self.head])
        return [
            Player("discriminator", discriminator, self.discriminator_loss, self.optimizer),
            Player("encoder", self.encoder, self.encoder_loss, self.optimizer),
            Player("decoder", self.decoder, self.decoder_loss, self.optimizer, samples=True),
        ]

    def discriminator(self, x: Tensor) -> Tensor:
        """Logits, (B, ...) -> (B,)."""
        logits: Tensor = self.head(self.features(x))
        return logits.flatten()

    def discriminator_loss(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            fakes = self.decode(self.draw_code(x)), self.sample(len(x))
        return sum(
            (non_saturating_loss(-self.discriminator(fake)) for fake in fakes),
            non_saturating_loss(self.discriminator(x)),
        )

    def encoder_loss(self, x: Tensor) -> Tensor:
        mu, log_var = self.posterior(x)
        return (gaussian_kl(mu, log_var) + self.feature_error(self.decode(draw_gaussian(mu, log_var)), x)).mean()

    def decoder_loss(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            codes = self.draw_code(x)
        restored = self.decode(codes)
        fooled = non_saturating_loss(self.discriminator(restored)) + non_saturating_loss(
            self.discriminator(self.sample(len(x)))
        )
        return self.gamma * self.feature_error(restored, x).mean() + fooled

    def feature_error(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """½‖D_l(x̂) - D_l(x)‖², (B, ...) -> (B,): minus log N(D_l(x); D_l(x̂), I) without its constant. Eq. 7 and 8."""
        return 0.5 * squared_error(self.features(x_hat), self.features(x))
