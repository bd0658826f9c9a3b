"""Wasserstein autoencoder: a penalty on the distance between all codes and the prior, and none on the code of an example.

Tolstikhin et al. 2018, Alg. 2 (WAE-MMD) with the inverse multiquadratic kernel. Differs from the paper: the step size stays as it
starts.
"""

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor, nn

from models.autoencoding import CodeModel, Pieces
from models.game import Player
from models.losses import imq_mmd, squared_error


class WAE(CodeModel):
    """Minimises E‖g(e(x)) - x‖² + λ MMD²(e(x), z), z ~ p(z).

    Args:
        penalty: λ.
        **pieces: as `EncoderModel`.

    Raises:
        ValueError: for a negative λ.
    """

    def __init__(self, penalty: float, **pieces: Unpack[Pieces]) -> None:
        if penalty < 0:
            raise ValueError(f"model.penalty is {penalty}; expected 0 or more")
        super().__init__(**pieces)
        self.penalty = penalty

    def players(self) -> Sequence[Player]:
        modules = nn.ModuleList([self.encoder, self.decoder])
        return [Player("autoencoder", modules, self.loss, self.optimizer, samples=True)]

    def loss(self, x: Tensor) -> Tensor:
        codes = self.encode(x)
        latents = self.prior.sample(len(x), device=x.device)
        return squared_error(self.decode(codes), x).mean() + self.penalty * imq_mmd(codes, latents)
