"""Spectral norm as a choice of the networks: singular values, and what training does with a model that has it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.improved_gan import Closeness
from models.losses import gradient_penalty, squared_gradient
from models.networks import dcgan, mlp, resnet, with_head
from models.networks.norm import has_spectral_norm
from models.networks.pairs import PairCritic
from models.priors import Normal
from models.sn_gan import SNGAN
from tests.models.test_game import Random, fit

SHAPE = (3, 8, 8)


def trunk(network: str) -> nn.Module:
    match network:
        case "mlp":
            return mlp.Trunk(SHAPE, [24, 16], "spectral")
        case "dcgan":
            return dcgan.Trunk(SHAPE, 4, "spectral")
        case _:
            return resnet.Trunk(SHAPE, 8, "spectral")


def weights(module: nn.Module) -> list[Tensor]:
    """The weights that a forward pass uses, as the matrices whose largest singular value is 1."""
    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    matrices = []
    for layer in layers:
        weight = layer.weight.detach()
        weight = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
        matrices.append(weight.flatten(1))
    return matrices


@pytest.mark.parametrize("network", ["mlp", "dcgan", "resnet"])
def test_every_layer_and_the_head_has_a_largest_singular_value_of_one(network: str) -> None:
    critic = with_head(trunk(network), 1)
    assert has_spectral_norm(critic)
    for _ in range(60):  # each pass is one step of power iteration
        critic(torch.rand(2, *SHAPE))
    critic.eval()
    for weight in weights(critic):
        assert torch.linalg.svdvals(weight)[0].item() == pytest.approx(1, abs=0.05)
    assert not has_spectral_norm(with_head(mlp.Trunk(SHAPE, [4]), 1))


def test_a_papers_own_layers_have_it_where_the_trunk_has_it() -> None:
    assert all(
        has_spectral_norm(layer)
        for critic in (PairCritic(trunk("mlp"), 3), Closeness(trunk("mlp"), 2, 3))
        for layer in critic.modules()
        if isinstance(layer, nn.Linear)
    )
    plain = mlp.Trunk(SHAPE, [4])
    assert not has_spectral_norm(PairCritic(plain, 3))
    assert not has_spectral_norm(Closeness(plain, 2, 3))


def test_a_decoder_may_have_it_too() -> None:
    for made in (mlp.Decoder(3, SHAPE, [8], "spectral"), dcgan.Decoder(3, SHAPE, 4, "spectral")):
        for _ in range(60):
            made(torch.randn(2, 3))
        assert all(abs(torch.linalg.svdvals(w)[0].item() - 1) < 0.05 for w in weights(made.eval()))


def test_a_critic_of_linear_layers_is_lipschitz() -> None:
    critic = with_head(trunk("mlp"), 1)
    for _ in range(200):
        critic(torch.rand(2, *SHAPE))
    critic.eval()
    x, y = 5 * torch.randn(2, 200, *SHAPE)
    assert ((critic(x) - critic(y)).flatten().abs() <= 1.01 * (x - y).flatten(1).norm(dim=1)).all()


def test_penalties_pass_through_it_twice() -> None:
    critic, x = with_head(trunk("dcgan"), 1), torch.rand(4, *SHAPE)
    loss = gradient_penalty(critic, x, torch.rand_like(x)) + squared_gradient(critic, x).mean()
    loss.backward()
    kernels = [w for name, w in critic.named_parameters() if name.endswith("original")]
    assert len(kernels) == 4
    assert all(w.grad is not None and w.grad.abs().max() > 0 for w in kernels)


def test_its_state_moves_in_training_only_and_is_saved_and_copied() -> None:
    critic, x = with_head(trunk("mlp"), 1), torch.rand(4, *SHAPE)
    critic.eval()
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    first = critic(x)
    assert all(torch.equal(value, before[name]) for name, value in critic.state_dict().items())
    copied, loaded = copy.deepcopy(critic), with_head(trunk("mlp"), 1).eval()
    loaded.load_state_dict(before)
    assert torch.equal(copied(x), first)
    assert torch.equal(loaded(x), first)
    critic.train()
    critic(x)
    moved = [name for name, value in critic.state_dict().items() if not torch.equal(value, before[name])]
    assert moved
    assert all(name.rpartition(".")[2] in ("_u", "_v") for name in moved)
    with torch.device("meta"):
        assert with_head(trunk("dcgan"), 1) is not None


def test_a_generator_with_it_is_averaged_and_scored(tmp_path: Path) -> None:
    def adam(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=0.05)

    shape = (1, 2, 2)
    model = SNGAN(
        trunk=mlp.Trunk(shape, [6], "spectral"),
        decoder=mlp.Decoder(2, shape, [6], "spectral"),
        prior=Normal(2),
        squash=nn.Sigmoid(),
        optimizer=adam,
        ema_decay=0.5,
    )
    fit(model, Random(), 6, tmp_path)
    last = {name: value.clone() for name, value in model.state_dict().items()}
    z = torch.randn(4, 2)
    with model.scoring():
        averaged = model.decode(z)
    model.decoder.eval()
    assert not torch.equal(model.decode(z), averaged)
    assert all(torch.equal(value, last[name]) for name, value in model.state_dict().items())
