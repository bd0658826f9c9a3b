"""Trunks (data to features) and decoders (latents to raw outputs): the same classes for every family."""

from typing import cast

from torch import nn


def with_head(trunk: nn.Module, outputs: int) -> nn.Sequential:
    """The trunk and a linear layer on its features: an encoder, or a critic. (B, ...) -> (B, outputs)."""
    return nn.Sequential(trunk, nn.Linear(cast(int, trunk.features), outputs))
