"""The baseline rows: real training data, noise, a fitted Gaussian."""

import pytest
import torch

from benchmarks.scoring import baselines
from benchmarks.scoring.baselines import FittedGaussian, RealTrain, UniformNoise, baseline_subjects
from datamodules.base import DataModule
from tests.datamodules.fakes import digits, mixture, rows, scored


def test_real_rows_are_distinct_training_examples_as_they_are_scored() -> None:
    subject = RealTrain(digits())
    drawn = [subject.sample(n, torch.Generator()) for n in (300, 500, 300)]
    assert [len(x) for x in drawn] == [300, 500, 300]
    shown = torch.cat(drawn)
    torch.testing.assert_close(shown, scored(digits(), "train"), rtol=0, atol=0)
    assert len(set(rows(shown.numpy()))) == 1100


@pytest.mark.parametrize("before", [0, 600])
def test_more_real_rows_than_there_are_training_examples_are_refused(before: int) -> None:
    subject = RealTrain(digits())
    assert len(subject.sample(before, torch.Generator())) == before
    left, asked = 1100 - before, 1101 - before
    with pytest.raises(ValueError, match=r"^there are 1,100 training examples, fewer than the samples needed$"):
        subject.sample(asked, torch.Generator())
    assert len(subject.sample(left, torch.Generator())) == left


@pytest.mark.parametrize("data", [digits(), digits(dequantize=True), mixture()], ids=["grey", "dequantized", "points"])
def test_noise_fills_the_datas_range_and_does_not_leave_it(data: DataModule) -> None:
    x = UniformNoise(data).sample(2000, torch.Generator().manual_seed(0))
    low, high = float(scored(data, "val").min()), float(scored(data, "val").max())
    assert x.shape == (2000, *data.shape)
    assert low <= x.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < x.max() <= high
    assert abs(x.mean() - (low + high) / 2) < 0.05 * (high - low)


def test_noise_is_the_generators() -> None:
    subject = UniformNoise(digits())
    first, again, other = (subject.sample(10, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize(("data", "noise"), [(digits(), "pixel noise"), (mixture(), "uniform noise")])
def test_calibration_rows_are_named_for_what_they_are(data: DataModule, noise: str) -> None:
    subjects = {name: make() for name, make in baseline_subjects(data).items()}
    assert isinstance(subjects["real train"], RealTrain)
    assert isinstance(subjects["fitted Gaussian"], FittedGaussian)
    assert isinstance(subjects[noise], UniformNoise)
    assert len(subjects) == 3


def test_a_gaussian_of_many_dimensions_has_the_moments_of_the_examples_without_their_covariance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = digits()
    monkeypatch.setattr(baselines, "MOST_DIMENSIONS", 63)
    monkeypatch.setattr(baselines, "MOST_ENTRIES", 64 * 500)
    made = FittedGaussian(data)
    x = scored(data, "train")[:500].flatten(1).double()
    torch.testing.assert_close(made.mean, x.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((made._root @ made._root.T).double(), torch.cov(x.T), rtol=1e-4, atol=1e-5)
    drawn = made.sample(3000, torch.Generator().manual_seed(1))
    assert drawn.shape == (3000, 1, 8, 8)
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    few = FittedGaussian(data, examples=1)
    assert few.sample(2, torch.Generator()).flatten(1).std(0).max() == 0
