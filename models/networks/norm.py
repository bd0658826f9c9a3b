"""Normalisation layers by name, because a paper may forbid one, as WGAN-GP forbids batch norm, or ask for one, as SN-GAN."""

from typing import Literal

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

Norm = Literal["none", "batch", "layer", "spectral"]


def norm1d(norm: Norm, features: int) -> nn.Module:
    """Over (B, features)."""
    match norm:
        case "none" | "spectral":
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
        case "none" | "spectral":
            return nn.Identity()
        case "batch":
            return nn.BatchNorm2d(channels)
        case "layer":
            return nn.GroupNorm(1, channels)
        case _:
            raise _unknown(norm)


def norm_weights(norm: Norm, network: nn.Module) -> None:
    """For "spectral": each weight of a network is divided by its largest singular value, W / σ(W). Call it after initialisation.

    A forward pass in training mode makes one step of power iteration (Miyato et al. 2018, sec. 2.2 and Alg. 1).
    """
    if norm == "spectral":
        for layer in list(network.modules()):
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                spectral_norm(layer)


def norm_weights_like(trunk: nn.Module, layers: nn.Module) -> None:
    """Gives layers on a trunk spectral norm if the trunk has it, so that the slope of the whole map is bounded."""
    norm_weights("spectral" if has_spectral_norm(trunk) else "none", layers)


def has_batch_norm(module: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())


def has_spectral_norm(module: nn.Module) -> bool:
    return any(is_parametrized(m, "weight") for m in module.modules())


def refuse_batch_norm(critic: nn.Module, paper: str) -> None:
    """For papers that penalise a critic's gradient at an example, which batch norm makes depend on the other examples.

    Raises:
        ValueError: for a critic with batch norm.
    """
    if has_batch_norm(critic):
        raise ValueError(f"a {paper}'s critic takes no batch norm: set model.trunk.norm to layer or none")


def _unknown(norm: str) -> ValueError:
    return ValueError(f"norm is {norm!r}; expected none, batch, layer or spectral")
