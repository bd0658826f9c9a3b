"""Normalisation layers by name, because a paper may forbid one: WGAN-GP's critic takes no batch norm."""

from typing import Literal

from torch import nn

Norm = Literal["none", "batch", "layer"]


def norm1d(norm: Norm, features: int) -> nn.Module:
    """Over (B, features)."""
    match norm:
        case "none":
            return nn.Identity()
        case "batch":
            return nn.BatchNorm1d(features)
        case "layer":
            return nn.LayerNorm(features)
        case _:
            raise _unknown(norm)


def norm2d(norm: Norm, channels: int) -> nn.Module:
    """Over (B, channels, H, W). "layer" normalises over C, H and W with a scale and a shift per channel."""
    match norm:
        case "none":
            return nn.Identity()
        case "batch":
            return nn.BatchNorm2d(channels)
        case "layer":
            return nn.GroupNorm(1, channels)
        case _:
            raise _unknown(norm)


def has_batch_norm(module: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())


def _unknown(norm: str) -> ValueError:
    return ValueError(f"norm is {norm!r}; expected none, batch or layer")
