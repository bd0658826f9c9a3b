"""Improved GAN: a discriminator that compares the examples of a minibatch, and a generator that may match features.

Salimans et al. 2016: minibatch discrimination (sec. 3.2), and feature matching as a choice of the generator's loss (sec.
3.1), because the paper's best samples are made without it (table 3). Step size, β₁, and the numbers of kernels and
dimensions are from the authors' code (github.com/openai/improved-gan). Differs from the paper: no labels, label smoothing,
historical averaging or virtual batch norm; closeness is a mean over the other examples and not a sum, so that it does not
depend on the batch size. Differs from that code: one generator step per minibatch in place of three; normal latents in place of
uniform ones; a constant step size, where theirs falls to 0 in the last third; a plain tensor T, where theirs is normalised and
starts from data.
"""

from typing import ClassVar, Literal, Unpack, cast

import torch
from torch import Tensor, nn

from models.adversarial import AdversarialModel, Pieces
from models.losses import discriminator_loss, non_saturating_loss
from models.networks import with_head
from models.networks.norm import norm_weights_like


class ImprovedGAN(AdversarialModel):
    """The discriminator of a GAN on features and on their closeness to the features of the minibatch's other examples.

    Args:
        generator_loss: "non_saturating", or "feature_matching": ‖E f(x) - E f(G(z))‖² for the trunk's features f.
        kernels: B, the number of measures of closeness.
        kernel_dim: C, the dimension of the space that each measures in.
        **pieces: as `AdversarialModel`.

    Raises:
        ValueError: for another `generator_loss`, or a number below 1.
    """

    critic_name: ClassVar[str] = "discriminator"
    critic: nn.Sequential

    def __init__(
        self,
        generator_loss: Literal["non_saturating", "feature_matching"] = "non_saturating",
        kernels: int = 100,
        kernel_dim: int = 5,
        **pieces: Unpack[Pieces],
    ) -> None:
        if generator_loss not in ("non_saturating", "feature_matching"):
            raise ValueError(
                f"model.generator_loss is {generator_loss!r}; expected one of non_saturating, feature_matching"
            )
        if kernels < 1 or kernel_dim < 1:
            raise ValueError(f"model.kernels is {kernels} and model.kernel_dim is {kernel_dim}; expected 1 or more")
        critic = nn.Sequential(*with_head(Closeness(pieces["trunk"], kernels, kernel_dim), 1), nn.Flatten(0))
        super().__init__(critic=critic, **pieces)
        self.matches_features = generator_loss == "feature_matching"

    def critic_loss(self, x: Tensor) -> Tensor:
        return discriminator_loss(self.critic(x), self.critic(self.fake_detached(len(x))))

    def generator_loss(self, x: Tensor) -> Tensor:
        x_fake = self.sample(len(x))
        if self.matches_features:
            trunk = cast(Closeness, self.critic[0]).trunk
            gap: Tensor = trunk(x).mean(0) - trunk(x_fake).mean(0)
            return gap.square().sum()
        return non_saturating_loss(self.critic(x_fake))


class Closeness(nn.Module):
    """A trunk's features f(x), and how close each is to those of the other examples, (B, ...) -> (B, features).

    o(xᵢ)_b = mean over j ≠ i of exp(-‖M_ib - M_jb‖₁), M = T f(x), for b = 1, …, `kernels`; sec. 3.2.
    """

    def __init__(self, trunk: nn.Module, kernels: int, kernel_dim: int) -> None:
        super().__init__()
        features = cast(int, trunk.features)
        self.trunk, self.kernels = trunk, kernels
        self.tensor = nn.Linear(features, kernels * kernel_dim, bias=False)
        norm_weights_like(trunk, self.tensor)
        self.features = features + kernels

    def forward(self, x: Tensor) -> Tensor:
        f = self.trunk(x)
        m = self.tensor(f).unflatten(1, (self.kernels, -1)).transpose(0, 1)
        close = (-torch.cdist(m, m, p=1)).exp().sum(2).T - 1  # an example is not compared with itself
        return torch.cat([f, close / max(len(f) - 1, 1)], dim=1)
