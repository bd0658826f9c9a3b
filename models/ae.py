"""Autoencoder: reconstruction alone. No loss acts on the distribution of the codes, so the latent space has holes.

Hinton & Salakhutdinov 2006. Differs from the paper: trained end to end, without pre-training of each layer, by squared
error, with Adam (Kingma & Ba 2015, its default step size).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from models.autoencoding import CodeModel
from models.game import Player
from models.losses import squared_error


class Autoencoder(CodeModel):
    """Minimises E‖g(e(x)) - x‖². `prior` has no part in training; samples are decoded draws from the prior."""

    def players(self) -> Sequence[Player]:
        modules = nn.ModuleList([self.encoder, self.decoder])
        return [Player("autoencoder", modules, self.loss, self.optimizer, samples=True)]

    def loss(self, x: Tensor) -> Tensor:
        return squared_error(self.reconstruct(x), x).mean()
