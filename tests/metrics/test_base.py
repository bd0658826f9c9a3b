"""A subject's draws, and what every ruler shares."""

import math

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.metrics.base import Column, NonFinite, Ruler, Subject, Value, seeded, to_uint8
from benchmarks.metrics.reconstruction import Reconstruction, psnr
from benchmarks.records.columns import columns_of
from datamodules.contracts import KnownDensity
from models.contracts import Samples
from tests.conftest import CONF, choices
from tests.metrics.fakes import (
    MIXTURES,
    FakeData,
    FakeMixtureData,
    FakeReconstructor,
    FakeSampler,
    fresh_seed,
    subject,
)

# ---------------------------------------------------------------------------------------- draws and their seeds


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100])
def test_a_subject_draws_exactly_n_in_batches(n: int) -> None:
    asked: list[int] = []
    drawn = subject(FakeSampler((3, 2), asked), FakeData(torch.zeros(1, 3, 2))).draw(n)
    assert drawn.shape == (n, 3, 2)
    assert sum(asked) == n
    assert max(asked) <= 32
    assert len(asked) == math.ceil(n / 32)


def test_a_subjects_draws_are_identical_when_repeated_and_are_drawn_once() -> None:
    asked: list[int] = []
    seed, data = fresh_seed(), FakeData(torch.zeros(1, 2))
    first = subject(FakeSampler((2,), asked), data, seed=seed)
    drawn = first.draw(50)
    first.draw(20)
    assert first.draw(50) is drawn
    assert asked == [32, 18, 20]
    torch.rand(3)  # whatever else is drawn in between
    assert torch.equal(subject(FakeSampler((2,)), data, seed=seed).draw(50), drawn)
    assert not torch.equal(subject(FakeSampler((2,)), data, seed=seed + 1).draw(50), drawn)


def test_drawing_leaves_the_global_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    subject(FakeSampler((2,)), FakeData(torch.zeros(1, 2))).draw(40)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_an_error(poison: float) -> None:
    given = subject(FakeSampler((2,), poison=poison), FakeData(torch.zeros(1, 2)))
    for _ in range(2):
        with pytest.raises(NonFinite, match="not finite"):
            given.draw(40)


def test_seeded_is_deterministic_and_depends_on_the_seed_and_on_the_purpose() -> None:
    seed = fresh_seed()

    def numbers(seed: int, purpose: str) -> list[float]:
        torch.rand(int(torch.randint(1, 9, ())))  # whatever came before
        with seeded(seed, purpose):
            return torch.rand(4).tolist()

    assert numbers(seed, "fid") == numbers(seed, "fid")
    assert len({tuple(numbers(s, p)) for s in (seed, seed + 1) for p in ("fid", "bound")}) == 4


def test_seeded_leaves_the_global_random_numbers_as_they_were_even_after_an_error() -> None:
    def fail() -> None:
        with seeded(0, "fid"):
            torch.rand(5)
            raise KeyError

    before = torch.get_rng_state()
    with seeded(1, "fid"):
        torch.rand(5)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_to_uint8_keeps_all_256_grey_levels_and_rounds_to_the_nearest() -> None:
    levels = torch.arange(256)
    grey = to_uint8(levels / 255)
    assert grey.dtype == torch.uint8
    assert grey.tolist() == levels.tolist()
    for nudge in (-0.49, 0.49):
        assert to_uint8((levels + nudge) / 255).tolist() == levels.tolist()


def test_to_uint8_clamps_what_is_out_of_range() -> None:
    assert to_uint8(torch.tensor([-5.0, -0.001, 1.001, 300.0])).tolist() == [0, 0, 255, 255]


def test_an_example_without_a_number_is_never_left_out_of_a_mean() -> None:
    """The mean is then no number either, and its cell gets the reason."""

    class Broken(FakeReconstructor):
        def reconstruct(self, x: Tensor) -> Tensor:
            x_hat = x.clone()
            x_hat[0] = math.nan
            return x_hat

    values = Reconstruction().measure(subject(Broken(), FakeData(torch.rand(64, 1, 8, 8))))
    assert math.isnan(values["recon_mse"].value)
    assert math.isnan(values["recon_psnr"].value)


def test_a_perfect_reconstruction_has_a_finite_psnr() -> None:
    x = torch.rand(3, 1, 8, 8)
    assert psnr(x, x).tolist() == pytest.approx([100.0] * 3)


@pytest.mark.parametrize("metric", choices("metric"))
def test_a_rulers_columns_are_those_of_the_table(metric: str) -> None:
    ruler = instantiate(OmegaConf.load(CONF / "metric" / f"{metric}.yaml"))
    assert ruler.columns == columns_of(metric)
    assert ruler.columns


def test_the_first_unmet_need_is_the_reason() -> None:
    class Needy(Ruler):
        columns = (Column("needy", "", True),)
        needs_model = (Samples,)
        needs_data = (KnownDensity,)
        needs_features = True

        def measure(self, subject: Subject) -> dict[str, Value | str]:
            raise AssertionError

    points = FakeData(torch.zeros(5, 2))
    known = FakeMixtureData(torch.zeros(5, 2), mixture=MIXTURES["ring"])
    assert Needy().why_not(subject(object(), points)) == "the model does not sample"
    assert Needy().why_not(subject(FakeSampler((2,)), points)) == "the data's density is not known"
    assert Needy().why_not(subject(FakeSampler((2,)), known)) == "points have no feature encoder"
