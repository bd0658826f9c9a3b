"""Gradients by rules of layers against autograd."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.metrics.pullback import RULES, with_pullback
from models.contracts import Composition
from models.networks import dcgan, mlp
from models.networks.folding import folded


def normed() -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(5)
    for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        assert tensor is not None
        nn.init.uniform_(tensor, 0.5, 2)
    return norm


CASES: dict[str, Any] = {
    "Linear": lambda: nn.Linear(5, 7),
    "without bias": lambda: nn.Linear(5, 7, bias=False),
    "ReLU": nn.ReLU,
    "Sigmoid": nn.Sigmoid,
    "BatchNorm1d": normed,
    "batch norm without statistics": lambda: nn.BatchNorm1d(5, track_running_stats=False),
    "Unflatten": lambda: nn.Unflatten(1, (1, 5)),
    "no rule": lambda: torch.tanh,
    "nothing": nn.Identity,
    "mlp": lambda: nn.Sequential(mlp.Decoder(5, (1, 4, 4), [8, 6], "batch"), nn.Sigmoid()),
    "dcgan": lambda: dcgan.Decoder(5, (1, 8, 8), 4, "batch"),
    "folded": lambda: folded(dcgan.Decoder(5, (1, 8, 8), 4, "batch").eval()),
    "a composition": lambda: Composition(
        [torch.sin, nn.Linear(5, 4), nn.Sequential(nn.ReLU(), nn.Identity()), torch.exp]
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_autograd(name: str) -> None:
    function = CASES[name]()
    if isinstance(function, nn.Module):
        function.eval()
    z = torch.randn(6, 5)
    expected, gradient = by_autograd(function, z)
    value, pullback = with_pullback(function)(z)
    assert not value.requires_grad
    assert torch.equal(value, expected)
    weight = torch.randn_like(value)
    assert torch.equal(pullback(weight), gradient(weight))
    assert not z.requires_grad


def by_autograd(function: Any, z: Tensor) -> tuple[Tensor, Any]:
    z = z.clone().requires_grad_()
    value = function(z)
    return value.detach(), lambda weight: torch.autograd.grad(value, z, weight)[0]


def test_every_rule_is_tested() -> None:
    assert {rule.__name__ for rule in RULES} <= set(CASES)


def test_a_subclass_of_a_layer_is_left_to_autograd() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    layer, z, weight = Doubled(5, 3), torch.randn(4, 5), torch.randn(4, 3)
    value, pullback = with_pullback(layer)(z)
    torch.testing.assert_close(value, layer(z).detach())
    torch.testing.assert_close(pullback(weight), 2 * weight @ layer.weight.detach())
