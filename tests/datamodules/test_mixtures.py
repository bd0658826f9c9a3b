"""Gaussian mixtures and their density."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from datamodules.mixtures import Mixture, grid, ring
from tests.datamodules.fakes import mixture, rows, scored


def test_the_ring_has_8_distinct_modes_evenly_on_the_circle() -> None:
    modes = ring(8, 2.0)
    assert len(np.unique(modes.round(4), axis=0)) == 8
    np.testing.assert_allclose(np.linalg.norm(modes, axis=1), 2.0, rtol=1e-6)
    steps = np.linalg.norm(modes - np.roll(modes, 1, axis=0), axis=1)
    np.testing.assert_allclose(steps, 4 * np.sin(np.pi / 8), rtol=1e-6)


def test_the_grid_has_25_distinct_modes_around_its_centre() -> None:
    modes = grid(5, 2.0)
    assert sorted(map(tuple, modes.tolist())) == sorted(itertools.product([-4.0, -2.0, 0.0, 2.0, 4.0], repeat=2))


@pytest.mark.parametrize(("means", "sigma"), [(ring(8, 1.0), 0.01), (ring(8, 1.0), 0.5), (grid(5, 2.0), 0.05)])
def test_a_mixtures_density_is_that_of_torch_distributions(means: NDArray[np.float32], sigma: float) -> None:
    components = Independent(Normal(torch.from_numpy(means).double(), sigma), 1)
    expected = MixtureSameFamily(Categorical(torch.ones(len(means), dtype=torch.float64)), components)
    x = torch.cat([expected.sample((100,)), 3 * torch.randn(100, 2, dtype=torch.float64)])
    torch.testing.assert_close(Mixture(means, sigma).log_prob(x), expected.log_prob(x), rtol=1e-9, atol=1e-5)


def test_mixture_samples_are_the_same_on_every_load_and_no_split_repeats_another() -> None:
    first, again = mixture(), mixture()
    assert first.info == again.info
    assert {split: x.shape for split, x in first.splits.items()} == {
        "train": (4000, 2),
        "val": (500, 2),
        "test": (500, 2),
    }
    assert len(set(itertools.chain(*map(rows, first.splits.values())))) == 5000
    assert scored(first, "train").dtype == torch.float32
    np.testing.assert_array_equal(scored(first, "train").numpy(), again.splits["train"])


def test_mixture_samples_share_themselves_evenly_among_modes_of_the_right_width() -> None:
    data = mixture()
    x, means = data.splits["train"], data.mixture.means
    nearest = np.linalg.norm(x[:, None] - means, axis=2).argmin(1)
    counts = np.bincount(nearest, minlength=8)
    assert (abs(counts - 500) < 5 * 500**0.5).all()
    np.testing.assert_allclose((x - means[nearest]).std(0), 0.01, rtol=0.05)


@pytest.mark.parametrize("options", [{"binarize": "dynamic"}, {"binarize": "fixed"}, {"dequantize": True}], ids=str)
def test_points_are_neither_binarised_nor_dequantised(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="binarize and dequantize"):
        mixture(**options)


def test_a_known_density_is_as_exact_in_float32_as_its_input() -> None:
    known = Mixture(grid(5, 2.0), 0.05)
    x = torch.from_numpy(known.sample(200, np.random.default_rng(int(torch.randint(1 << 30, ())))))
    difference = known.log_prob(x).double() - known.log_prob(x.double())
    assert difference.abs().max() < 2e-4
