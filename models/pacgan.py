"""PacGAN: the discriminator sees m examples at once, so that a generator that lacks modes is found out.

Lin et al. 2018, sec. 2: m packed examples side by side in the input, everything else as in a GAN. Adam's step size and β₁
are from the authors' code for mixtures (github.com/fjxmlzn/PacGAN), whose networks are `network=mlp_maxout`. Differs from
the paper: a minibatch of B examples makes B/m packs, where the paper takes B packs, so that each family sees the same
number of examples.
"""

from typing import ClassVar, Unpack

from torch import Tensor

from models.adversarial import AdversarialModel, Pieces
from models.losses import discriminator_loss, non_saturating_loss


class PacGAN(AdversarialModel):
    """min over G, max over D of E log D(x₁, …, xₘ) + E log(1 - D(G(z₁), …, G(zₘ))), G non-saturating.

    Args:
        packing: m; the trunk's `packed` is the same number.
        **pieces: as `AdversarialModel`.

    Raises:
        ValueError: for an m below 1.
    """

    critic_name: ClassVar[str] = "discriminator"

    def __init__(self, packing: int = 2, **pieces: Unpack[Pieces]) -> None:
        if packing < 1:
            raise ValueError(f"model.packing is {packing}; expected 1 or more")
        super().__init__(**pieces)
        self.packing = packing

    def critic_loss(self, x: Tensor) -> Tensor:
        x_fake = self.fake_detached(len(x))
        return discriminator_loss(*(self.critic(pack(examples, self.packing)) for examples in (x, x_fake)))

    def generator_loss(self, x: Tensor) -> Tensor:
        return non_saturating_loss(self.critic(pack(self.sample(len(x)), self.packing)))


def pack(x: Tensor, m: int) -> Tensor:
    """m neighbours side by side in the first dimension of an example, (B, C, ...) -> (B/m, m·C, ...).

    Raises:
        ValueError: for a minibatch that is no multiple of m.
    """
    if len(x) % m:
        raise ValueError(f"a minibatch has {len(x)} examples; expected a multiple of model.packing, {m}")
    return x.reshape(len(x) // m, m * x.shape[1], *x.shape[2:])
