"""Relatives of the VAE against the exact likelihood of probabilistic PCA, autograd's Jacobian and torch's distributions."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily
from torch.distributions import Normal as Gaussians

from models.iaf import IAF
from models.iwae import IWAE
from models.likelihoods import Gaussian
from models.mixtures import Mixture
from models.priors import Normal
from models.two_stage import TwoStageVAE
from models.vampprior import VampPrior, VampPriorVAE
from models.variational import Pieces, VariationalModel
from tests.models.test_vae import ADAM, LinearGaussian, Points, interval


def pieces(dim: int = 6, latent_dim: int = 3) -> Pieces:
    likelihood, decoder = Gaussian(nn.Identity(), "fixed"), nn.Linear(latent_dim, dim)
    return Pieces(trunk=Points(dim), decoder=decoder, prior=Normal(latent_dim), likelihood=likelihood, optimizer=ADAM)


def exact(model: VariationalModel, truth: LinearGaussian, shift: float = 0.0, log_factor: float = 0.0) -> None:
    """Gives a model the decoder, the σ and the posterior of the truth, moved and widened as in `LinearGaussian`."""
    model.double()
    with torch.no_grad():
        model.decoder.weight.copy_(truth.weight)
        model.decoder.bias.copy_(truth.bias)
        model.likelihood.log_sigma.fill_(math.log(truth.sigma))
    truth.set_encoder(model, shift, log_factor)  # type: ignore[arg-type]


@torch.no_grad()
def test_an_iwae_of_one_draw_is_a_vae_and_more_draws_come_nearer_to_log_p() -> None:
    truth = LinearGaussian()
    x = truth.sample(1).expand(20_000, -1)
    bounds = []
    for k in (1, 8):
        model = IWAE(k, **pieces())
        exact(model, truth, shift=0.5, log_factor=0.5)
        bounds.append(model.log_weights(x, k).logsumexp(0) - math.log(k))
        seed = int(torch.randint(2**31, ()))
        torch.manual_seed(seed)
        loss = model.loss(x[:100])
        torch.manual_seed(seed)
        torch.testing.assert_close(loss, math.log(k) - model.log_weights(x[:100], k).logsumexp(0).mean())
    vae = truth.vae()
    truth.set_encoder(vae, shift=0.5, log_factor=0.5)
    elbo, log_p = vae.elbo(x).value, truth.log_prob(x[:1])
    assert float(bounds[0].mean()) == pytest.approx(float(elbo.mean()), abs=interval(bounds[0]) + interval(elbo))
    assert float(elbo.mean()) + interval(elbo) < float(bounds[1].mean()) < log_p + interval(bounds[1])


def test_an_iwaes_gradient_weighs_the_draws_by_their_normalised_weights() -> None:
    """Burda et al. 2016, eq. 14."""
    model, x = IWAE(5, **pieces()).double(), torch.randn(7, 6, dtype=torch.float64)
    weights = list(model.parameters())
    seed = int(torch.randint(2**31, ()))
    torch.manual_seed(seed)
    ours = torch.autograd.grad(model.loss(x), weights)
    torch.manual_seed(seed)
    log_weights = model.log_weights(x, 5)
    expected = torch.autograd.grad(-(log_weights.softmax(0).detach() * log_weights).sum(0).mean(), weights)
    torch.testing.assert_close(ours, expected)


def random_iaf(steps: int = 3) -> IAF:
    model = IAF(steps, 16, **pieces()).double()
    for weight in model.flow.parameters():
        nn.init.normal_(weight, std=0.3)
    return model


def test_a_flows_log_determinant_is_that_of_autograds_jacobian() -> None:
    model = random_iaf()
    z, context = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    _, log_det = model.bend(z, context)
    for i in range(5):
        jacobian = torch.autograd.functional.jacobian(
            lambda z, i=i: model.bend(z[None], context[i : i + 1])[0][0], z[i]
        )
        torch.testing.assert_close(log_det[i], torch.linalg.slogdet(jacobian)[1])
        # one step: output i depends on the inputs before it alone
        m = torch.autograd.functional.jacobian(lambda z, i=i: model.flow[0](z[None], context[i : i + 1])[0][0], z[i])
        assert torch.equal(m, m.tril(-1))
        assert m[1, 0] != 0


@torch.no_grad()
def test_weights_of_a_bent_posterior_average_to_p() -> None:
    """Only the right log q(z|x) makes E p(x, z) / q(z|x) = p(x)."""
    truth, model = LinearGaussian(), IAF(2, 16, **pieces())
    exact(model, truth, log_factor=1.5)
    for step in model.flow:
        nn.init.normal_(step.from_context.weight, std=0.1)
    x = truth.sample(1)
    weights = model.log_weights(x.expand(20_000, -1), 1)[0]
    ratios = (weights - torch.from_numpy(np.atleast_1d(truth.log_prob(x)))).exp()
    assert float(ratios.mean()) == pytest.approx(1, abs=interval(ratios))
    assert float(weights.std()) > 0.1


def test_a_vampprior_is_the_mixture_of_the_posteriors_of_its_pseudo_inputs() -> None:
    prior = VampPrior(3, nn.Sigmoid(), (6,), 7)
    model = VampPriorVAE(**pieces() | {"prior": prior}).double()
    with torch.no_grad():
        model.encoder[1].weight.mul_(5)
    mu, log_var = model.posterior(prior.inputs.sigmoid())
    parts = Independent(Gaussians(mu, (0.5 * log_var).exp()), 1)
    expected = MixtureSameFamily(Categorical(torch.ones(7)), parts)
    z = 2 * torch.randn(4, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(prior.log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(Mixture.log_prob(prior, z), expected.log_prob(z))
    mean, covariance = prior.moments()
    torch.testing.assert_close(mean, expected.mean)
    torch.testing.assert_close(covariance.diagonal(), expected.variance)


def two_stage(truth: LinearGaussian) -> TwoStageVAE:
    """With the exact first stage, whose codes are N(0, I), and an exact second one: z = a u + √(1 - a²) ε."""
    model = TwoStageVAE(Points(3), nn.Linear(3, 3), 0.5, **pieces())
    exact(model, truth)
    a = 0.2 + 0.6 * float(torch.rand(()))
    # a part of the mean by the network, the rest by the skip connection
    part, head, identity = a * float(torch.rand(())), model.second_encoder.net[1], torch.eye(3, dtype=torch.float64)
    with torch.no_grad():
        model.second_decoder.net.weight.copy_(part * identity)
        model.second_decoder.skip.weight.copy_((a - part) * identity)
        head.weight.copy_(torch.cat([part * identity, 0 * identity]))
        model.second_encoder.skip.weight.copy_(torch.cat([(a - part) * identity, 0 * identity]))
        head.bias.copy_(torch.cat([torch.zeros(3), torch.full((3,), math.log(1 - a**2))]))
        model.second_decoder.net.bias.zero_()
        model.second_likelihood.log_sigma.fill_(0.5 * math.log(1 - a**2))
    return model


@torch.no_grad()
def test_two_exact_stages_have_the_exact_likelihood_in_every_draw() -> None:
    truth = LinearGaussian()
    model, x = two_stage(truth), truth.sample(6)
    np.testing.assert_allclose(model.log_weights(x, 4).numpy(), np.tile(truth.log_prob(x), (4, 1)), atol=1e-8)
    np.testing.assert_allclose(model.elbo(x).value.numpy(), truth.log_prob(x), atol=1e-8)


def test_the_second_stage_leaves_reconstructions_and_the_first_stage_alone() -> None:
    truth = LinearGaussian()
    model, x = two_stage(truth), truth.sample(6)
    torch.testing.assert_close(model.reconstruct(x), truth.vae().reconstruct(x))
    assert model.prior.dim == 6
    first, second = model.players()
    second.loss(x).backward()
    assert all(weight.grad is None for weight in first.modules.parameters())
    assert (first.phase, second.phase) == ((0.0, 0.5), (0.5, 1.0))


@torch.no_grad()
def test_the_losses_of_two_stages_are_elbos() -> None:
    """In the mean: the first is that of the VAE, and the second that of exact codes, whose density is N(0, I)."""
    truth = LinearGaussian()
    model, vae, x = two_stage(truth), truth.vae(), truth.sample(4000)
    first = torch.stack([model.first_loss(part) for part in x.split(100)])
    expected = torch.stack([vae.loss(part) for part in x.split(100)])
    assert float(first.mean()) == pytest.approx(float(expected.mean()), abs=interval(first - expected))
    second = torch.stack([model.second_loss(part) for part in x.split(100)])
    entropy = 3 * 0.5 * (math.log(2 * math.pi) + 1)
    assert float(second.mean()) == pytest.approx(entropy, abs=interval(second))


@pytest.mark.parametrize("make", [partial(VampPriorVAE), partial(TwoStageVAE, Points(3), nn.Linear(3, 3), 0.5)])
def test_a_prior_that_does_not_fit_is_refused(make: partial[VariationalModel]) -> None:
    wrong = VampPrior(3, nn.Sigmoid(), (6,), 2) if make.func is TwoStageVAE else Normal(3)
    with pytest.raises(ValueError, match=r"model\.prior is"):
        make(**pieces() | {"prior": wrong})
