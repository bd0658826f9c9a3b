"""A folded network against the network itself: values, gradients, and what stays untouched."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from models.networks import dcgan, mlp, resnet
from models.networks.folding import SubPixel, folded
from models.networks.norm import Norm, has_batch_norm

NORMS: list[Norm] = ["none", "batch", "layer"]


def decoder(network: str, norm: Norm) -> nn.Module:
    match network:
        case "mlp":
            return mlp.Decoder(5, (1, 8, 8), [24, 16], norm)
        case "dcgan":
            return dcgan.Decoder(5, (3, 12, 8), 4, norm)
        case _:
            return resnet.Decoder(5, (3, 8, 8), 8, norm)


def used(network: nn.Module) -> nn.Module:
    """In evaluation mode, with statistics and scales of batch norms that differ from those of a new network."""
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for tensor in (part.running_mean, part.running_var, part.weight, part.bias):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 2)
        elif isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
    return network.eval()


def value_and_gradient(network: nn.Module, z: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    z = z.clone().requires_grad_()
    out = network(z)
    (gradient,) = torch.autograd.grad((out * weight).sum(), z)
    return out.detach(), gradient


@pytest.mark.parametrize(("network", "norm"), list(itertools.product(("mlp", "dcgan", "resnet"), NORMS)), ids=str)
def test_a_folded_network_has_the_values_and_gradients_of_the_network(network: str, norm: Norm) -> None:
    made = used(decoder(network, norm)).double()
    z = torch.randn(7, 5, dtype=torch.float64)
    weight = torch.randn_like(made(z))
    for ours, theirs in zip(
        value_and_gradient(folded(made), z, weight), value_and_gradient(made, z, weight), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_no_batch_norm_and_no_transposed_convolution_is_left(network: str) -> None:
    fold = folded(used(decoder(network, "batch")))
    assert not has_batch_norm(fold)
    assert not any(isinstance(part, nn.ConvTranspose2d) for part in fold.modules())


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (2, 2, 0), (6, 2, 2), (6, 3, 1), (9, 3, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_sub_pixel_convolution_is_the_transposed_convolution(
    kernel: int, stride: int, padding: int, channels: int
) -> None:
    layer = nn.ConvTranspose2d(2, channels, kernel, stride, padding, bias=channels > 1).double()
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    weight = torch.randn_like(layer(x))
    for ours, theirs in zip(
        value_and_gradient(SubPixel(layer), x, weight), value_and_gradient(layer, x, weight), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1),
        nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2),
        nn.ConvTranspose2d(4, 4, (4, 2), (2, 2), (1, 0)),
        nn.ConvTranspose2d(4, 4, 3, 1, 1),
    ],
)
def test_layers_without_an_equal_convolution_stay(layer: nn.ConvTranspose2d) -> None:
    network = used(nn.Sequential(layer, nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1, groups=2), nn.BatchNorm2d(2)))
    x = torch.randn(3, 4, 5, 5)
    fold = folded(network)
    assert isinstance(fold[0], nn.ConvTranspose2d)
    torch.testing.assert_close(fold(x), network(x), rtol=1e-4, atol=1e-4)


def test_the_network_itself_does_not_change() -> None:
    made = used(decoder("dcgan", "batch"))
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    fold = folded(made)
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    assert all(p.requires_grad for p in made.parameters())
    assert not any(p.requires_grad for p in fold.parameters())


def test_batch_norm_in_training_mode_is_not_folded() -> None:
    assert has_batch_norm(folded(decoder("dcgan", "batch").train()))
