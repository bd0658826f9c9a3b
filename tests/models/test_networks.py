"""Shapes, normalisation, and what a network says of data that it cannot take."""

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks import dcgan, mlp, resnet, with_head
from models.networks.norm import Norm, has_batch_norm, norm1d, norm2d

NORMS: list[Norm] = ["none", "batch", "layer"]
MULTIPLE = {"mlp": 1, "dcgan": 4, "resnet": 8}
IMAGES = [(c, size, size) for c in (1, 3) for size in (8, 28, 32)]
FITTING = [(network, shape) for network in MULTIPLE for shape in IMAGES if shape[1] % MULTIPLE[network] == 0]
LATENT_DIM = 5


def trunk(network: str, shape: tuple[int, ...], norm: Norm = "none") -> nn.Module:
    match network:
        case "mlp":
            return mlp.Trunk(shape, [24, 16], norm)
        case "dcgan":
            return dcgan.Trunk(shape, 4, norm)
        case _:
            return resnet.Trunk(shape, 8, norm)


def decoder(network: str, shape: tuple[int, ...], norm: Norm = "none", latent_dim: int = LATENT_DIM) -> nn.Module:
    match network:
        case "mlp":
            return mlp.Decoder(latent_dim, shape, [24, 16], norm)
        case "dcgan":
            return dcgan.Decoder(latent_dim, shape, 4, norm)
        case _:
            return resnet.Decoder(latent_dim, shape, 8, norm)


FEATURES = {"mlp": 16, "dcgan": 64, "resnet": 8}

DECODED = [(network, shape, norm) for (network, shape), norm in itertools.product(FITTING, NORMS)]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("network", "shape"), FITTING, ids=str)
def test_a_trunk_carries_examples_to_as_many_features_as_it_says(
    network: str, shape: tuple[int, ...], norm: Norm
) -> None:
    made = trunk(network, shape, norm)
    features = made(torch.rand(3, *shape))
    assert features.shape == (3, FEATURES[network])
    assert made.features == FEATURES[network]
    assert features.isfinite().all()
    assert features.std() > 0


@pytest.mark.parametrize(("network", "shape", "norm"), DECODED, ids=str)
def test_a_decoder_carries_latents_to_examples(network: str, shape: tuple[int, ...], norm: Norm) -> None:
    made = decoder(network, shape, norm)
    examples = made(torch.randn(3, LATENT_DIM))
    assert examples.shape == (3, *shape)
    assert examples.isfinite().all()
    assert examples.std() > 0
    assert made.eval()(torch.randn(1, LATENT_DIM)).shape == (1, *shape)


@pytest.mark.parametrize("network", MULTIPLE)
@pytest.mark.parametrize("latent_dim", [1, 2, 128])
def test_a_decoder_takes_any_number_of_latents(network: str, latent_dim: int) -> None:
    assert decoder(network, (3, 8, 8), latent_dim=latent_dim)(torch.randn(2, latent_dim)).shape == (2, 3, 8, 8)


@pytest.mark.parametrize("norm", NORMS)
def test_the_mlp_takes_points(norm: Norm) -> None:
    assert trunk("mlp", (2,), norm)(torch.randn(7, 2)).shape == (7, 16)
    assert decoder("mlp", (2,), norm)(torch.randn(7, LATENT_DIM)).shape == (7, 2)


@pytest.mark.parametrize(
    ("network", "shape"), [("mlp", (3, 7, 5)), ("dcgan", (3, 12, 20)), ("resnet", (3, 16, 24))], ids=str
)
def test_height_and_width_may_differ(network: str, shape: tuple[int, ...]) -> None:
    assert trunk(network, shape)(torch.rand(2, *shape)).shape == (2, FEATURES[network])
    assert decoder(network, shape)(torch.randn(2, LATENT_DIM)).shape == (2, *shape)


@pytest.mark.parametrize("make", [trunk, decoder], ids=["trunk", "decoder"])
@pytest.mark.parametrize(
    ("network", "shape"),
    [
        ("dcgan", (1, 30, 30)),
        ("dcgan", (1, 28, 30)),
        ("dcgan", (3, 2, 2)),
        ("resnet", (1, 28, 28)),
        ("resnet", (3, 8, 4)),
    ],
    ids=str,
)
def test_a_network_refuses_images_that_do_not_fit_and_says_what_to_do(
    make: Callable[..., nn.Module], network: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=f"network={network} .*multiples of {MULTIPLE[network]} ") as caught:
        make(network, shape)
    assert f"{shape[1]}x{shape[2]}" in str(caught.value)
    assert "use network=mlp, or resize the data" in str(caught.value)


@pytest.mark.parametrize("make", [trunk, decoder], ids=["trunk", "decoder"])
@pytest.mark.parametrize("network", ["dcgan", "resnet"])
def test_a_convolutional_network_refuses_points_and_says_what_to_do(
    make: Callable[..., nn.Module], network: str
) -> None:
    with pytest.raises(ValueError, match=rf"network={network} takes images, .*\(2,\): use network=mlp"):
        make(network, (2,))


@pytest.mark.parametrize("make", [trunk, decoder], ids=["trunk", "decoder"])
@pytest.mark.parametrize("network", MULTIPLE)
def test_an_unknown_norm_is_named(make: Callable[..., nn.Module], network: str) -> None:
    with pytest.raises(ValueError, match=re.escape("norm is 'bach'; expected none, batch, layer or spectral")):
        make(network, (3, 8, 8), "bach")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("network", MULTIPLE)
def test_every_parameter_gets_a_gradient(network: str, norm: Norm) -> None:
    """Of three draws of the weights at least one: now and then every unit of a small layer of ReLU is 0 for every image."""
    dead = list[set[str]]()
    for _ in range(3):
        critic, made = with_head(trunk(network, (3, 16, 16), norm), 2), decoder(network, (3, 16, 16), norm)
        critic(made(torch.randn(4, LATENT_DIM))).square().sum().backward()
        parameters = [*critic.named_parameters(), *made.named_parameters("made")]
        assert [name for name, weight in parameters if weight.grad is None] == []
        # a bias before a norm over its channel is cancelled, a kernel never is
        kernels = {name: weight.grad for name, weight in parameters if weight.dim() > 1}
        dead.append({name for name, grad in kernels.items() if grad is None or not grad.abs().max() > 0})
    assert set.intersection(*dead) == set()


@pytest.mark.parametrize("network", MULTIPLE)
def test_a_decoders_output_is_raw(network: str) -> None:
    """Likelihoods squash it. What is twice the last layer's is twice the output."""
    made, z = decoder(network, (3, 8, 8)), torch.randn(4, LATENT_DIM)
    once = made(z)
    last = [m for m in made.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)][-1]
    with torch.no_grad():
        last.weight *= 1000
        last.bias *= 1000
    torch.testing.assert_close(made(z), 1000 * once, rtol=1e-4, atol=1e-3)


def test_a_head_is_linear_on_the_features() -> None:
    made = trunk("dcgan", (1, 8, 8))
    headed, x = with_head(made, 7), torch.rand(3, 1, 8, 8)
    assert headed(x).shape == (3, 7)
    torch.testing.assert_close(headed(x), made(x) @ headed[1].weight.T + headed[1].bias)


# -------------------------------------------------------------------------------------------------- normalisation


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("network", MULTIPLE)
def test_only_norm_batch_is_batch_norm(network: str, norm: Norm) -> None:
    for made in (trunk(network, (3, 16, 16), norm), decoder(network, (3, 16, 16), norm)):
        assert has_batch_norm(made) == (norm == "batch")
        assert has_batch_norm(nn.ModuleList([with_head(trunk(network, (1, 8, 8)), 1), made])) == (norm == "batch")


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.BatchNorm1d(4), True),
        (nn.BatchNorm2d(4), True),
        (nn.BatchNorm3d(4), True),
        (nn.SyncBatchNorm(4), True),
        (nn.LazyBatchNorm2d(), True),
        (nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.BatchNorm1d(4))), True),
        (nn.GroupNorm(1, 4), False),
        (nn.LayerNorm(4), False),
        (nn.InstanceNorm2d(4), False),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU()), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_has_batch_norm_finds_it_at_any_depth_and_nothing_else(module: nn.Module, expected: bool) -> None:
    assert has_batch_norm(module) is expected


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("network", MULTIPLE)
def test_in_training_only_batch_norm_lets_examples_see_each_other(network: str, norm: Norm) -> None:
    """Why a WGAN-GP's critic has none: its gradient at an example would depend on the others."""
    made = trunk(network, (3, 16, 16), norm).train()
    for weight in made.parameters():  # large enough that differences would show
        if weight.dim() > 1:
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    x = torch.rand(2, 4, 3, 16, 16)
    first, other = (made(torch.cat([x[0, :1], rest[1:]]))[0] for rest in x)
    if norm == "batch":
        assert (first - other).abs().max() > 1e-2
    else:
        torch.testing.assert_close(first, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", MULTIPLE)
@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("none", set[type]()),
        ("batch", {nn.BatchNorm1d, nn.BatchNorm2d}),
        ("layer", {nn.LayerNorm, nn.GroupNorm}),
    ],
)
def test_networks_hold_the_norm_that_they_are_asked_for_and_no_other(
    network: str, norm: Norm, expected: set[type]
) -> None:
    every = {nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d}
    for made in (trunk(network, (3, 16, 16), norm), decoder(network, (3, 16, 16), norm)):
        found = {type(m) for m in made.modules()} & every
        assert found <= expected
        assert bool(found) == bool(expected)


@pytest.mark.parametrize("network", ["mlp", "dcgan"])
@pytest.mark.parametrize("norm", NORMS)
def test_a_layer_has_no_bias_where_batch_norm_would_cancel_it(network: str, norm: Norm) -> None:
    for made in (trunk(network, (3, 8, 8), norm), decoder(network, (3, 8, 8), norm)):
        for layer, following in itertools.pairwise(made.children()):
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                cancelled = isinstance(following, nn.BatchNorm1d | nn.BatchNorm2d)
                assert (layer.bias is None) == cancelled


def standardised(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    mean, var = x.mean(dims, keepdim=True), x.var(dims, unbiased=False, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt()


@pytest.mark.parametrize(("norm", "dims"), [("batch", (0, 2, 3)), ("layer", (1, 2, 3))])
def test_norm2d_standardises_over_its_dimensions_with_a_scale_and_a_shift_a_channel(
    norm: Norm, dims: tuple[int, ...]
) -> None:
    made, x = norm2d(norm, 6), 3 * torch.randn(4, 6, 5, 7) + torch.randn(4, 6, 1, 1)
    torch.testing.assert_close(made(x), standardised(x, dims), rtol=1e-4, atol=1e-4)
    scale, shift = torch.randn(2, 6, 1, 1)
    with torch.no_grad():
        made.weight.copy_(scale.flatten())
        made.bias.copy_(shift.flatten())
    torch.testing.assert_close(made(x), standardised(x, dims) * scale + shift, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("norm", "dims"), [("batch", (0,)), ("layer", (1,))])
def test_norm1d_standardises_over_its_dimension(norm: Norm, dims: tuple[int, ...]) -> None:
    x = 3 * torch.randn(9, 6) + torch.randn(6)
    torch.testing.assert_close(norm1d(norm, 6)(x), standardised(x, dims), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [norm1d, norm2d])
def test_no_norm_is_the_identity(make: Callable[..., nn.Module]) -> None:
    x = torch.randn(3, 6, 4, 4)
    assert make("none", 6)(x) is x


# ---------------------------------------------------------------------------------------- the papers' networks


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_dcgan_has_the_layers_of_lucic_et_al() -> None:
    """Table 6: 4x4 kernels, conv 64, conv 128, fc 1024; fc 1024, fc 128·7·7, deconv 64, deconv 1."""
    convolutions = (1 * 64 * 16 + 64) + (64 * 128 * 16 + 128)
    assert parameters(dcgan.Trunk((1, 28, 28))) == convolutions + (6272 * 1024 + 1024)
    assert dcgan.Trunk((1, 28, 28)).features == 1024
    dense = (62 * 1024 + 1024) + (1024 * 6272 + 6272)
    assert parameters(dcgan.Decoder(62, (1, 28, 28))) == dense + (128 * 64 * 16 + 64) + (64 * 1 * 16 + 1)


def test_dcgans_weights_are_drawn_with_a_deviation_of_a_fiftieth_and_its_biases_are_zero() -> None:
    for made in (dcgan.Trunk((3, 8, 8), 16, "layer"), dcgan.Decoder(10, (3, 8, 8), 16, "layer")):
        for m in made.modules():
            if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                n, weight = m.weight.numel(), m.weight.detach()
                assert abs(float(weight.mean())) < 8 * 0.02 / math.sqrt(n)
                assert float(weight.std()) == pytest.approx(0.02, rel=8 / math.sqrt(2 * n))
                assert m.bias is not None
                assert not m.bias.any()
            elif isinstance(m, nn.LayerNorm | nn.GroupNorm):
                assert (m.weight == 1).all()


def test_resnets_count_is_that_of_its_blocks() -> None:
    """Gulrajani et al. 2017, table 4, at its width of 128: each full block has two 3x3 convolutions of 128 channels."""
    pair = 2 * (128 * 128 * 9 + 128)
    shortcut = 128 * 128 + 128
    first = (3 * 128 * 9 + 128) + (128 * 128 * 9 + 128) + (3 * 128 + 128)
    assert parameters(resnet.Trunk((3, 32, 32))) == first + (pair + shortcut) + 2 * pair
    out = 128 * 3 * 9 + 3
    assert parameters(resnet.Decoder(128, (3, 32, 32))) == (128 * 2048 + 2048) + 3 * (pair + shortcut) + out


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("resample", ["up", "down", "none"])
def test_a_residual_block_is_the_papers(resample: Any, first: bool) -> None:
    """Gulrajani et al. 2017, app. F: the shortcut is convolved, then pooled; upsampling is to the nearest."""
    block, x = resnet.Block(4, 6, resample, "layer", first).double(), torch.randn(3, 4, 8, 8, dtype=torch.float64)
    for weight in block.parameters():
        nn.init.normal_(weight, std=0.5)

    def norm(module: Any, h: Tensor) -> Tensor:
        scaled = F.layer_norm(h, h.shape[1:])
        return (scaled * module.weight[:, None, None] + module.bias[:, None, None]).relu()

    def up(h: Tensor) -> Tensor:
        return h.repeat_interleave(2, 2).repeat_interleave(2, 3) if resample == "up" else h

    def down(h: Tensor) -> Tensor:
        return h.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)) if resample == "down" else h

    h = block.conv1(up(x if first else norm(block.norm1, x)))
    h = down(block.conv2(norm(block.norm2, h)))
    shortcut = down(F.conv2d(up(x), block.shortcut.weight, block.shortcut.bias))
    torch.testing.assert_close(block(x), h + shortcut)


def test_a_level_blocks_shortcut_is_the_identity() -> None:
    block, x = resnet.Block(6, 6, "none", "batch"), torch.randn(3, 6, 8, 8)
    nn.init.zeros_(block.conv2.weight)
    assert block.conv2.bias is not None
    nn.init.zeros_(block.conv2.bias)
    torch.testing.assert_close(block(x), x)


def test_the_residual_trunk_ends_in_the_mean_over_positions_of_rectified_features() -> None:
    made, x = resnet.Trunk((3, 16, 16), 8), torch.rand(4, 3, 16, 16)
    blocks = x
    for block in list(made.children())[:4]:
        blocks = block(blocks)
    assert blocks.shape == (4, 8, 4, 4)
    torch.testing.assert_close(made(x), blocks.clamp(min=0).mean((2, 3)))


@pytest.mark.parametrize("make", [lambda: mlp.Trunk((1, 8, 8), []), lambda: mlp.Decoder(2, (1, 8, 8), [])])
def test_a_perceptron_without_a_layer_is_refused(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(ValueError, match="widths is empty"):
        make()
