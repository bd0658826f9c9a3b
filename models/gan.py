"""Generative adversarial network: the measure between samples and data is itself trained.

Goodfellow et al. 2014. Adam's step size and β₁ are from Radford et al. 2016, sec. 4. Differs from the paper: the
non-saturating loss is the default (the paper recommends it in sec. 3), and discriminator and generator each take one
step per minibatch, on the same minibatch.
"""

from typing import ClassVar, Literal, Unpack

from torch import Tensor

from models.adversarial import AdversarialModel, Pieces
from models.losses import discriminator_loss, minimax_loss, non_saturating_loss


class GAN(AdversarialModel):
    """min over G, max over D of E log D(x) + E log(1 - D(G(z))); eq. 1.

    Args:
        generator_loss: "non_saturating" (maximise log D(G(z))) or "minimax" (minimise log(1 - D(G(z)))).
        **pieces: as `AdversarialModel`.

    Raises:
        ValueError: for another `generator_loss`.
    """

    critic_name: ClassVar[str] = "discriminator"

    def __init__(
        self, generator_loss: Literal["non_saturating", "minimax"] = "non_saturating", **pieces: Unpack[Pieces]
    ) -> None:
        losses = {"non_saturating": non_saturating_loss, "minimax": minimax_loss}
        if generator_loss not in losses:
            raise ValueError(f"model.generator_loss is {generator_loss!r}; expected one of {', '.join(losses)}")
        super().__init__(**pieces)
        self._loss_of_fakes = losses[generator_loss]

    def critic_loss(self, x: Tensor) -> Tensor:
        return discriminator_loss(self.critic(x), self.critic(self.fake_detached(len(x))))

    def generator_loss(self, x: Tensor) -> Tensor:
        return self._loss_of_fakes(self.critic(self.sample(len(x))))
