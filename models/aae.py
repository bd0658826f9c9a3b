"""Adversarial autoencoder: a discriminator holds the codes to the prior.

Makhzani et al. 2015, sec. 2, with a deterministic encoder. Differs from the paper: the encoder's two phases (reconstruction, then
fooling the discriminator) are one step on the sum of their losses, with Adam; the prior is N(0, I) without a scale of its own.
"""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from models.autoencoding import CodeModel, Pieces
from models.game import Player
from models.losses import discriminator_loss, non_saturating_loss, squared_error
from models.networks import with_head


class AAE(CodeModel):
    """min over e, g of ½E‖g(e(x)) - x‖² - E log D(e(x)); max over D of E log D(z) + E log(1 - D(e(x))), z ~ p(z).

    Args:
        code_trunk: the map from codes (B, Z) to features; the discriminator is a linear layer on the features.
        **pieces: as `EncoderModel`.
    """

    def __init__(self, code_trunk: nn.Module, **pieces: Unpack[Pieces]) -> None:
        super().__init__(**pieces)
        self.discriminator = nn.Sequential(*with_head(code_trunk, 1), nn.Flatten(0))

    def players(self) -> Sequence[Player]:
        modules = nn.ModuleList([self.encoder, self.decoder])
        return [
            Player("discriminator", self.discriminator, self.discriminator_loss, self.optimizer),
            Player("autoencoder", modules, self.autoencoder_loss, self.optimizer, samples=True),
        ]

    def discriminator_loss(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            codes = self.encode(x)
        latents = self.prior.sample(len(x), device=x.device)
        return discriminator_loss(self.discriminator(latents), self.discriminator(codes))

    def autoencoder_loss(self, x: Tensor) -> Tensor:
        codes = self.encode(x)
        return 0.5 * squared_error(self.decode(codes), x).mean() + non_saturating_loss(self.discriminator(codes))
