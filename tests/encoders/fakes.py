"""Random images, and what the tests of encoders ask of every encoder."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.encoders.base import FeatureEncoder, load_encoder
from benchmarks.errors import UserError

CPU = torch.device("cpu")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def images(n: int, *shape: int) -> Tensor:
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8)


def refusal(name: str, weights: Path | None = None) -> str:
    """The one line that asking for the encoder ends in."""
    with pytest.raises(UserError) as caught:
        load_encoder(name, str(weights) if weights else None, CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_independence_of_batching(encoder: FeatureEncoder, x: Tensor) -> None:
    parts = torch.cat([encoder(part) for part in x.split(len(x) // 2)])
    torch.testing.assert_close(parts, encoder(x), rtol=1e-4, atol=1e-5)


def check_autocast_is_off(encoder: FeatureEncoder, x: Tensor) -> None:
    expected = encoder(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder(x).equal(expected)
