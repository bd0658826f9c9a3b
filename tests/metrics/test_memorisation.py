"""Memorisation: a model that copies, one that does not, and one that underfits; each statistic against its definition."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from benchmarks.metrics.base import Value
from benchmarks.metrics.memorisation import Memorisation, authentic, data_copying, mann_whitney_z
from benchmarks.metrics.nearest import nearest_others, nearest_points
from benchmarks.scoring.baselines import UniformNoise
from benchmarks.studies.copying import Copies, HeldOut
from benchmarks.studies.copying import measured as of_a_sampler
from datamodules.digits import Digits
from tests.metrics.fakes import FakeData, FakeEncoder, FakeReconstructor, ImageSampler, images, subject

SETTINGS: dict[str, Any] = {"quantile": 0.01, "cells": 50, "smallest": 20, "training_examples": None}


# -------------------------------------------------------------------------------------------- the statistics


@pytest.mark.parametrize(("n", "m"), [(1, 30), (25, 40), (200, 3)])
def test_z_is_that_of_scipys_mann_whitney_test(n: int, m: int) -> None:
    a, b = torch.randn(n).double().numpy(), 0.8 * torch.randn(m).double().numpy() + 0.3
    z = mann_whitney_z(a, b)
    theirs = stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=False)
    assert 2 * stats.norm.sf(abs(z)) == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (z > 0) == (theirs.statistic > n * m / 2)
    assert mann_whitney_z(b, a) == pytest.approx(-z)


def test_ties_count_by_half_and_equal_values_are_no_evidence() -> None:
    a, b = (torch.randint(4, (n,)).double().numpy() for n in (60, 50))
    u = (a[:, None] > b).sum() + 0.5 * (a[:, None] == b).sum()
    assert mann_whitney_z(a, b) == pytest.approx((u - 1500) / np.sqrt(60 * 50 * 111 / 12))
    assert mann_whitney_z(np.zeros(9), np.zeros(5)) == 0


def test_c_t_is_the_mean_over_cells_with_enough_samples_by_their_held_out_examples() -> None:
    fake, real = (torch.rand(n).double().numpy() for n in (100, 60))
    fake_cells = np.repeat([0, 1, 2], [40, 4, 56])
    real_cells = np.repeat([0, 1, 2, 3], [10, 15, 30, 5])
    z = {cell: mann_whitney_z(fake[fake_cells == cell], real[real_cells == cell]) for cell in (0, 2)}
    found = data_copying(fake, fake_cells, real, real_cells, smallest=5)
    assert found.c_t == pytest.approx((10 * z[0] + 30 * z[2]) / 40)
    assert (found.lowest, found.cells) == (min(z.values()), 2)
    assert found.everywhere == mann_whitney_z(fake, real)
    with pytest.raises(ValueError, match="no cell of the training examples has 57 samples"):
        data_copying(fake, fake_cells, real, real_cells, smallest=57)


def test_copying_in_one_cell_is_not_hidden_by_underfitting_in_another() -> None:
    rng = np.random.default_rng(int(torch.randint(2**31, ())))
    real, cells = rng.uniform(1, 2, 400), np.repeat([0, 1], 200)
    fake = np.where(cells == 0, 0.01, 3.0) * rng.uniform(1, 2, 400)
    found = data_copying(fake, cells, real, cells, smallest=20)
    assert abs(found.everywhere) < 1
    assert found.lowest < -10


def test_authenticity_is_its_definition() -> None:
    """One sample and one training example at a time."""
    train, fake = torch.randn(60, 3), torch.cat([0.9 * torch.randn(40, 3), torch.randn(9, 3).repeat(2, 1)])
    fake[:7] = train[:7] + 1e-3
    expected = []
    for sample in fake.double():
        distances = [float((sample - x).norm()) for x in train.double()]
        i = int(np.argmin(distances))
        others = [float((train[i].double() - x).norm()) for j, x in enumerate(train.double()) if j != i]
        expected.append(distances[i] > min(others))
    found = authentic(nearest_points(fake, train, 1), nearest_others(train, 1).squared[:, 0])
    assert found.tolist() == expected
    assert 0 < sum(expected) < len(expected)
    assert not any(expected[:7])


# ------------------------------------------------------------------------------------------------- the ruler


@dataclass
class SplitData(FakeData):
    """The training examples are others than those of the reference split."""

    train: Tensor | None = None

    def batches(self, split: Any, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        assert self.train is not None
        yield from (self.train if split == "train" else self.x)[:limit].split(batch_size)


def measured(model: Any, data: FakeData, **settings: Any) -> dict[str, Value]:
    given = subject(model, data, FakeEncoder(16), samples=120)
    values = Memorisation(**{**SETTINGS, **settings}).measure(given)
    assert all(isinstance(value, Value) for value in values.values())
    return {name: value for name, value in values.items() if isinstance(value, Value)}


def test_the_ruler_reads_features_of_training_examples_and_says_what_held_out_examples_have() -> None:
    every = images(400)
    data = SplitData(every[:100], train=every[100:280])
    found = measured(ImageSampler(every[280:]), data, quantile=0.2, cells=2)
    given = subject(ImageSampler(every[280:]), data, FakeEncoder(16), samples=120)
    train, fake, real = given.training_features(), given.features, given.reference_features
    among = nearest_others(train, 1).squared[:, 0]
    own, held_out = (nearest_points(x, train, 1) for x in (fake, real))
    radius = among.quantile(0.2)
    assert found["copied_share"].value == pytest.approx(float((own.squared[:, 0] <= radius).double().mean()))
    assert found["authenticity"].value == pytest.approx(float(authentic(own, among).double().mean()))
    assert found["authenticity"].detail["held_out"] == pytest.approx(float(authentic(held_out, among).double().mean()))
    assert found["copied_share"].detail.items() >= {"encoder": "pixels", "reference": 100, "training": 180}.items()
    assert found["c_t"].detail["cells"] == 2
    assert found["c_t"].detail["without_cells"] == pytest.approx(
        mann_whitney_z(own.squared[:, 0].numpy(), held_out.squared[:, 0].numpy())
    )


def test_fewer_training_examples_and_cells_are_used_if_told_or_needed() -> None:
    every = images(300)
    data = SplitData(every[:90], train=every[90:180])
    found = measured(ImageSampler(every[180:]), data, training_examples=30)
    assert found["c_t"].detail["training"] == 30
    assert found["c_t"].detail["cells"] == 2, "40 held-out examples a cell on average"


def on_digits(model: Any, data: Digits, samples: int) -> dict[str, Value]:
    return of_a_sampler(Memorisation(**SETTINGS), model, data, samples, "digits-cnn")


def test_a_model_that_copies_one_that_does_not_and_one_that_underfits() -> None:
    data = Digits(name="digits", batch_size=16)
    held_out = HeldOut(data)
    honest = on_digits(held_out, data, samples=len(held_out.images))
    assert honest["copied_share"].value < 0.05
    assert abs(honest["c_t"].value) < 1.5
    assert honest["authenticity"].value == pytest.approx(honest["authenticity"].detail["held_out"], abs=0.1)
    for noise in (0, 4):
        copies = on_digits(Copies(data, noise), data, samples=800)
        assert copies["copied_share"].value > 0.9
        assert copies["authenticity"].value < 0.02
        assert copies["c_t"].value < -5
    underfit = on_digits(UniformNoise(data), data, samples=800)
    assert underfit["copied_share"].value == 0
    assert underfit["authenticity"].value > 0.9
    assert underfit["c_t"].value > 4


def test_what_cannot_be_measured_says_why() -> None:
    for settings, message in (({"quantile": 0.0}, "quantile is 0"), ({"cells": 0}, "cells is 0")):
        with pytest.raises(ValueError, match=message):
            Memorisation(**{**SETTINGS, **settings})
    with pytest.raises(ValueError, match="1 training example"):
        measured(ImageSampler(images(120)), SplitData(images(50), train=images(1)))
    ruler = Memorisation(**SETTINGS)
    assert ruler.why_not(subject(FakeReconstructor(), FakeData(images(9)))) == "the model does not sample"
    far = SplitData(images(50), train=images(60))
    given = subject(ImageSampler(images(120)), far, FakeEncoder(16), samples=120)
    few = Memorisation(**{**SETTINGS, "cells": 2, "smallest": 121}).measure(given)
    assert "no cell" in str(few["c_t"])
    assert isinstance(few["authenticity"], Value), "the other columns are measured"
