"""Adversarial autoencoder: a discriminator holds the codes to the prior.

Makhzani et al. 2015, sec. 2, with a deterministic encoder. Differs from the paper: the encoder's two phases (reconstruction, then
fooling the discriminator) are one step on the weighted sum of their losses, with Adam; the prior is N(0, I), without a scale.
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
    """min over e, g of w ½E‖g(e(x)) - x‖² - E log D(e(x)); max over D of E log D(z) + E log(1 - D(e(x))), z ~ p(z).

    Args:
        code_trunk: the map from codes (B, Z) to features; the discriminator is a linear layer on the features.
        reconstruction_weight: w, that is 1/σ² of a Gaussian likelihood.
        **pieces: as `EncoderModel`.

    Raises:
        ValueError: for a weight that is not above 0.
    """

    def __init__(self, code_trunk: nn.Module, reconstruction_weight: float = 1.0, **pieces: Unpack[Pieces]) -> None:
        if not reconstruction_weight > 0:
            raise ValueError(f"model.reconstruction_weight is {reconstruction_weight}; expected a number above 0")
        super().__init__(**pieces)
        self.reconstruction_weight = reconstruction_weight
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
        error = 0.5 * squared_error(self.decode(codes), x).mean()
        return self.reconstruction_weight * error + non_saturating_loss(self.discriminator(codes))
