"""Bidirectional GAN: an encoder learns to invert the generator, because a discriminator sees pairs (x, z).

Donahue et al. 2017; Dumoulin et al. 2017 (ALI) play the same game with a Gaussian q(z|x). Differs from the paper: z is
normal, and joins the discriminator once, beside the trunk's features; the players take turns in place of one joint step (sec.
3.4); the step size stays as it starts; no weight decay.
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from models.autoencoding import CodeModel, Pieces
from models.game import Player
from models.losses import discriminator_loss, non_saturating_loss
from models.networks.pairs import PairCritic


class BiGAN(CodeModel):
    """min over G, E, max over D of E log D(x, E(x)) + E log(1 - D(G(z), z)); eq. 3.

    Generator and encoder maximise log D(G(z), z) and log(1 - D(x, E(x))) instead (sec. 3.4).

    Args:
        critic_trunk: the map from examples to features, for the discriminator.
        **pieces: as `EncoderModel`.
    """

    def __init__(self, critic_trunk: nn.Module, **pieces: Unpack[Pieces]) -> None:
        super().__init__(**pieces)
        self.discriminator = PairCritic(critic_trunk, self.prior.dim)

    def players(self) -> Sequence[Player]:
        modules = nn.ModuleList([self.encoder, self.decoder])
        return [
            Player("discriminator", self.discriminator, self.discriminator_loss, self.optimizer),
            Player("generator", modules, self.generator_loss, self.optimizer, samples=True),
        ]

    def discriminator_loss(self, x: Tensor) -> Tensor:
        z = self.prior.sample(len(x), device=x.device)
        with torch.no_grad():
            codes, samples = self.encode(x), self.decode(z)
        return discriminator_loss(self.discriminator(x, codes), self.discriminator(samples, z))

    def generator_loss(self, x: Tensor) -> Tensor:
        z = self.prior.sample(len(x), device=x.device)
        encoded, decoded = self.discriminator(x, self.encode(x)), self.discriminator(self.decode(z), z)
        return non_saturating_loss(-encoded) + non_saturating_loss(decoded)
