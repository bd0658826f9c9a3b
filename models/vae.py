"""Variational autoencoder: each example has its own posterior, and the KL holds the posteriors near N(0, I).

Kingma & Welling 2014; the KL weight β is Higgins et al. 2017. Differs from the paper: Adam instead of Adagrad, and the
trunk that every family of genbench shares.
"""

from torch import Tensor, nn

from models.autoencoding import draw_gaussian
from models.contracts import Elbo, Prior
from models.game import OptimizerFactory
from models.likelihoods import Likelihood
from models.losses import gaussian_kl
from models.priors import Normal
from models.variational import VariationalModel


class VAE(VariationalModel):
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
        super().__init__(trunk, decoder, prior, likelihood, optimizer, ema_decay)
        self.beta = beta

    def loss(self, x: Tensor) -> Tensor:
        reconstruction, kl = self.elbo(x)
        return (self.beta * kl - reconstruction).mean()

    def elbo(self, x: Tensor) -> Elbo:
        mu, log_var = self.posterior(x)
        z = draw_gaussian(mu, log_var)
        return Elbo(self.likelihood.log_prob(self.decoder(z), x), gaussian_kl(mu, log_var))
