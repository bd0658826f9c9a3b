"""Importance weighted autoencoder: a VAE trained by a bound that several draws of the posterior make tighter.

Burda et al. 2016. Differs from the paper: one layer of latents, and the step size stays as it starts.
"""

import math
from typing import Unpack

from torch import Tensor

from models.variational import Pieces, VariationalModel


class IWAE(VariationalModel):
    """Maximises E log 1/k Σᵢ p(x, zᵢ) / q(zᵢ|x), zᵢ ~ q(z|x) (eq. 8), by its reparametrised gradient (eq. 13).

    Args:
        k: draws of the posterior for each example in training; 1 is the VAE.
        **pieces: as `VariationalModel`.

    Raises:
        ValueError: for a k below 1.
    """

    def __init__(self, k: int, **pieces: Unpack[Pieces]) -> None:
        if k < 1:
            raise ValueError(f"model.k is {k}; expected 1 or more")
        super().__init__(**pieces)
        self.k = k

    def loss(self, x: Tensor) -> Tensor:
        return (math.log(self.k) - self.log_weights(x, self.k).logsumexp(0)).mean()
