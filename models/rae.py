"""Regularised autoencoder: small codes and small decoder weights in place of noise, and a density fitted to the codes afterwards.

Ghosh et al. 2020, RAE-L2: eq. 11 and sec. 3.1; a mixture of Gaussians is fitted to the codes after training (sec. 4).
Differs from the paper: the step size is Adam's default and stays as it starts, where the authors' code has 5e-4 and halves it on
plateaus; the mixture is fitted to at most `codes` examples. Errors and codes are means over their dimensions, as in the
authors' code, which has the weights of the published results.
"""

from collections.abc import Iterable, Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from models.autoencoding import CodeModel, Pieces
from models.game import Player
from models.mixtures import FittedMixture


class RAE(CodeModel):
    """Minimises E [mean (g(e(x)) - x)² + β mean e(x)²] + λ ‖θ_g‖²; samples are decoded draws from the fitted density.

    Args:
        beta: β, of the codes.
        decay: λ, of the decoder's weights.
        codes: the largest number of codes that the density is fitted to.
        **pieces: as `EncoderModel`; the prior is a mixture to fit.

    Raises:
        ValueError: for negative weights, or a prior that cannot be fitted.
    """

    def __init__(self, beta: float, decay: float, codes: int, **pieces: Unpack[Pieces]) -> None:
        for name, value in {"beta": beta, "decay": decay}.items():
            if value < 0:
                raise ValueError(f"model.{name} is {value}; expected 0 or more")
        if not isinstance(pieces["prior"], FittedMixture):
            raise ValueError(f"model.prior is {type(pieces['prior']).__name__}; expected FittedMixture")
        super().__init__(**pieces)
        self.beta, self.decay, self.codes = beta, decay, codes

    def players(self) -> Sequence[Player]:
        modules = nn.ModuleList([self.encoder, self.decoder])
        return [Player("autoencoder", modules, self.loss, self.optimizer, samples=True)]

    def loss(self, x: Tensor) -> Tensor:
        z = self.encode(x)
        # no biases, as in the authors' code, which leaves out the dense layer too
        weights = [w for w in self.decoder.parameters() if w.dim() > 1]
        size = torch.stack([w.square().sum() for w in weights]).sum()
        return (self.decode(z) - x).square().mean() + self.beta * z.square().mean() + self.decay * size

    def fit_prior(self, batches: Iterable[Tensor]) -> None:
        codes = torch.cat([self.encode(x) for x in batches])[: self.codes]
        assert isinstance(self.prior, FittedMixture)
        self.prior.fit(codes)
