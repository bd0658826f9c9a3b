"""Gradients with respect to latents for metrics that take thousands: layer by layer, without autograd's records.

The rule of a layer calls the operations that autograd calls, so values and gradients are those of autograd, to the bit. In small
networks autograd's own work takes as long as the arithmetic.
"""

from collections.abc import Callable
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.contracts import Composition

Function = Callable[[Tensor], Tensor]
# from an input to the output, and the function from a gradient with respect to the output to that with respect to the input
Rule = Callable[[Tensor], tuple[Tensor, Function]]


def with_pullback(function: Function) -> Rule:
    """The rule of a function g, (B, Z) -> (B, ...): from z to g(z), and from ∂L/∂g(z) to ∂L/∂z for any L.

    No result has a graph. Weights are those of the moment of each call; modules are in evaluation mode. Parts without a rule are
    left to autograd.
    """
    parts = groupby(_flat(function), lambda part: type(part) in RULES)
    rules = [
        rule
        for has_rule, group in parts
        for rule in ([RULES[type(part)](part) for part in group] if has_rule else [_by_autograd(Composition(group))])
    ]

    @torch.no_grad()
    def rule(x: Tensor) -> tuple[Tensor, Function]:
        pullbacks: list[Function] = []
        for each in rules:
            x, pullback = each(x)
            pullbacks.append(pullback)

        @torch.no_grad()
        def pulled(gradient: Tensor) -> Tensor:
            for pullback in reversed(pullbacks):
                gradient = pullback(gradient)
            return gradient

        return x, pulled

    return rule


def _by_autograd(function: Function) -> Rule:
    def rule(x: Tensor) -> tuple[Tensor, Function]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = function(x)
        return y.detach(), lambda gradient: torch.autograd.grad(y, x, gradient)[0]

    return rule


def _linear(layer: nn.Linear) -> Rule:
    return lambda x: (F.linear(x, layer.weight, layer.bias), lambda gradient: gradient @ layer.weight)


def _relu(layer: nn.ReLU) -> Rule:
    def rule(x: Tensor) -> tuple[Tensor, Function]:
        y = torch.relu(x)
        return y, lambda gradient: torch.ops.aten.threshold_backward.default(gradient, y, 0)

    return rule


def _sigmoid(layer: nn.Sigmoid) -> Rule:
    def rule(x: Tensor) -> tuple[Tensor, Function]:
        y = torch.sigmoid(x)
        return y, lambda gradient: torch.ops.aten.sigmoid_backward.default(gradient, y)

    return rule


def _batch_norm(norm: nn.BatchNorm1d) -> Rule:
    mean, var = norm.running_mean, norm.running_var
    if norm.training or mean is None:
        return _by_autograd(norm)
    back = torch.ops.aten.native_batch_norm_backward.default
    of_input = [True, False, False]

    def rule(x: Tensor) -> tuple[Tensor, Function]:
        y = F.batch_norm(x, mean, var, norm.weight, norm.bias, False, 0.0, norm.eps)
        return y, lambda gradient: back(gradient, x, norm.weight, mean, var, None, None, False, norm.eps, of_input)[0]

    return rule


def _reshaped(layer: nn.Unflatten) -> Rule:
    return lambda x: (layer(x), lambda gradient: gradient.reshape(x.shape))


# by the exact class, because a subclass may compute something else
RULES: dict[type, Callable[..., Rule]] = {
    nn.Linear: _linear,
    nn.ReLU: _relu,
    nn.Sigmoid: _sigmoid,
    nn.BatchNorm1d: _batch_norm,
    nn.Unflatten: _reshaped,
}


def _flat(function: Function) -> list[Function]:
    """The parts of a function in their order: those of a composition, and the layers of a sequence."""
    if isinstance(function, nn.Identity):
        return []
    is_sequence = isinstance(function, nn.Sequential) and type(function).forward is nn.Sequential.forward
    if is_sequence or isinstance(function, Composition):
        return [part for each in function for part in _flat(each)]  # type: ignore[attr-defined]
    return [function]
