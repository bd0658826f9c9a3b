"""AUROC against scikit-learn; which scores a model is given by what it can do."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from benchmarks.metrics.anomaly import Anomaly, auroc
from benchmarks.metrics.inversion import Inversion
from models.contracts import Elbo
from models.priors import Normal
from tests.metrics.fakes import FakeData, FakeReconstructor, FakeSampler, subject


@pytest.mark.parametrize("spread", [1e-6, 1.0, 1e6])
def test_auroc_equals_scikit_learns_ties_and_all(spread: float) -> None:
    known, unknown = (spread * torch.randn(n).mul(3).round().double() for n in (70, 40))
    unknown += spread
    labels = [0] * 70 + [1] * 40
    expected = roc_auc_score(labels, torch.cat([known, unknown]).numpy())
    assert auroc(known, unknown) == pytest.approx(expected, abs=1e-6)


def test_auroc_of_what_is_told_apart_is_one_and_of_the_same_is_a_half() -> None:
    assert auroc(torch.tensor([-900.0, 1.0]), torch.tensor([2.0, 3e9])) == 1
    assert auroc(torch.tensor([2.0, 3e9]), torch.tensor([-900.0, 1.0])) == 0
    assert auroc(torch.ones(5), torch.ones(7)) == 0.5


@dataclass
class FakeClasses(FakeData):
    leave_out: Any = None
    odd: Any = None

    def left_out(self, split: str, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        assert split == "test"
        yield from self.odd[:limit].split(batch_size)


class LineCodec:
    """Knows the points of a line, and its own bound."""

    prior = Normal(1)

    def encode(self, x: Tensor) -> Tensor:
        return x[:, :1]

    def decode(self, z: Tensor) -> Tensor:
        return z.repeat(1, 2)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def elbo(self, x: Tensor) -> Elbo:
        return Elbo(-(x[:, 0] - x[:, 1]).abs(), torch.zeros(len(x)))

    def log_weights(self, x: Tensor, k: int) -> Tensor:
        raise NotImplementedError

    def why_no_density(self, binary: bool) -> str | None:
        return None


def classes() -> FakeClasses:
    line = torch.randn(60, 1).repeat(1, 2)
    return FakeClasses(line + 0.01 * torch.randn(60, 2), leave_out=3, odd=line[:40] + torch.tensor([0.0, 2.0]))


def test_a_class_that_was_never_seen_is_told_by_every_score_that_the_model_has() -> None:
    ruler = Anomaly(examples=50, inversion=Inversion(steps=80, restarts=2))
    values = ruler.measure(subject(LineCodec(), classes()))
    assert list(values) == ["auroc_reconstruction", "auroc_inversion", "auroc_bound"]
    for value in values.values():
        assert value.value > 0.99
        assert value.n == 90
        assert value.detail == {"left_out": 3, "anomalies": 40}


def test_a_model_gets_the_scores_it_can_have() -> None:
    no_bound = "the model has no bound on log p(x)"
    values = Anomaly().measure(subject(FakeReconstructor(), classes()))
    assert list(values) == ["auroc_reconstruction", "auroc_bound"]
    assert values["auroc_bound"] == no_bound
    assert Anomaly().measure(subject(FakeSampler((2,)), classes())) == {"auroc_bound": no_bound}


def test_scores_that_are_no_numbers_rank_nothing() -> None:
    with pytest.raises(ValueError, match="3 of 7 anomaly scores are not numbers"):
        auroc(torch.randn(4), torch.full((3,), math.nan))

    class Broken(LineCodec):
        def reconstruct(self, x: Tensor) -> Tensor:
            return x * math.nan

    values = Anomaly(examples=9, inversion=Inversion(steps=20)).measure(subject(Broken(), classes()))
    assert "not numbers" in values["auroc_reconstruction"]
    assert values["auroc_bound"].value > 0.99


def test_it_applies_where_a_class_was_left_out() -> None:
    reason = Anomaly().why_not(subject(LineCodec(), FakeData(torch.rand(4, 2))))
    assert reason == "no class was left out of training; set datamodule.leave_out"
    assert Anomaly().why_not(subject(LineCodec(), classes())) is None
    assert math.isclose(Anomaly().inversion.learning_rate, 0.1)
