"""Families with one code for each example: distances of codes to the prior, discriminators at their optimum, fitted densities."""

import math
from typing import Any

import pytest
import scipy.integrate
import scipy.spatial
import scipy.stats
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.metrics.kernel import inverse_multiquadric, squared_mmd
from models.aae import AAE
from models.autoencoding import Pieces
from models.bigan import BiGAN
from models.losses import imq_mmd
from models.mixtures import FittedMixture
from models.priors import Normal
from models.rae import RAE
from models.vae_gan import VAEGAN
from models.wae import WAE
from tests.conftest import TINY, run
from tests.models.test_vae import ADAM, Points, interval


def pieces(dim: int = 4, latent_dim: int = 2) -> Pieces:
    decoder = nn.Linear(latent_dim, dim)
    return Pieces(trunk=Points(dim), decoder=decoder, prior=Normal(latent_dim), squash=nn.Sigmoid(), optimizer=ADAM)


def test_mmd_equals_the_metrics_and_scipys_and_its_gradient_is_finite() -> None:
    x, y = torch.randn(9, 3).double().requires_grad_(), 2 + torch.randn(9, 3).double()
    value = imq_mmd(x, y)
    assert float(value.detach()) == pytest.approx(squared_mmd(x.detach(), y, inverse_multiquadric)[0])
    a, b = x.detach().numpy(), y.numpy()
    xx, yy, xy = (6 / (6 + scipy.spatial.distance.cdist(*pair, "sqeuclidean")) for pair in ((a, a), (b, b), (a, b)))
    assert float(value.detach()) == pytest.approx(((xx.sum() - 9) + (yy.sum() - 9)) / 72 - 2 * xy.mean())
    assert torch.autograd.gradcheck(lambda x: imq_mmd(x, y), x)


def test_mmd_of_equal_distributions_is_zero_in_the_mean() -> None:
    draws = torch.stack([imq_mmd(torch.randn(16, 2), torch.randn(16, 2)) for _ in range(400)])
    assert abs(float(draws.mean())) < interval(draws)


def test_waes_loss_is_reconstruction_and_penalty() -> None:
    model, x = WAE(3.0, **pieces()), torch.rand(8, 4)
    seed = int(torch.randint(2**31, ()))
    torch.manual_seed(seed)
    loss = model.loss(x)
    torch.manual_seed(seed)
    z = torch.randn(8, 2)
    expected = (model.reconstruct(x) - x).square().sum(1).mean() + 3 * imq_mmd(model.encode(x), z)
    torch.testing.assert_close(loss, expected)


def test_raes_loss_is_its_equation() -> None:
    model, x = RAE(0.3, 0.2, 100, **pieces() | {"prior": FittedMixture(2, 2)}), torch.rand(8, 4)
    z = model.encode(x)
    error = ((model.decode(z) - x) ** 2).sum() / 32
    torch.testing.assert_close(model.loss(x), error + 0.3 * (z**2).sum() / 16 + 0.2 * (model.decoder.weight**2).sum())


def test_a_rae_samples_from_the_density_of_its_codes() -> None:
    model = RAE(0.0, 0.0, 60, **pieces() | {"prior": FittedMixture(2, 2)})
    batches = [torch.rand(20, 4) for _ in range(5)]
    with model.scoring():
        seed = int(torch.randint(2**31, ()))
        torch.manual_seed(seed)
        model.fit_prior(iter(batches))
        codes = model.encode(torch.cat(batches))[:60].double().numpy()
    torch.manual_seed(seed)
    fitted = GaussianMixture(2, random_state=int(torch.randint(2**31, ())), max_iter=200).fit(codes)
    ours, expected = (
        model.prior.log_prob(torch.from_numpy(codes).float()),
        torch.from_numpy(fitted.score_samples(codes)),
    )
    torch.testing.assert_close(ours, expected.float(), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match=r"model\.prior is Normal"):
        RAE(0.0, 0.0, 60, **pieces())


def test_a_run_fits_its_prior_before_it_is_scored_and_saves_it(tmp_path: Any) -> None:
    words = [word for word in TINY if not word.startswith("protocol.")]
    result = run("train", "model=rae", *words, "protocol=selection", "protocol.samples=100", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("runs/digits/rae/*/seed=0/checkpoints/last.ckpt")
    state = torch.load(path, weights_only=True)["state_dict"]
    assert state["prior.means"].abs().max() > 0
    assert float(state["prior.log_weights"].exp().sum()) == pytest.approx(1, abs=1e-5)


class Exact(nn.Module):
    """The optimal discriminator between densities of the plane: log p - log q. Goodfellow et al. 2014, prop. 1."""

    def __init__(self, mean: float, sigma: float) -> None:
        super().__init__()
        self.p, self.q = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(mean, sigma)

    def forward(self, z: Tensor) -> Tensor:
        return self.p.log_prob(z.squeeze(1)) - self.q.log_prob(z.squeeze(1))


def test_an_autoencoder_of_aae_reconstructs_and_fools_the_discriminator() -> None:
    model, x = AAE(Points(2), reconstruction_weight=7.0, **pieces()), torch.rand(8, 4)
    error = (model.reconstruct(x) - x).square().sum(1).mean() / 2
    fooled = -torch.log(torch.sigmoid(model.discriminator(model.encode(x)))).mean()
    torch.testing.assert_close(model.autoencoder_loss(x), 7 * error + fooled)


def test_an_aaes_optimal_discriminator_measures_the_divergence_of_codes_and_prior() -> None:
    """Its loss is 2 log 2 - 2 JS(p ‖ q), and no other discriminator's is lower."""
    trunk = Points(1)
    model = AAE(trunk, **pieces(dim=1, latent_dim=1))
    model.encoder = nn.Identity()
    mean, sigma = float(torch.randn(())), 0.5 + float(torch.rand(()))
    x = mean + sigma * torch.randn(100_000, 1)
    p, q = scipy.stats.norm(0, 1), scipy.stats.norm(mean, sigma)

    def integrand(z: float) -> float:
        a, b = p.pdf(z), q.pdf(z)
        return -a * math.log(a / (a + b)) - b * math.log(b / (a + b))

    expected, _ = scipy.integrate.quad(integrand, -9, 9)
    model.discriminator = Exact(mean, sigma)
    losses = torch.stack([model.discriminator_loss(part) for part in x.split(1000)])
    assert float(losses.mean()) == pytest.approx(expected, abs=interval(losses))
    model.discriminator = Exact(mean + 1, sigma)
    worse = torch.stack([model.discriminator_loss(part) for part in x.split(1000)])
    assert float(worse.mean()) > expected + interval(worse)


def test_no_discriminator_tells_pairs_of_inverse_maps_apart() -> None:
    """Where the data are G(z) and E inverts G, both kinds of pairs have one distribution: 2 log 2 is the least loss."""
    model = BiGAN(Points(2), **pieces(dim=2) | {"squash": nn.Identity()})
    factor = torch.linalg.qr(torch.randn(2, 2))[0] @ torch.diag(0.5 + torch.rand(2))
    model.encoder = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.decoder.weight.copy_(factor)
        model.decoder.bias.zero_()
        model.encoder.weight.copy_(torch.linalg.inv(factor))
        for weight in model.discriminator.parameters():
            weight.mul_(3)
    x, z = torch.randn(50_000, 2) @ factor.T, torch.randn(50_000, 2)
    with torch.no_grad():
        real, fake = model.discriminator(x, model.encode(x)), model.discriminator(model.decode(z), z)
        assert float(real.mean()) == pytest.approx(float(fake.mean()), abs=interval(real) + interval(fake))
        losses = F.softplus(-real) + F.softplus(fake)
        assert float(losses.mean()) > 2 * math.log(2)
        for weight in model.discriminator.head[2].parameters():
            weight.zero_()
    assert float(model.discriminator_loss(x).detach()) == pytest.approx(2 * math.log(2))
    assert float(model.generator_loss(x).detach()) == pytest.approx(2 * math.log(2))


def test_a_bigans_players_pull_in_opposite_directions() -> None:
    """The discriminator raises D of encoded examples and lowers D of samples; generator and encoder do the reverse."""
    model, x = BiGAN(Points(4), **pieces()), torch.rand(16, 4)
    seed = int(torch.randint(2**31, ()))
    signs = []
    for player in model.players():
        torch.manual_seed(seed)
        bias = model.discriminator.head[2].bias
        (gradient,) = torch.autograd.grad(player.loss(x), bias)
        z = torch.randn(16, 2, generator=torch.Generator().manual_seed(seed))
        real, fake = model.discriminator(x, model.encode(x)), model.discriminator(model.decode(z), z)
        down, up = real.neg().sigmoid().mean(), fake.sigmoid().mean()
        expected = up - down if player.name == "discriminator" else real.sigmoid().mean() - fake.neg().sigmoid().mean()
        torch.testing.assert_close(gradient, expected.detach().view(1), atol=1e-4, rtol=1e-3)
        signs.append(gradient)
    latents = torch.randn(16, 2, requires_grad=True)
    (by_latent,) = torch.autograd.grad(model.discriminator(x, latents).sum(), latents)
    assert by_latent.abs().min() > 0


def test_the_three_losses_of_a_vae_gan_are_its_algorithm() -> None:
    model, x = VAEGAN(critic_trunk=Points(4), gamma=0.7, **pieces()), torch.rand(12, 4)
    seed = int(torch.randint(2**31, ()))
    one, zero = torch.ones(12), torch.zeros(12)

    def bce(images: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(model.discriminator(images), target)

    def drawn() -> tuple[Tensor, Tensor]:
        torch.manual_seed(seed)
        restored = model.decode(model.draw_code(x))
        return restored, model.decode(torch.randn(12, 2))

    losses = {}
    for player in model.players():
        torch.manual_seed(seed)
        losses[player.name] = player.loss(x)
    restored, sampled = drawn()
    torch.testing.assert_close(losses["discriminator"], bce(x, one) + bce(restored, zero) + bce(sampled, zero))
    # features are the pixels here: ½‖x̃ - x‖² is minus log N(x; x̃, I) without its constant
    unit = torch.distributions.Normal(restored, 1.0)
    error = (-unit.log_prob(x).sum(1) - 2 * math.log(2 * math.pi)).mean()
    mu, log_var = model.posterior(x)
    q, p = torch.distributions.Normal(mu, (0.5 * log_var).exp()), torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(q, p).sum(1).mean()
    torch.testing.assert_close(losses["encoder"], kl + error)
    torch.testing.assert_close(losses["decoder"], 0.7 * error + bce(restored, one) + bce(sampled, one))
