"""What families with a likelihood and a posterior share: the bounds on log p(x) from draws of q(z|x)."""

from collections.abc import Iterable, Sequence
from typing import NotRequired, TypedDict

import torch
from torch import Tensor, nn

from models.autoencoding import PosteriorModel, draw_gaussian
from models.contracts import Elbo, Prior
from models.game import OptimizerFactory, Player
from models.likelihoods import Likelihood
from models.losses import gaussian_log_prob, squared_error

DECODED_AT_ONCE = 1024


class Pieces(TypedDict):
    """The arguments of `VariationalModel`, which a paper's model passes on."""

    trunk: nn.Module
    decoder: nn.Module
    prior: Prior
    likelihood: Likelihood
    optimizer: OptimizerFactory
    ema_decay: NotRequired[float | None]


class VariationalModel(PosteriorModel):
    """Maximises a bound on log p(x) over encoder, decoder, likelihood, and a prior that is a module, in one player.

    A paper adds its `loss`. A paper whose posterior is no diagonal Gaussian replaces `draw`, and one whose KL has a closed
    form replaces `elbo`.

    Args:
        trunk: the map from examples to features.
        decoder: the map from latents to raw outputs.
        prior: p(z).
        likelihood: p(x|z) from raw outputs.
        optimizer: the function that makes the optimiser of encoder, decoder and likelihood together.
        ema_decay: as `GenerativeModel`.
    """

    def __init__(
        self,
        trunk: nn.Module,
        decoder: nn.Module,
        prior: Prior,
        likelihood: Likelihood,
        optimizer: OptimizerFactory,
        ema_decay: float | None = None,
    ) -> None:
        super().__init__(trunk, decoder, prior, likelihood.to_mean, optimizer, ema_decay)
        self.likelihood = likelihood

    def players(self) -> Sequence[Player]:
        parts = (self.encoder, self.decoder, self.likelihood, self.prior)
        modules = nn.ModuleList(part for part in parts if isinstance(part, nn.Module))
        return [Player("autoencoder", modules, self.loss, self.optimizer, samples=True)]

    def loss(self, x: Tensor) -> Tensor:
        """Minus the ELBO, (B, ...) -> scalar. Kingma & Welling 2014, eq. 3."""
        return -self.elbo(x).value.mean()

    def draw(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """k draws z ~ q(z|x), (k, B, Z), and log q(z|x), (k, B)."""
        mu, log_var = (t.expand(k, *t.shape) for t in self.posterior(x))
        z = draw_gaussian(mu, log_var)
        return z, gaussian_log_prob(z, mu, log_var)

    def elbo(self, x: Tensor) -> Elbo:
        z, log_q = (t.squeeze(0) for t in self.draw(x, 1))
        return Elbo(self.likelihood.log_prob(self.raw(z), x), log_q - self.prior.log_prob(z))

    def log_weights(self, x: Tensor, k: int) -> Tensor:
        z, log_q = self.draw(x, k)
        # several draws at a time: about as many decoded images as a large minibatch has; in training all, for one σ
        draws = k if self.training else max(1, DECODED_AT_ONCE // len(x))
        parts = [
            self.likelihood.log_prob(self.raw(part.flatten(0, 1)), x.repeat(len(part), *[1] * (x.dim() - 1)))
            for part in z.split(draws)
        ]
        log_likelihood = torch.cat(parts).view(k, len(x))
        return log_likelihood + self.prior.log_prob(z) - log_q

    def why_no_density(self, binary: bool) -> str | None:
        return self.likelihood.why_no_density(binary)

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Sets a calibrated σ from examples, at draws of the posterior, as in the bound."""

        def error(x: Tensor) -> tuple[float, int]:
            return float(squared_error(self.decode(self.draw_code(x)), x).double().sum()), x.numel()

        with self.scoring():
            self.likelihood.calibrate(error(x) for x in batches)
