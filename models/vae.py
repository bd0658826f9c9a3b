"""Variational autoencoder: each example has its own posterior, and the KL holds the posteriors near N(0, I).

Kingma & Welling 2014; the KL weight β is Higgins et al. 2017. Differs from the paper: Adam instead of Adagrad, and the
trunk that every family of genbench shares.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from models.contracts import Elbo, Prior
from models.game import GenerativeModel, OptimizerFactory, Player
from models.likelihoods import Likelihood
from models.losses import gaussian_kl, gaussian_log_prob, squared_error
from models.networks import with_head
from models.priors import Normal

DECODED_AT_ONCE = 1024


class VAE(GenerativeModel):
    """Maximises E log p(x|z) - β KL(q(z|x) ‖ p(z)); q(z|x) is a Gaussian of diagonal covariance.

    Args:
        trunk: the map from examples to features.
        decoder: the map from latents to raw outputs.
        prior: N(0, I); the KL is in closed form.
        likelihood: p(x|z) from raw outputs.
        optimizer: the function that makes the optimiser of encoder, decoder and likelihood together.
        beta: the weight of the KL in training. `elbo` always reports weight 1.

    Raises:
        ValueError: for a prior that is not normal, or a negative β.
    """

    def __init__(
        self,
        trunk: nn.Module,
        decoder: nn.Module,
        prior: Prior,
        likelihood: Likelihood,
        optimizer: OptimizerFactory,
        beta: float = 1.0,
        ema_decay: float | None = None,
    ) -> None:
        if not isinstance(prior, Normal):
            raise ValueError(f"model.prior is {type(prior).__name__}; a VAE's KL is in closed form for Normal only")
        if beta < 0:
            raise ValueError(f"model.beta is {beta}; expected 0 or more")
        super().__init__(decoder, prior, likelihood.mean, ema_decay)
        self.encoder = with_head(trunk, 2 * prior.dim)
        self.likelihood, self.optimizer, self.beta = likelihood, optimizer, beta

    def players(self) -> Sequence[Player]:
        modules = nn.ModuleList([self.encoder, self.decoder, self.likelihood])
        return [Player("autoencoder", modules, self.loss, self.optimizer, samples=True)]

    def loss(self, x: Tensor) -> Tensor:
        reconstruction, kl = self.elbo(x)
        return (self.beta * kl - reconstruction).mean()

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var) of q(z|x), (B, Z) each."""
        mu, log_var = self.encoder(x).chunk(2, dim=-1)
        return mu, log_var

    def encode(self, x: Tensor) -> Tensor:
        """The posterior's mean, (B, ...) -> (B, Z)."""
        return self.posterior(x)[0]

    def draw_code(self, x: Tensor) -> Tensor:
        return _draw(*self.posterior(x))

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def elbo(self, x: Tensor) -> Elbo:
        mu, log_var = self.posterior(x)
        return Elbo(self.likelihood.log_prob(self.decoder(_draw(mu, log_var)), x), gaussian_kl(mu, log_var))

    def log_weights(self, x: Tensor, k: int) -> Tensor:
        mu, log_var = (t.expand(k, *t.shape) for t in self.posterior(x))
        z = _draw(mu, log_var)
        # several draws at a time: about as many decoded images as a large minibatch has
        parts = [
            self.likelihood.log_prob(self.decoder(part.flatten(0, 1)), x.repeat(len(part), *[1] * (x.dim() - 1)))
            for part in z.split(max(1, DECODED_AT_ONCE // len(x)))
        ]
        log_likelihood = torch.cat(parts).view(k, len(x))
        return log_likelihood + self.prior.log_prob(z) - gaussian_log_prob(z, mu, log_var)

    def why_no_density(self, binary: bool) -> str | None:
        return self.likelihood.why_no_density(binary)

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Sets a calibrated σ from examples, at draws of the posterior, as in the bound."""

        def error(x: Tensor) -> tuple[float, int]:
            return float(squared_error(self.decode(self.draw_code(x)), x).double().sum()), x.numel()

        with self.scoring():
            self.likelihood.calibrate(error(x) for x in batches)


def _draw(mu: Tensor, log_var: Tensor) -> Tensor:
    """z ~ q(z|x) by reparametrisation. Kingma & Welling 2014, sec. 2.4."""
    return mu + (0.5 * log_var).exp() * torch.randn_like(mu)
