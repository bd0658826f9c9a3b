"""Trunks (data to features) and decoders (latents to raw outputs): the same classes for every family."""

from typing import cast

from torch import nn

from models.networks.norm import norm_weights_like


def with_head(trunk: nn.Module, outputs: int) -> nn.Sequential:
    """The trunk and a linear layer on its features: an encoder, or a critic. (B, ...) -> (B, outputs).

    On a trunk with spectral norm the layer has it too: the whole map is Lipschitz.
    """
    head = nn.Linear(cast(int, trunk.features), outputs)
    norm_weights_like(trunk, head)
    return nn.Sequential(trunk, head)
