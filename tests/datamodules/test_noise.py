"""Binarisation and dequantisation."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from datamodules.base import Split
from datamodules.loader import Sampler
from tests.datamodules.fakes import (
    GREYS,
    NOISY,
    OPTIONS,
    SPLITS,
    Given,
    all_greys,
    pictures,
    rows,
    scored,
    training,
)


def test_without_options_pixels_are_grey_values_over_255() -> None:
    for split, array in pictures().items():
        torch.testing.assert_close(scored(Given(pictures()), split), torch.from_numpy(array) / 255)


def test_dynamic_binarisation_is_a_bernoulli_draw_of_the_grey_value() -> None:
    data = Given(all_greys(), binarize="dynamic", batch_size=100, block_size=20)
    shown = training(data, 80).flatten(0, 1)
    assert set(shown.unique().tolist()) == {0.0, 1.0}
    p = torch.from_numpy(GREYS[0]) / 255
    standard_error = (p * (1 - p) / len(shown)).sqrt()
    assert ((shown.mean(0) - p).abs() <= 5 * standard_error).all()  # and exactly right for 0 and 255


@pytest.mark.parametrize("options", NOISY, ids=str)
def test_training_noise_is_fresh_in_every_epoch_and_block(options: dict[str, Any]) -> None:
    shown = training(Given(all_greys(), batch_size=1, **options), 12)  # an epoch a minibatch
    assert len(set(rows(shown.numpy()))) == 12


@pytest.mark.parametrize("options", NOISY, ids=str)
def test_the_seed_of_a_run_decides_its_noise(options: dict[str, Any]) -> None:
    first, again, other = (training(Given(all_greys(), **options), 4, seed) for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("options", [*NOISY, {"binarize": "fixed"}], ids=str)
def test_scoring_sees_one_pinned_draw_whatever_the_batch_size(options: dict[str, Any], split: Split) -> None:
    data = Given(pictures(), **options)
    first = scored(data, split)
    training(data, 8)  # draws in between
    for again in (scored(data, split), scored(data, split, 7), scored(Given(pictures(), **options), split, 1000)):
        torch.testing.assert_close(again, first, rtol=0, atol=0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_limit_cuts_what_is_scored_and_changes_nothing_else(options: dict[str, Any]) -> None:
    data = Given(pictures(), **options)
    limited = list(data.batches("test", 8, limit=20))
    assert [len(x) for x in limited] == [8, 8, 4]
    torch.testing.assert_close(torch.cat(limited), scored(data, "test")[:20], rtol=0, atol=0)
    assert len(torch.cat(list(data.batches("test", 8, limit=1000)))) == 30


def test_splits_have_noise_of_their_own() -> None:
    data = Given(all_greys(), binarize="dynamic")
    assert len({scored(data, split).numpy().tobytes() for split in SPLITS}) == 3


def test_fixed_binarisation_is_one_bernoulli_draw_of_the_grey_value() -> None:
    array = scored(Given(all_greys(2000), binarize="fixed"), "train", 500)
    assert set(array.unique().tolist()) == {0.0, 1.0}
    p = torch.from_numpy(GREYS[0]) / 255
    assert ((array.mean(0) - p).abs() <= 5 * (p * (1 - p) / len(array)).sqrt()).all()


def test_fixed_binarisation_is_the_same_in_every_epoch_and_in_scoring() -> None:
    data = Given(pictures(), binarize="fixed", batch_size=50)
    known = set(rows(scored(data, "train").numpy()))
    shown = training(data, 5)  # an epoch a minibatch
    assert all(set(rows(epoch)) == known for epoch in shown.numpy())


@pytest.mark.parametrize("binarize", ["dynamic", "fixed"])
def test_black_and_white_pixels_are_never_flipped(binarize: str) -> None:
    black_and_white = np.where(np.random.default_rng(0).random((500, 1, 16, 16)) < 0.5, 0, 255).astype(np.uint8)
    arrays: dict[Split, NDArray[np.uint8]] = dict.fromkeys(SPLITS, black_and_white)
    data = Given(arrays, binarize=binarize, batch_size=500)
    expected = torch.from_numpy(black_and_white) / 255
    for split in SPLITS:
        assert scored(data, split, 500).equal(expected)
    order = Sampler(500, 500, 0).indices(0, 8)
    assert training(data, 8).equal(expected[torch.from_numpy(order)])


@pytest.mark.parametrize("binarize", ["dynamic", "fixed"])
@pytest.mark.parametrize("extreme", [0.0, 1 - 2**-24])
def test_black_and_white_pixels_are_not_flipped_by_the_most_extreme_draw(
    binarize: str, extreme: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays: dict[Split, NDArray[np.uint8]] = dict.fromkeys(SPLITS, GREYS[..., [0, -1]][:, :, [0, -1]])  # 0 to 255
    draw = SimpleNamespace(random=lambda shape, dtype: np.full(shape, extreme, dtype))
    monkeypatch.setattr(np.random, "default_rng", lambda *_: draw)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, extreme))
    pixels = scored(Given(arrays, binarize=binarize), "test")[0, 0]
    assert (pixels[0, 0], pixels[1, 1]) == (0, 1)
    assert pixels[0, 1] == pixels[1, 0] == (extreme == 0)


def test_dequantised_pixels_are_uniform_within_their_own_bin() -> None:
    data = Given(all_greys(100), dequantize=True)
    for split in ("val", "test"):
        x = scored(data, split, 30)
        assert x.min() >= 0
        assert x.max() < 1
        within = x * 256 - torch.from_numpy(all_greys(100)[split])
        assert within.min() >= 0
        assert within.max() < 1
        counts = torch.histc(within, 10, 0, 1)
        assert ((counts - 2560).abs() < 5 * 2560**0.5).all()


def test_training_is_dequantised_within_the_right_bin() -> None:
    shown = training(Given(all_greys(), dequantize=True, batch_size=2), 8)
    assert (shown * 256).floor().equal(torch.from_numpy(GREYS).expand(8, 2, 1, 16, 16).float())


def test_dequantised_white_stays_within_its_bin() -> None:
    """float32 rounds 255 + (1 - 2^-24) up to 256, about once in 150,000 white pixels."""
    white = {split: np.full((400, 1, 64, 64), 255, np.uint8) for split in SPLITS}
    x = scored(Given(white, dequantize=True), "test", 400)
    assert x.max() < 1
    assert x.min() >= 255 / 256
