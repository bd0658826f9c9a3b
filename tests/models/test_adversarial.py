"""The equations of the adversarial families, against closed forms and second implementations."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import hinge_loss
from torch import Tensor, nn
from torch.nn import functional as F

from models.adversarial import AdversarialModel
from models.began import BEGAN
from models.dragan import DRAGAN
from models.gan import GAN
from models.improved_gan import Closeness, ImprovedGAN
from models.infogan import InfoGAN
from models.lsgan import LSGAN
from models.networks import mlp
from models.pacgan import PacGAN, pack
from models.priors import NoiseAndCode, Normal
from models.rpgan import RpGAN
from models.sn_gan import SNGAN
from tests.models.test_game import Random, fit

SHAPE = (1, 2, 2)


def pieces(latent_dim: int = 3, packed: int = 1, **changes: Any) -> Any:
    return {
        "trunk": mlp.Trunk(SHAPE, [8, 6], packed=packed),
        "decoder": mlp.Decoder(latent_dim, SHAPE, [8], "batch"),
        "prior": Normal(latent_dim),
        "squash": nn.Sigmoid(),
        "optimizer": lambda weights: torch.optim.Adam(weights, lr=0.01),
        **changes,
    }


class Slope(nn.Module):
    """The critic x -> <w, x> + b with ‖w‖ = s; it keeps what it was shown."""

    def __init__(self, s: float) -> None:
        super().__init__()
        self.w = nn.Parameter(s * F.normalize(torch.randn(4), dim=0))
        self.b = nn.Parameter(torch.randn(()))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return x.flatten(1) @ self.w + self.b


def with_slope(model: AdversarialModel, s: float) -> Slope:
    critic = Slope(s)
    model.critic = critic
    return critic


def seeded(f: Callable[[], Any]) -> Any:
    """A call with the latents that every other call of this test has too."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return f()


def both(model: AdversarialModel, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The two losses, and the critic's values of x and of the samples that the losses drew."""
    d_real, d_fake = model.critic(x), model.critic(seeded(lambda: model.sample(len(x))))
    return seeded(lambda: model.critic_loss(x)), seeded(lambda: model.generator_loss(x)), d_real, d_fake


def test_lsgan_regresses_onto_one_and_zero() -> None:
    critic, generator, d_real, d_fake = both(LSGAN(**pieces()), torch.rand(9, *SHAPE))
    one, zero = torch.ones(9), torch.zeros(9)
    torch.testing.assert_close(critic, 0.5 * (F.mse_loss(d_real, one) + F.mse_loss(d_fake, zero)))
    torch.testing.assert_close(generator, 0.5 * F.mse_loss(d_fake, one))


def test_sn_gans_loss_is_the_hinge_loss_of_scikit_learn() -> None:
    model = SNGAN(**pieces())
    with_slope(model, 3.0)  # far enough from 0 that the hinge bends
    critic, generator, d_real, d_fake = both(model, 4 * torch.randn(50, *SHAPE))
    labels = np.repeat([1, -1], 50)
    expected = 2 * hinge_loss(labels, torch.cat([d_real, d_fake]).detach().numpy())
    assert critic.item() == pytest.approx(expected, rel=1e-5)
    assert generator.item() == pytest.approx(-d_fake.mean().item(), rel=1e-5)


def test_dragan_adds_its_penalty_near_the_data() -> None:
    model, x = DRAGAN(penalty=3.0, noise=0.5, **pieces()), torch.randn(4000, *SHAPE)
    critic = with_slope(model, 2.5)
    gan = GAN(**pieces(decoder=model.decoder))
    gan.critic = critic
    added = seeded(lambda: model.critic_loss(x)) - seeded(lambda: gan.critic_loss(x))
    assert added.item() == pytest.approx(3.0 * 1.5**2, rel=1e-4)
    # x + α·noise·σ·u with α and u uniform: a mean of a quarter of noise·σ
    moved = (critic.seen[2] - x) / (0.5 * x.std())
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert moved.mean().item() == pytest.approx(0.25, abs=0.03)
    assert (moved.flatten(1).std(1) > 0).all(), "each dimension has a perturbation of its own"


@pytest.mark.parametrize("paired", [True, False])
def test_rpgan_compares_pairs_or_not_and_penalises_both_gradients(paired: bool) -> None:
    model, x = RpGAN(gamma=0.3, paired=paired, **pieces()), torch.rand(9, *SHAPE)
    critic, generator, d_real, d_fake = both(model, x)
    x_fake = seeded(lambda: model.sample(9)).detach()
    squares = []
    for examples in (x, x_fake):
        at = examples.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model.critic(at).sum(), at)
        squares.append(gradient.flatten(1).norm(dim=1).square().mean())
    # the discriminator tells a pair's example from its sample, or both apart from each other: Goodfellow et al. 2014, eq. 1
    told = F.logsigmoid(d_real - d_fake) if paired else d_real.sigmoid().log() + (1 - d_fake.sigmoid()).log()
    fooled = F.logsigmoid(d_fake - d_real) if paired else d_fake.sigmoid().log()
    torch.testing.assert_close(critic, -told.mean() + 0.15 * squares[0] + 0.15 * squares[1])
    torch.testing.assert_close(generator, -fooled.mean())


def test_began_keeps_its_balance_as_the_paper_writes_it(tmp_path: Path) -> None:
    gamma, rate, rows = 0.7, 0.5, list[tuple[float, float, float]]()
    model = BEGAN(mlp.Decoder(3, SHAPE, [8]), gamma, rate, **pieces())

    class Book(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            rows.append((float(model._real), float(model._fake), float(model.k)))

    fit(model, Random(block_size=1), 12, tmp_path, callbacks=[Book()])
    k, measures = 0.0, []
    for real, fake, after in rows:
        k = min(max(k + rate * (gamma * real - fake), 0.0), 1.0)
        assert after == pytest.approx(k, abs=1e-5)
        measures.append(real + abs(gamma * real - fake))
    assert k > 0
    assert model.losses()["convergence"] == pytest.approx(np.mean(measures), rel=1e-4)
    assert "k" in model.state_dict()


def test_began_measures_by_the_mean_absolute_error_of_its_autoencoder() -> None:
    model, x = BEGAN(mlp.Decoder(3, SHAPE, [8]), **pieces()), torch.rand(9, *SHAPE)
    model.k.fill_(0.25)
    x_fake = seeded(lambda: model.sample(9)).detach()
    real, fake = (F.l1_loss(model.critic(v), v) for v in (x, x_fake))
    torch.testing.assert_close(seeded(lambda: model.critic_loss(x)), real - 0.25 * fake)
    torch.testing.assert_close(seeded(lambda: model.generator_loss(x)), fake)


@pytest.mark.parametrize("shape", [(2,), (3, 4, 4)], ids=str)
def test_a_pack_is_neighbours_side_by_side(shape: tuple[int, ...]) -> None:
    x = torch.randn(12, *shape)
    packs = pack(x, 3)
    for i in range(4):
        assert torch.equal(packs[i], torch.cat([x[3 * i], x[3 * i + 1], x[3 * i + 2]]))
    assert torch.equal(pack(x, 1), x)
    with pytest.raises(ValueError, match=r"a minibatch has 12 examples; expected a multiple of model\.packing, 5"):
        pack(x, 5)


def test_pacgan_is_a_gan_on_packs() -> None:
    model, x = PacGAN(packing=2, **pieces(packed=2)), torch.rand(8, *SHAPE)
    x_fake = seeded(lambda: model.sample(8))
    real, fake = (model.critic(v.reshape(4, 2, 2, 2)) for v in (x, x_fake))
    expected = F.binary_cross_entropy_with_logits(real, torch.ones(4))
    expected = expected + F.binary_cross_entropy_with_logits(fake, torch.zeros(4))
    torch.testing.assert_close(seeded(lambda: model.critic_loss(x)), expected)
    expected = F.binary_cross_entropy_with_logits(fake, torch.ones(4))
    torch.testing.assert_close(seeded(lambda: model.generator_loss(x)), expected)


def test_closeness_is_the_papers_sum_over_pairs_as_a_mean() -> None:
    n, kernels, dim = 7, 4, 3
    made, x = Closeness(mlp.Trunk(SHAPE, [6]), kernels, dim), torch.randn(n, *SHAPE)
    f = made.trunk(x).detach().numpy()
    m = np.einsum("na,abc->nbc", f, made.tensor.weight.detach().numpy().reshape(kernels, dim, 6).transpose(2, 0, 1))
    expected = np.zeros((n, kernels))
    for i in range(n):
        for j in range(n):
            if i != j:
                expected[i] += np.exp(-np.abs(m[i] - m[j]).sum(1)) / (n - 1)
    out = made(x).detach()
    assert out.shape == (n, made.features) == (n, 6 + kernels)
    np.testing.assert_allclose(out[:, :6], f, rtol=1e-6)
    np.testing.assert_allclose(out[:, 6:], expected, rtol=1e-4, atol=1e-6)
    # a collapsed generator's samples are as close as can be
    torch.testing.assert_close(made(x[:1].expand(n, *SHAPE))[:, 6:], torch.ones(n, kernels))


def test_feature_matching_is_the_squared_distance_of_mean_features() -> None:
    model, x = ImprovedGAN("feature_matching", 3, 2, **pieces()), torch.rand(9, *SHAPE)
    closeness = model.critic[0]
    assert isinstance(closeness, Closeness)
    x_fake = seeded(lambda: model.sample(9))
    gap = (closeness.trunk(x).mean(0) - closeness.trunk(x_fake).mean(0)).detach().numpy()
    assert seeded(lambda: model.generator_loss(x)).item() == pytest.approx(float(gap @ gap), rel=1e-4)


def test_infogans_bound_is_that_of_torch_distributions() -> None:
    prior = NoiseAndCode(9, categories=4, uniforms=2)
    model, n = InfoGAN(**pieces(9, prior=prior)), 11
    z, outputs = prior.sample(n), torch.randn(n, 7)
    category = torch.distributions.Categorical(logits=outputs[:, 1:5]).log_prob(z[:, 2:6].argmax(1))
    codes = torch.distributions.Normal(outputs[:, 5:], 1.0).log_prob(z[:, :2]).sum(1)
    entropy = torch.distributions.Categorical(torch.ones(4)).entropy()
    entropy = entropy + 2 * torch.distributions.Uniform(-1.0, 1.0).entropy()
    torch.testing.assert_close(model.bound(z, outputs), (category + codes).mean() + entropy)
    # Q that knows the category: its part of the bound is all of H
    sure = torch.cat([outputs[:, :1], 100 * F.one_hot(z[:, 2:6].argmax(1), 4), z[:, :2]], dim=1)
    expected = math.log(4) + 2 * (math.log(2) - 0.5 * math.log(2 * math.pi))
    assert model.bound(z, sure).item() == pytest.approx(expected, rel=1e-5)


def test_infogans_losses_are_a_gans_less_the_bound() -> None:
    prior = NoiseAndCode(9, categories=4, uniforms=2)
    model, x = InfoGAN(information=0.3, **pieces(9, prior=prior)), torch.rand(9, *SHAPE)
    z = seeded(lambda: prior.sample(9))
    real, fake = model.critic(x), model.critic(model.decode(z))
    bound = model.bound(z, fake)
    expected = F.softplus(-real[:, 0]).mean() + F.softplus(fake[:, 0]).mean() - 0.3 * bound
    torch.testing.assert_close(seeded(lambda: model.critic_loss(x)), expected)
    torch.testing.assert_close(seeded(lambda: model.generator_loss(x)), F.softplus(-fake[:, 0]).mean() - 0.3 * bound)
    assert model.losses()["information"] == pytest.approx(bound.item(), rel=1e-5)


def test_infogans_generator_has_an_optimiser_of_its_own_and_others_share_one() -> None:
    def slow(weights: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(weights, lr=1e-3)

    prior = NoiseAndCode(9, categories=4, uniforms=2)
    critic, generator = InfoGAN(**pieces(9, prior=prior, generator_optimizer=slow)).players()
    assert generator.optimizer is slow
    assert critic.optimizer is not slow
    critic, generator = GAN(**pieces()).players()
    assert critic.optimizer is generator.optimizer
