"""Decoders that run many thousand times with the same weights: equal networks with fewer and cheaper layers."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

# act on each feature alone, whatever the order of features
POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.Softplus)


def folded(network: nn.Module) -> nn.Module:
    """A copy of a network that computes the same in evaluation mode, to rounding. (B, ...) -> (B, ...).

    A batch norm becomes part of the linear or convolutional layer before it. On a CPU, a transposed convolution becomes a
    convolution whose images have their channels last in memory. Other layers stay. The copy has the weights of the moment,
    as constants: gradients exist with respect to the input only.
    """
    layers: list[nn.Module] = []
    for layer in _flat(copy.deepcopy(network).requires_grad_(False)):
        merged = _merged(layers[-1], layer) if layers else None
        layers[-1:] = [merged] if merged is not None else [*layers[-1:], layer]
    layers = [SubPixel(layer) if isinstance(layer, nn.ConvTranspose2d) and _fits(layer) else layer for layer in layers]
    _put_channels_last(layers)
    return nn.Sequential(*layers)


class SubPixel(nn.Module):
    """A transposed convolution of stride s as a convolution with s² times the channels, (B, C, H, W) -> (B, C', H', W').

    Along each axis, output s·m + a reads input m - j through the weight of tap s·j + a. So the outputs of one offset a are a
    convolution of their own, and the offsets are put side by side afterwards. The backward pass is the strided convolution
    that the layer is the transpose of. Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?"

    Args:
        layer: with a kernel that is a multiple of its stride; without groups, dilation and output padding.
    """

    weight: Tensor
    split: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.stride, self.padding = layer.stride[0], int(layer.padding[0])
        self.taps = layer.kernel_size[0] // self.stride
        weight, along = layer.weight.detach(), (self.taps, self.stride)
        # (C, C', tap, offset, tap, offset) -> (offset, offset, C', C, tap, tap)
        split = weight.view(*weight.shape[:2], *along, *along).flip(2, 4).permute(3, 5, 1, 0, 2, 4)
        split = split.reshape(-1, layer.in_channels, self.taps, self.taps)
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("split", split.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().repeat(self.stride**2))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _SubPixel.apply(x, self)
        return out


class _SubPixel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: SubPixel) -> Tensor:
        ctx.layer, s, p = layer, layer.stride, layer.padding
        out = F.conv2d(x, layer.split, layer.bias, padding=layer.taps - 1).permute(0, 2, 3, 1)
        b, h, w, _ = out.shape
        side_by_side = out.reshape(b, h, w, s, s, -1).permute(0, 1, 3, 2, 4, 5).reshape(b, s * h, s * w, -1)
        return side_by_side[:, p : s * h - p, p : s * w - p].permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        layer: SubPixel = ctx.layer
        b, c, h, w = gradient.shape
        # the strides of channels last also where C' = 1, which otherwise counts as the other order
        gradient = gradient.permute(0, 2, 3, 1).reshape(-1).view(b, h, w, c).permute(0, 3, 1, 2)
        return F.conv2d(gradient, layer.weight, None, layer.stride, layer.padding), None


class _UnflattenLast(nn.Module):
    """Features in the order height, width, channel: (B, H·W·C) -> (B, C, H, W) without a copy."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        c, h, w = self.shape
        return x.view(-1, h, w, c).permute(0, 3, 1, 2)


def _flat(network: nn.Module) -> list[nn.Module]:
    """The layers of nested sequences in order, without identities."""
    if isinstance(network, nn.Identity):
        return []
    if isinstance(network, nn.Sequential) and type(network).forward is nn.Sequential.forward:
        return [layer for part in network for layer in _flat(part)]
    return [network]


def _merged(layer: nn.Module, norm: nn.Module) -> nn.Module | None:
    """A layer and a batch norm in evaluation mode as one layer; None where that is not possible."""
    if norm.training or layer.training or not isinstance(norm, _BatchNorm) or norm.running_mean is None:
        return None
    match layer, norm:
        case nn.Linear(), nn.BatchNorm1d():
            return fuse_linear_bn_eval(layer, norm)
        case nn.Conv2d(), nn.BatchNorm2d():
            return fuse_conv_bn_eval(layer, norm)
        case nn.ConvTranspose2d(groups=1), nn.BatchNorm2d():
            return fuse_conv_bn_eval(layer, norm, transpose=True)
    return None


def _fits(layer: nn.ConvTranspose2d) -> bool:
    """Whether `SubPixel` can replace a layer, and the layer is on a CPU."""
    return (
        layer.weight.device.type == "cpu"
        and (layer.groups, layer.dilation, layer.output_padding) == (1, (1, 1), (0, 0))
        and all(len({*pair}) == 1 for pair in (layer.kernel_size, layer.stride, layer.padding))
        and layer.stride[0] > 1
        and layer.kernel_size[0] % layer.stride[0] == 0
    )


def _put_channels_last(layers: list[nn.Module]) -> None:
    """Makes a linear layer give its features in the order that the first `SubPixel` behind it works in."""
    for i, layer in enumerate(layers[:-1]):
        if not (isinstance(layer, nn.Unflatten) and layer.dim == 1 and isinstance(layers[i + 1], SubPixel)):
            continue
        shape = tuple(layer.unflattened_size)
        start = next((j for j in range(i - 1, -1, -1) if not isinstance(layers[j], POINTWISE)), 0)
        linear = layers[start]
        if isinstance(linear, nn.Linear) and len(shape) == 3 and math.prod(shape) == linear.out_features:
            order = torch.arange(linear.out_features).view(shape).permute(1, 2, 0).flatten()
            for parameter in (p for p in (linear.weight, linear.bias) if p is not None):
                parameter.data = parameter.data[order]
            layers[i] = _UnflattenLast(shape)
