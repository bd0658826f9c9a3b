"""Modes of known mixtures."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy
from torch import Tensor

from benchmarks.metrics.modes import Modes, mode_divergence, nearest_modes
from benchmarks.metrics.transport import KnownTruth, wasserstein2
from datamodules.mixtures import Mixture
from tests.metrics.fakes import (
    MIXTURES,
    FakeData,
    FakeEncoder,
    FakeMixtureData,
    FakeReconstructor,
    FakeSampler,
    ImageSampler,
    MixtureSampler,
    fresh_seed,
    subject,
)

# ------------------------------------------------------------------------------------------------------------ modes


def modes_of(model: Any, mixture: Mixture, samples: int, **changes: Any) -> dict[str, float]:
    data = FakeMixtureData(torch.zeros(1, mixture.means.shape[1]), mixture=mixture)
    changes = {"batch_size": 1000, "seed": fresh_seed()} | changes
    values = Modes(samples).measure(subject(model, data, **changes))
    assert {value.n for value in values.values()} == {samples}
    assert values["modes"].detail == {"of": len(mixture.means)}
    return {name: value.value for name, value in values.items()}


def test_nearest_modes_equals_a_search_through_all_pairs() -> None:
    points, means, sigma = 3 * torch.randn(200, 3), 3 * torch.randn(7, 3), 0.7
    distances = np.sqrt(((points.double()[:, None] - means.double()[None]) ** 2).sum(-1).numpy())
    nearest, good = nearest_modes(points, means, sigma, radius=2.5)
    assert nearest.tolist() == distances.argmin(1).tolist()
    assert good.tolist() == (distances.min(1) <= 2.5 * sigma).tolist()


def test_a_sample_is_of_high_quality_within_three_sigma_of_its_centre() -> None:
    means = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    points = torch.tensor([[0.0, 2.9], [0.0, 3.1], [2.1, 2.1], [2.2, 2.2], [10.0, -2.9], [6.0, 0.0]])
    nearest, good = nearest_modes(points, means, sigma=1.0)
    assert nearest.tolist() == [0, 0, 0, 0, 1, 1]
    assert good.tolist() == [True, False, True, False, True, False]


@pytest.mark.parametrize("name", MIXTURES)
def test_of_real_samples_all_modes_are_found_and_98_89_percent_lie_within_three_sigma(name: str) -> None:
    """In two dimensions the share is 1 - exp(-9/2)."""
    n, mixture, share = 200_000, MIXTURES[name], 1 - math.exp(-4.5)
    found = modes_of(MixtureSampler(mixture), mixture, n, batch_size=n)
    assert found["modes"] == len(mixture.means)
    assert share == pytest.approx(0.9889, abs=1e-4)
    assert found["high_quality"] == pytest.approx(100 * share, abs=800 * math.sqrt(share * (1 - share) / n))


@pytest.mark.parametrize("name", MIXTURES)
def test_a_model_that_covers_some_modes_is_given_those_and_full_quality(name: str) -> None:
    found = modes_of(MixtureSampler(MIXTURES[name], only=3), MIXTURES[name], 2500)
    assert found["modes"] == 3
    assert found["high_quality"] > 96


def test_the_ring_has_eight_distinct_modes_and_each_counts_once() -> None:
    mixture = MIXTURES["ring"]
    collapsed = torch.from_numpy(mixture.means).repeat(4, 1)
    assert modes_of(ImageSampler(collapsed), mixture, 32) == {"modes": 8, "high_quality": 100, "mode_kl": 0}


def test_a_mode_without_a_sample_of_high_quality_does_not_count() -> None:
    mixture = MIXTURES["grid"]
    near, beside = torch.from_numpy(mixture.means[:4]), torch.from_numpy(mixture.means[4:])
    points = torch.cat([near, near[:1], beside + torch.tensor([0.0, 4 * mixture.sigma])])  # 5 good, 21 not
    found = modes_of(ImageSampler(points), mixture, 26)
    assert found["modes"] == 4
    assert found["high_quality"] == pytest.approx(100 * 5 / 26)


def test_noise_over_the_plane_reaches_modes_and_has_no_quality() -> None:
    """The area within 3σ of 25 centres is 1.77 of the 100 units that the grid stands on."""
    mixture = MIXTURES["grid"]

    class Noise:
        def sample(self, n: int, generator: torch.Generator) -> Tensor:
            return 10 * torch.rand(n, 2, generator=generator) - 5

    found = modes_of(Noise(), mixture, 100_000)
    area = 25 * math.pi * (3 * mixture.sigma) ** 2 / 100
    assert found["modes"] == 25
    assert found["high_quality"] == pytest.approx(100 * area, abs=800 * math.sqrt(area / 100_000))


def test_modes_apply_to_samples_of_a_known_density() -> None:
    known = FakeMixtureData(torch.zeros(1, 2), mixture=MIXTURES["ring"])
    assert Modes().why_not(subject(FakeSampler((2,)), known)) is None
    assert Modes().why_not(subject(FakeReconstructor(), known)) == "the model does not sample"
    assert Modes().why_not(subject(FakeSampler((2,)), FakeData(torch.zeros(1, 2)))) == "the data's density is not known"


def test_modes_draw_as_many_as_they_are_told_whatever_the_protocol_draws() -> None:
    asked: list[int] = []
    data = FakeMixtureData(torch.zeros(1, 2), mixture=MIXTURES["ring"])
    Modes(70).measure(subject(FakeSampler((2,), asked), data, samples=1000))
    assert asked == [32, 32, 6]
    assert Modes().samples == 2500


# ---------------------------------------------------------------------------------------------------------- mode KL


def test_mode_divergence_is_scipys_relative_entropy() -> None:
    probabilities = torch.rand(7, dtype=torch.float64)
    probabilities /= probabilities.sum()
    modes = torch.randint(5, (300,))  # two modes are never reached
    shares = np.bincount(modes.numpy(), minlength=7) / 300
    assert mode_divergence(modes, probabilities) == pytest.approx(entropy(shares, probabilities.numpy()), rel=1e-12)


@pytest.mark.parametrize(("modes", "n", "floor"), [(25, 2500, 0.0048), (1000, 26_000, 0.0192)])
def test_a_perfect_sampler_reaches_the_floor_of_mode_divergence(modes: int, n: int, floor: float) -> None:
    uniform = torch.full((modes,), 1 / modes, dtype=torch.float64)
    found = [mode_divergence(torch.randint(modes, (n,)), uniform) for _ in range(60)]
    assert (modes - 1) / (2 * n) == pytest.approx(floor, abs=5e-5)
    # the floor's chi-square has a relative spread of √(2 / (modes - 1)) a draw
    assert np.mean(found) == pytest.approx(floor, rel=4 * math.sqrt(2 / (modes - 1) / 60) + 0.03)


def test_a_collapsed_model_diverges_by_the_log_of_the_modes_it_lacks() -> None:
    found = modes_of(MixtureSampler(MIXTURES["grid"], only=5), MIXTURES["grid"], 2500)
    assert found["mode_kl"] == pytest.approx(math.log(5), abs=0.02)


class Digits:
    """Reads the brightness of an image of one channel: 10 grey levels are 10 digits."""

    name, dim, checksum, resizing = "levels", 3, "0", "none"

    def why_not(self, shape: tuple[int, ...]) -> str | None:
        return None if shape == (1, 2, 2) else f"not {shape}"

    def classify(self, images: Tensor) -> Tensor:
        return (images.float().mean((1, 2, 3)) / 25).round().long()


@dataclass
class FakeStack(FakeData):
    probabilities: Any = None

    def stack_probabilities(self) -> Any:
        return self.probabilities


def test_stacked_digits_are_read_a_channel_at_a_time_and_counted() -> None:
    digits = torch.randint(10, (700, 3))
    drawn = (digits * 25 / 255)[:, :, None, None].expand(-1, -1, 2, 2).contiguous()
    data = FakeStack(torch.zeros(1, 3, 2, 2), probabilities=np.full(1000, 1e-3))
    given = subject(ImageSampler(drawn), data, Digits(), batch_size=64)
    values = Modes(stacked_samples=700).measure(given)
    numbers = [int("".join(map(str, row))) for row in digits.tolist()]
    assert list(values) == ["modes", "mode_kl"]
    assert values["modes"].value == len(set(numbers))
    assert values["modes"].detail == {"encoder": "levels", "of": 1000}
    shares = np.bincount(numbers, minlength=1000) / 700
    assert values["mode_kl"].value == pytest.approx(entropy(shares, np.full(1000, 1e-3)), rel=1e-9)
    assert Modes().stacked_samples == 26_000


def test_an_encoder_that_cannot_read_digits_is_named() -> None:
    data = FakeStack(torch.zeros(1, 3, 4, 4), probabilities=np.full(1000, 1e-3))
    with pytest.raises(ValueError, match="encoder pixels does not read single digits"):
        Modes(stacked_samples=5).measure(subject(ImageSampler(torch.rand(5, 3, 4, 4)), data, FakeEncoder(48)))


# -------------------------------------------------------------------------------------- transport and true density


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_wasserstein_is_the_best_assignment(dim: int) -> None:
    x, y = torch.randn(60, dim), 0.5 + 2 * torch.randn(60, dim)
    cost = ((x.double()[:, None] - y.double()[None]) ** 2).sum(-1).numpy()
    rows, columns = linear_sum_assignment(cost)
    assert wasserstein2(x, y) == pytest.approx(math.sqrt(cost[rows, columns].mean()), rel=1e-9)


def test_wasserstein_of_a_shift_is_its_length_and_of_unequal_numbers_is_solved() -> None:
    x, shift = torch.randn(80, 3), torch.tensor([3.0, 0.0, -4.0])
    assert wasserstein2(x, x + shift) == pytest.approx(5.0, rel=1e-6)
    assert wasserstein2(x, x.repeat(2, 1)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", MIXTURES)
def test_known_truth_of_a_perfect_sampler_and_of_a_collapsed_one(name: str) -> None:
    mixture = MIXTURES[name]
    rng = np.random.default_rng(fresh_seed())
    data = FakeMixtureData(torch.from_numpy(mixture.sample(1500, rng)), mixture=mixture)

    def measured(model: Any) -> dict[str, Any]:
        return dict(KnownTruth(samples=1000).measure(subject(model, data, batch_size=1000, seed=fresh_seed())))

    perfect, collapsed = measured(MixtureSampler(mixture)), measured(MixtureSampler(mixture, only=1))
    of_real = perfect["sample_log_density"].detail["of_real_data"]
    # minus the entropy: the modes hardly overlap
    exact = -math.log(len(mixture.means)) - 1 - math.log(2 * math.pi * mixture.sigma**2)
    assert of_real == pytest.approx(exact, abs=0.15)
    assert perfect["sample_log_density"].value == pytest.approx(exact, abs=0.15)
    assert collapsed["sample_log_density"].value == pytest.approx(exact, abs=0.15)  # density cannot see what is missing
    assert collapsed["wasserstein2"].value > 3 * perfect["wasserstein2"].value
    assert perfect["wasserstein2"].detail == {"reference": 1000}


def test_known_truth_applies_to_samples_of_a_known_density() -> None:
    known = FakeMixtureData(torch.zeros(1, 2), mixture=MIXTURES["ring"])
    assert KnownTruth().why_not(subject(FakeSampler((2,)), known)) is None
    assert KnownTruth().why_not(subject(FakeReconstructor(), known)) == "the model does not sample"
    unknown = subject(FakeSampler((2,)), FakeData(torch.zeros(1, 2)))
    assert KnownTruth().why_not(unknown) == "the data's density is not known"
