"""DINOv2's network and its preparation of images, from small random weights."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer as Independent

from benchmarks.encoders.base import FeatureEncoder, load_encoder
from benchmarks.encoders.dinov2 import MEAN, PIXELS, STD, URL, VisionTransformer, prepared
from tests.encoders.fakes import (
    CPU,
    check_autocast_is_off,
    check_independence_of_batching,
    images,
    refusal,
    sha256,
)

WIDTH, DEPTH, GRID = 128, 2, 5


def state(grid: int = GRID) -> dict[str, Tensor]:
    """Random weights under the names of the published file, which also has a mask token."""
    network = VisionTransformer(WIDTH, DEPTH, grid)
    drawn = {name: 0.2 * torch.randn_like(value) for name, value in network.state_dict().items()}
    return {**drawn, "mask_token": torch.zeros(1, WIDTH)}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "dinov2_small.pth"
    torch.save(state(), path)
    return path


@pytest.fixture
def encoder(weights: Path) -> FeatureEncoder:
    return load_encoder("dinov2", str(weights), CPU)


def test_the_network_is_a_vision_transformer_with_scaled_layers() -> None:
    """torchvision's has no layer scale: a linear layer takes it in, γ(Wx + b) = (γW)x + γb."""
    ours = state(grid=16)
    theirs = Independent(224, 14, DEPTH, WIDTH // 64, WIDTH, 4 * WIDTH)
    theirs.heads = nn.Identity()
    names = {"cls_token": "class_token", "pos_embed": "encoder.pos_embedding", "norm": "encoder.ln"}
    names |= {"patch_embed.proj": "conv_proj"}
    inside = {
        "norm1": "ln_1",
        "norm2": "ln_2",
        "attn.qkv": "self_attention.in_proj",
        "attn.proj": "self_attention.out_proj",
    }
    inside |= {"mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3"}
    for i in range(DEPTH):
        names |= {f"blocks.{i}.{a}": f"encoder.layers.encoder_layer_{i}.{b}" for a, b in inside.items()}
    renamed = {}
    for name, value in ours.items():
        layer, _, kind = name.rpartition(".")
        if kind == "gamma" or name == "mask_token":
            continue
        if scale := {"attn.proj": "ls1", "mlp.fc2": "ls2"}.get(".".join(layer.split(".")[2:])):
            gamma = ours[f"{'.'.join(layer.split('.')[:2])}.{scale}.gamma"]
            value = gamma.view(-1, *[1] * (value.dim() - 1)) * value
        key = names[layer or name]
        joint = "_" if key.endswith("in_proj") else "."
        renamed[f"{key}{joint}{kind}" if layer else key] = value
    theirs.load_state_dict(renamed)
    x = torch.randn(3, 3, 224, 224)
    torch.testing.assert_close(VisionTransformer.from_state(ours)(x), theirs.eval()(x), rtol=1e-3, atol=1e-3)


def cubic_weights(n: int, size: int, scale: float) -> Tensor:
    """The weights of n outputs over `size` inputs, (n, size): Keys' cubic convolution with a = -0.75, as in torch's docs.

    Output i lies at (i + ½)/scale - ½; an input beyond the border is the one at the border.
    """
    a, weights = -0.75, torch.zeros(n, size)
    for i in range(n):
        at = (i + 0.5) / scale - 0.5
        for tap in range(math.floor(at) - 1, math.floor(at) + 3):
            d = abs(at - tap)
            near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
            weights[i, min(max(tap, 0), size - 1)] += near if d <= 1 else far
    return weights


def test_positions_are_interpolated_where_the_published_features_have_them() -> None:
    """From 37x37 to 16x16 by a factor of 16.1/37."""
    network = VisionTransformer(64, 1, 37)
    network.pos_embed.data.normal_()
    weights = cubic_weights(16, 37, 16.1 / 37)
    square = network.pos_embed[0, 1:].view(37, 37, 64)
    expected = torch.einsum("ia,jb,abc->ijc", weights, weights, square).view(1, 256, 64)
    torch.testing.assert_close(network._positions(16, 16), expected, rtol=1e-3, atol=1e-3)
    assert network._positions(37, 37).equal(network.pos_embed[:, 1:])


def greys(x: Tensor) -> Tensor:
    """What is prepared of images, in grey values of 0 to 255."""
    made = prepared(x)
    assert made.shape == (len(x), 3, PIXELS, PIXELS)
    return 255 * (made * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1))


def resized_by_pillow(image: Tensor, *sizes: tuple[int, int]) -> Tensor:
    """A uint8 image (C, H, W) resized to each size (height, width) in turn, (3, height, width)."""
    image = image.expand(3, -1, -1)
    for height, width in sizes:
        made = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.BICUBIC)
        image = torch.frombuffer(bytearray(made.tobytes()), dtype=torch.uint8).view(height, width, 3).permute(2, 0, 1)
    return image


@pytest.mark.parametrize("shape", [(1, 28, PIXELS), (3, PIXELS, 64), (3, 300, PIXELS), (3, PIXELS, 260)], ids=str)
def test_images_are_resized_along_one_side_as_by_pillow_but_for_halves(shape: tuple[int, ...]) -> None:
    """Of 64 values in 224 pixels, a grey value in two hundred is a half, which float32 and Pillow's whole numbers round each in
    its own way: only there may a grey value differ, and by 1."""
    image = images(1, *shape)
    ours, theirs = greys(image)[0], resized_by_pillow(image[0], (PIXELS, PIXELS)).float()
    difference = (ours - theirs).abs()
    exact = F.interpolate(image.double(), (PIXELS, PIXELS), mode="bicubic", antialias=True).clamp(0, 255)
    from_half = (exact[0].expand(3, -1, -1) % 1 - 0.5).abs()
    assert difference.max() < 1.01
    assert (from_half[difference > 0.01] < 0.01).all()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (3, 300, 260)], ids=str)
def test_images_are_resized_first_along_rows_and_normalised_as_imagenet(shape: tuple[int, ...]) -> None:
    x = images(2, *shape)
    for image, ours in zip(x, greys(x), strict=True):
        difference = (ours - resized_by_pillow(image, (shape[1], PIXELS), (PIXELS, PIXELS))).abs()
        other_order = (ours - resized_by_pillow(image, (PIXELS, shape[2]), (PIXELS, PIXELS))).abs()
        assert difference.max() < 2.01
        assert difference.mean() < 0.1 * other_order.mean()


def test_features_are_those_of_the_network_and_named_after_it(encoder: FeatureEncoder, weights: Path) -> None:
    x = images(3, 3, 32, 32)
    features = encoder(x)
    assert (encoder.name, encoder.dim, encoder.checksum) == (f"dinov2-{WIDTH}", WIDTH, sha256(weights))
    network = VisionTransformer.from_state(torch.load(weights, weights_only=True))
    torch.testing.assert_close(features, network(prepared(x)).detach())
    assert features.dtype == torch.float32
    assert not features.requires_grad
    assert features.std(0).min() > 0
    check_independence_of_batching(encoder, images(4, 1, 28, 28))
    check_autocast_is_off(encoder, x)


def test_the_network_of_the_paper_has_the_name_and_the_size_that_are_published() -> None:
    """ViT-L/14: 304 million parameters and 1,024 features; the positions of 518 pixels."""
    with torch.device("meta"):
        network = VisionTransformer(1024, 24, 37)
    assert sum(weight.numel() for weight in network.parameters()) == 304_367_616
    assert math.isclose(4 * 304_367_616, 1_217_586_395, rel_tol=1e-4), "the bytes of the published file"


def test_weights_of_safetensors_are_the_same(tmp_path: Path, encoder: FeatureEncoder, weights: Path) -> None:
    save_file(torch.load(weights, weights_only=True), tmp_path / "w.safetensors")
    x = images(2, 1, 28, 28)
    assert load_encoder("dinov2", str(tmp_path / "w.safetensors"), CPU)(x).equal(encoder(x))


def test_it_says_what_it_cannot_take(encoder: FeatureEncoder) -> None:
    assert encoder.why_not((1, 28, 28)) is None
    assert encoder.why_not((3, 64, 64)) is None
    for wrong in [(2,), (4, 8, 8)]:
        assert str(wrong) in str(encoder.why_not(wrong))


def test_weights_that_cannot_be_fetched_are_asked_for(tmp_path: Path, downloads: list[str]) -> None:
    message = refusal("dinov2")
    assert downloads == [URL]
    assert f"download {URL} elsewhere and put it at {tmp_path / 'torch'}" in message
    assert "protocol.encoder_weights=PATH" in message
    assert "nowhere.pth, which is not a file" in refusal("dinov2", tmp_path / "nowhere.pth")


@pytest.mark.parametrize("kind", ["text", "another network", "registers", "no state"])
def test_a_file_that_does_not_hold_its_weights_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.pth"
    if kind == "text":
        path.write_text("these are not weights\n" * 10)
    else:
        others: dict[str, Any] = {"another network": nn.Linear(2, 2).state_dict(), "no state": [1, 2]}
        others["registers"] = {**state(), "register_tokens": torch.zeros(1, 4, WIDTH)}
        torch.save(others[kind], path)
    assert f"{path} does not hold DINOv2's weights" in refusal("dinov2", path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_that_would_run_code_are_refused_before_they_do(tmp_path: Path, suffix: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    weights = tmp_path / f"weights{suffix}"
    torch.save({"pos_embed": Trap()}, weights)
    assert "does not hold DINOv2's weights" in refusal("dinov2", weights)
    assert not (tmp_path / "sprung").exists()
