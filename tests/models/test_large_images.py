"""Networks for images of more than 32 pixels."""

import re

import pytest
import torch
from torch import nn

from models.networks import dcgan, resnet
from tests.conftest import ROOT, choices

MODULES = {"dcgan": dcgan, "resnet": resnet}


def layers(network: nn.Module) -> list[tuple[int, int]]:
    """Channels in and out of each convolution of 4x4 or residual block, in order."""
    found = []
    for m in network.children():
        if isinstance(m, resnet.Block):
            found.append((m.conv1.in_channels, m.conv1.out_channels))
        elif isinstance(m, nn.Conv2d | nn.ConvTranspose2d) and m.kernel_size == (4, 4):
            found.append((m.in_channels, m.out_channels))
    return found


def made_for(network: str, pixels: int, width: int) -> tuple[nn.Module, nn.Module]:
    """A trunk and a decoder without weights: they have as many as 40 million."""
    module = MODULES[network]
    with torch.device("meta"):
        return module.Trunk((3, pixels, pixels), width), module.Decoder(100, (3, pixels, pixels), width)  # type: ignore[attr-defined]


def test_dcgan_at_64_pixels_has_the_convolutions_of_radford_et_al() -> None:
    """Fig. 1: a projection to 4x4x1024, and four convolutions to 512, 256, 128 channels and the image."""
    trunk, decoder = made_for("dcgan", 64, width=128)
    assert layers(decoder) == [(1024, 512), (512, 256), (256, 128), (128, 3)]
    assert layers(trunk) == [(3, 128), (128, 256), (256, 512), (512, 1024)]
    assert next(m for m in decoder.children() if isinstance(m, nn.Unflatten)).unflattened_size == (1024, 4, 4)
    assert layers(made_for("dcgan", 128, width=16)[0]) == [(3, 16), (16, 32), (32, 64), (64, 128), (128, 128)]
    assert layers(made_for("dcgan", 32, width=64)[0]) == [(3, 64), (64, 128)]


def test_resnet_at_128_pixels_has_the_blocks_of_miyato_et_al() -> None:
    """App. B.4: blocks down to 64, 128, 256, 512 and 1024 channels and a level block; from 4x4x1024 up to 1024, 512, ..., 64."""
    trunk, decoder = made_for("resnet", 128, width=128)
    assert layers(trunk) == [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1024), (1024, 1024)]
    assert layers(decoder) == [(1024, 1024), (1024, 512), (512, 256), (256, 128), (128, 64)]
    assert next(m for m in decoder.children() if isinstance(m, nn.Unflatten)).unflattened_size == (1024, 4, 4)
    trunk, decoder = made_for("resnet", 64, width=128)
    assert layers(trunk) == [(3, 64), (64, 128), (128, 256), (256, 512), (512, 512)]
    assert layers(decoder) == [(1024, 512), (512, 256), (256, 128), (128, 64)]


def test_the_docs_print_the_parameters_of_each_network() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", (ROOT / "docs/own_data.md").read_text(), re.M
    )
    assert {(name, int(pixels)) for name, pixels, *_ in rows} == {
        (n, p) for n in choices("network") for p in (32, 64, 128) if "mlp" not in n
    }
    for name, pixels, *numbers in rows:
        module, narrow = MODULES[name.removesuffix("_narrow")], 4 if name.endswith("_narrow") else 1
        width, shape = {dcgan: 64, resnet: 128}[module] // narrow, (3, int(pixels), int(pixels))
        with torch.device("meta"):
            trunk, decoder = module.Trunk(shape, width), module.Decoder(64, shape, width, "batch")  # type: ignore[attr-defined]
        counts = [sum(weight.numel() for weight in network.parameters()) for network in (trunk, decoder)]
        assert [*counts, trunk.features] == [int(number.replace(",", "")) for number in numbers]


@pytest.mark.parametrize("network", ["dcgan", "resnet"])
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 128, 128), (3, 40, 40), (1, 96, 96), (3, 64, 48)], ids=str)
def test_a_network_carries_large_images(network: str, shape: tuple[int, ...]) -> None:
    made = MODULES[network].Trunk(shape, 8)  # type: ignore[attr-defined]
    features = made(torch.rand(2, *shape))
    assert features.shape == (2, made.features)
    assert features.isfinite().all()
    assert features.std() > 0
    decoder = MODULES[network].Decoder(5, shape, 8, "batch")  # type: ignore[attr-defined]
    assert decoder(torch.randn(2, 5)).shape == (2, *shape)


@pytest.mark.parametrize("network", ["dcgan", "resnet"])
@pytest.mark.parametrize(("pixels", "near"), [(72, "64 or 80"), (136, "128 or 160")])
def test_a_large_image_that_cannot_be_halved_is_refused_with_sizes_that_can(
    network: str, pixels: int, near: str
) -> None:
    with pytest.raises(ValueError, match=f"network={network} .* data are {pixels}x{pixels}: .* {near} pixels"):
        made_for(network, pixels, 8)
    for fitting in map(int, near.split(" or ")):
        assert made_for(network, fitting, 8)
