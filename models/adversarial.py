"""The two-player game that every adversarial family shares: a generator, and a critic that measures its samples."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from models.contracts import Prior
from models.game import GenerativeModel, OptimizerFactory, Player
from models.networks import with_head


class Pieces(TypedDict):
    """The arguments of `AdversarialModel`, which a paper's model passes on."""

    trunk: nn.Module
    decoder: nn.Module
    prior: Prior
    squash: nn.Module
    optimizer: OptimizerFactory
    generator_optimizer: NotRequired[OptimizerFactory | None]
    n_critic: NotRequired[int]
    ema_decay: NotRequired[float | None]


class AdversarialModel(GenerativeModel, ABC):
    """A critic and a generator. A paper adds the loss of each, and may add a critic and a projection of each player.

    Args:
        trunk: the map from examples to features.
        decoder: the generator, from latents to raw outputs.
        prior: p(z).
        squash: the map from raw outputs to the data's range.
        optimizer: the function that makes the optimiser of each of the two players.
        generator_optimizer: the function that makes the generator's optimiser, if it has another one.
        n_critic: the critic's steps per step of the generator: the generator plays on every `n_critic`-th minibatch.
        ema_decay: as `GenerativeModel`.
        critic: the paper's critic on the trunk; without it, the critic (or discriminator) is a linear layer on the features,
            (B, ...) -> (B,).

    Raises:
        ValueError: for an `n_critic` below 1.
    """

    # the paper's name for the critic, used in records and curves
    critic_name: ClassVar[str] = "critic"
    # run after each step of the critic, and of the generator
    project_critic: Callable[[], None] | None = None
    project_generator: Callable[[], None] | None = None

    def __init__(
        self,
        trunk: nn.Module,
        decoder: nn.Module,
        prior: Prior,
        squash: nn.Module,
        optimizer: OptimizerFactory,
        generator_optimizer: OptimizerFactory | None = None,
        n_critic: int = 1,
        ema_decay: float | None = None,
        critic: nn.Module | None = None,
    ) -> None:
        if n_critic < 1:
            raise ValueError(f"model.n_critic is {n_critic}; expected 1 or more")
        super().__init__(decoder, prior, squash, ema_decay)
        self.critic = critic or nn.Sequential(*with_head(trunk, 1), nn.Flatten(0))
        self.optimizer, self.generator_optimizer = optimizer, generator_optimizer or optimizer
        self.n_critic = n_critic

    def players(self) -> Sequence[Player]:
        return [
            Player(self.critic_name, self.critic, self.critic_loss, self.optimizer, project=self.project_critic),
            Player(
                "generator",
                self.decoder,
                self.generator_loss,
                self.generator_optimizer,
                every=self.n_critic,
                project=self.project_generator,
                samples=True,
            ),
        ]

    @abstractmethod
    def critic_loss(self, x: Tensor) -> Tensor:
        """The critic's loss on a real minibatch, (B, ...) -> scalar."""

    @abstractmethod
    def generator_loss(self, x: Tensor) -> Tensor:
        """The generator's loss on as many samples as the minibatch has examples, (B, ...) -> scalar."""

    def fake_detached(self, n: int) -> Tensor:
        """(n, ...) samples of fresh latents without a graph through the generator, for the critic's turn."""
        with torch.no_grad():
            return self.sample(n)
