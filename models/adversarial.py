"""What every adversarial game shares: a generator, and a critic that measures how far its samples are from the data."""

import torch
from torch import Tensor, nn

from models.contracts import Prior
from models.game import GenerativeModel, OptimizerFactory
from models.networks import with_head


class AdversarialModel(GenerativeModel):
    """The pieces of a two-player game; a paper adds the losses.

    Args:
        trunk: examples to features, under the critic (or discriminator).
        decoder: the generator, latents to raw outputs.
        prior: p(z).
        squash: raw outputs to the data's range.
        optimizer: for each of the two players, anew.
        n_critic: the generator plays on every `n_critic`-th minibatch, the critic on each.

    Raises:
        ValueError: for an `n_critic` below 1.
    """

    def __init__(
        self,
        trunk: nn.Module,
        decoder: nn.Module,
        prior: Prior,
        squash: nn.Module,
        optimizer: OptimizerFactory,
        n_critic: int = 1,
        ema_decay: float | None = None,
    ) -> None:
        if n_critic < 1:
            raise ValueError(f"model.n_critic is {n_critic}; expected 1 or more")
        super().__init__(decoder, prior, squash, ema_decay)
        self.critic = nn.Sequential(*with_head(trunk, 1), nn.Flatten(0))
        self.optimizer, self.n_critic = optimizer, n_critic

    def fake_detached(self, n: int) -> Tensor:
        """(n, ...) samples of fresh latents without a graph through the generator, for the critic's turn."""
        with torch.no_grad():
            return self.sample(n)
