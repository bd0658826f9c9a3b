"""Autoencoder: reconstruction alone. No loss acts on the distribution of the codes, so the latent space has holes.

Hinton & Salakhutdinov 2006. Differs from the paper: trained end to end, without pre-training of each layer, by squared
error, with Adam (Kingma & Ba 2015, its default step size).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from models.contracts import Prior
from models.game import GenerativeModel, OptimizerFactory, Player
from models.losses import squared_error
from models.networks import with_head


class Autoencoder(GenerativeModel):
    """Minimises E‖g(e(x)) - x‖². `prior` has no part in training; samples are decoded draws from the prior.

    Args:
        trunk: the map from examples to features.
        decoder: the map from latents to raw outputs.
        prior: the distribution of the latents of samples.
        squash: the map from raw outputs to the data's range.
        optimizer: the function that makes the optimiser of encoder and decoder together.
    """

    def __init__(
        self,
        trunk: nn.Module,
        decoder: nn.Module,
        prior: Prior,
        squash: nn.Module,
        optimizer: OptimizerFactory,
        ema_decay: float | None = None,
    ) -> None:
        super().__init__(decoder, prior, squash, ema_decay)
        self.encoder = with_head(trunk, prior.dim)
        self.optimizer = optimizer

    def players(self) -> Sequence[Player]:
        modules = nn.ModuleList([self.encoder, self.decoder])
        return [Player("autoencoder", modules, self.loss, self.optimizer, samples=True)]

    def loss(self, x: Tensor) -> Tensor:
        return squared_error(self.reconstruct(x), x).mean()

    def encode(self, x: Tensor) -> Tensor:
        """The code, (B, ...) -> (B, Z)."""
        code: Tensor = self.encoder(x)
        return code

    def draw_code(self, x: Tensor) -> Tensor:
        return self.encode(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))
