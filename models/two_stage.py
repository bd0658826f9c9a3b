"""Two-stage VAE: a second VAE learns the distribution of the codes of a first one.

Dai & Wipf 2019, sec. 4: the first VAE is trained, then frozen; the second has as many latents as the first, and both learn the
variance γ of their Gaussian decoders. Both networks of the second have a skip connection from input to output, as in the authors'
code (network/two_stage_vae_model.py): without it, codes near N(0, I) leave the second stage where it starts. Differs from the
paper: the second stage sees fresh codes of minibatches of images, and the step size stays as it starts. With a moving average
of weights, only the first stage is averaged.
"""

import math
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from models.autoencoding import draw_gaussian
from models.game import Player
from models.likelihoods import Gaussian
from models.losses import gaussian_kl, gaussian_log_prob
from models.networks import with_head
from models.networks.mlp import Skip
from models.priors import Normal
from models.variational import Pieces, VariationalModel


class TwoStageVAE(VariationalModel):
    """u ~ N(0, I), z = h(u) + √γ_z ε, x = g(z). The latents of the whole are (u, ε) ~ N(0, I), (B, 2Z), so that X = g(Z) holds.

    A code of an example has the ε that leads back to z: reconstructions are those of the first stage.

    Args:
        second_trunk: the map from codes (B, Z) to features, of the second encoder.
        second_decoder: h, (B, Z) -> (B, Z).
        first_stage: the share of the budget of the first stage.
        **pieces: as `VariationalModel`, of the first stage; the prior is normal.

    Raises:
        ValueError: for a prior that is not normal, or a share outside (0, 1).
    """

    def __init__(
        self, second_trunk: nn.Module, second_decoder: nn.Module, first_stage: float, **pieces: Unpack[Pieces]
    ) -> None:
        prior = pieces["prior"]
        if not isinstance(prior, Normal):
            raise ValueError(
                f"model.prior is {type(prior).__name__}; a two-stage VAE's KL is in closed form for Normal only"
            )
        if not 0 < first_stage < 1:
            raise ValueError(f"model.first_stage is {first_stage}; expected a share between 0 and 1")
        super().__init__(**pieces)
        self.prior, self.first_stage = Normal(2 * prior.dim), first_stage
        self.second_encoder = Skip(with_head(second_trunk, 2 * prior.dim), prior.dim, 2 * prior.dim)
        self.second_decoder = Skip(second_decoder, prior.dim, prior.dim)
        self.second_likelihood = Gaussian(nn.Identity(), "learned")

    def players(self) -> Sequence[Player]:
        first = nn.ModuleList([self.encoder, self.decoder, self.likelihood])
        second = nn.ModuleList([self.second_encoder, self.second_decoder, self.second_likelihood])
        change = self.first_stage
        return [
            Player("autoencoder", first, self.first_loss, self.optimizer, samples=True, phase=(0.0, change)),
            Player("second_stage", second, self.second_loss, self.optimizer, phase=(change, 1.0)),
        ]

    def first_loss(self, x: Tensor) -> Tensor:
        """Minus the ELBO of the first VAE."""
        mu, log_var = self.posterior(x)
        log_likelihood = self.likelihood.log_prob(self.decoder(draw_gaussian(mu, log_var)), x)
        return (gaussian_kl(mu, log_var) - log_likelihood).mean()

    def second_loss(self, x: Tensor) -> Tensor:
        """Minus the ELBO of the second VAE on codes z ~ q(z|x)."""
        with torch.no_grad():
            z = draw_gaussian(*self.posterior(x))
        mu, log_var = self.second_posterior(z)
        log_likelihood = self.second_likelihood.log_prob(self.second_decoder(draw_gaussian(mu, log_var)), z)
        return (gaussian_kl(mu, log_var) - log_likelihood).mean()

    def second_posterior(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var) of q(u|z), (B, Z) each."""
        mu, log_var = self.second_encoder(z).chunk(2, dim=-1)
        return mu, log_var

    def decoder_input(self, z: Tensor) -> Tensor:
        """z of the first stage, from latents (u, ε): g₂(u) + √γ_z ε, (B, 2Z) -> (B, Z)."""
        u, noise = z.chunk(2, dim=-1)
        first: Tensor = self.second_decoder(u) + self.second_likelihood.sigma * noise
        return first

    def encode(self, x: Tensor) -> Tensor:
        """The code of the means of both posteriors, (B, ...) -> (B, 2Z)."""
        z = self.posterior(x)[0]
        return self._latents(self.second_posterior(z)[0], z)

    def draw_code(self, x: Tensor) -> Tensor:
        return self.draw(x, 1)[0].squeeze(0)

    def draw(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Draws of (u, ε), (k, B, 2Z), and their log q: that of (u, z), and Z log √γ_z for the change from z to ε."""
        first = [t.expand(k, *t.shape).flatten(0, 1) for t in self.posterior(x)]
        z = draw_gaussian(*first)
        second = self.second_posterior(z)
        u = draw_gaussian(*second)
        volume = z.shape[-1] * math.log(self.second_likelihood.sigma)
        log_q = gaussian_log_prob(z, *first) + gaussian_log_prob(u, *second) + volume
        return self._latents(u, z).unflatten(0, (k, -1)), log_q.view(k, -1)

    def _latents(self, u: Tensor, z: Tensor) -> Tensor:
        """(u, ε) of a pair of codes, (B, Z) each -> (B, 2Z)."""
        return torch.cat([u, (z - self.second_decoder(u)) / self.second_likelihood.sigma], dim=-1)
