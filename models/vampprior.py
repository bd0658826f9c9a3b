"""VAE with a VampPrior: the prior is a mixture of the posteriors of learned pseudo-inputs.

Tomczak & Welling 2018. Differs from the paper: pseudo-inputs pass the data's own squash (a sigmoid for images) instead of a
clipping to [0, 1], and start spread out; one layer of latents, Adam without normalised gradients, no warm-up of the KL.
"""

import math
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from models.mixtures import Mixture
from models.variational import Pieces, VariationalModel


class VampPrior(Mixture):
    """p(z) = 1/K Σₖ q(z|uₖ), eq. 9; q is the model's posterior, and the pseudo-inputs uₖ are parameters.

    Args:
        dim: Z.
        squash: the map from parameters to the data's range.
        shape: of an example.
        pseudo_inputs: K.

    Raises:
        ValueError: for fewer pseudo-inputs than 1.
    """

    def __init__(self, dim: int, squash: nn.Module, shape: Sequence[int], pseudo_inputs: int) -> None:
        if pseudo_inputs < 1:
            raise ValueError(f"model.prior.pseudo_inputs is {pseudo_inputs}; expected 1 or more")
        super().__init__(dim)
        self.inputs, self.squash = nn.Parameter(torch.randn(pseudo_inputs, *shape)), squash
        self._encoder: tuple[nn.Module, ...] = ()

    def connect(self, encoder: nn.Module) -> None:
        """Sets the encoder of q, (B, ...) -> (B, 2Z). Its model owns it: a module that is registered twice is saved twice."""
        self._encoder = (encoder,)

    def posteriors(self) -> tuple[Tensor, Tensor]:
        """(mu, log_var) of the pseudo-inputs, (K, Z) each."""
        (encoder,) = self._encoder
        mu, log_var = encoder(self.squash(self.inputs)).chunk(2, dim=-1)
        return mu, log_var

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        mu, log_var = self.posteriors()
        return torch.full_like(mu[:, 0], -math.log(len(mu))), mu, torch.diag_embed((0.5 * log_var).exp())

    def log_prob(self, z: Tensor) -> Tensor:
        """As every mixture's. The covariances are diagonal: two products of matrices, whose differences need float64."""
        mu, log_var = (t.double() for t in self.posteriors())
        precision, latents = (-log_var).exp(), z.double()
        distance = latents.square() @ precision.T - 2 * latents @ (mu * precision).T + (mu.square() * precision).sum(1)
        constant = math.log(len(mu)) + 0.5 * (log_var.sum(1) + self.dim * math.log(2 * math.pi))
        return (-0.5 * distance - constant).logsumexp(-1).to(z)


class VampPriorVAE(VariationalModel):
    """Maximises E log p(x|z) + log p(z) - log q(z|x) over encoder, decoder, likelihood and pseudo-inputs.

    Args:
        **pieces: as `VariationalModel`.

    Raises:
        ValueError: for another prior.
    """

    def __init__(self, **pieces: Unpack[Pieces]) -> None:
        prior = pieces["prior"]
        if not isinstance(prior, VampPrior):
            raise ValueError(f"model.prior is {type(prior).__name__}; expected VampPrior")
        super().__init__(**pieces)
        prior.connect(self.encoder)
