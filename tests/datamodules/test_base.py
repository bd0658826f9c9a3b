"""Options, identity and splits of every data set."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.base import Split, split_off
from datamodules.errors import DataError
from tests.datamodules.fakes import OPTIONS, SPLITS, Given, digits, pictures


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"batch_size": 0}, ["batch_size"]),
        ({"batch_size": -1}, ["batch_size"]),
        ({"block_size": 0}, ["block_size"]),
        ({"binarize": "threshold"}, ["binarize", "threshold"]),
        ({"binarize": "dynamic", "dequantize": True}, ["binarize", "dequantize"]),
        ({"binarize": "fixed", "dequantize": True}, ["binarize", "dequantize"]),
    ],
    ids=str,
)
def test_options_out_of_range_or_at_odds_are_refused_by_name(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError, match="datamodule") as caught:
        digits(**options)
    assert all(key in str(caught.value) for key in named)


def test_a_data_sets_id_is_the_same_on_every_load() -> None:
    ids = {Given(pictures(), **options).info.id for options in ({}, {}, {"batch_size": 3}, {"block_size": 9})}
    assert len(ids) == 1
    (found,) = ids
    assert len(found) == 8
    assert int(found, 16) >= 0


def test_a_data_sets_id_changes_with_every_option_that_changes_the_data() -> None:
    options: list[dict[str, Any]] = [*OPTIONS, {"name": "other"}]
    assert len({Given(pictures(), **option).info.id for option in options}) == len(options)


@pytest.mark.parametrize("split", SPLITS)
def test_a_data_sets_id_changes_with_one_pixel_of_any_split(split: Split) -> None:
    arrays = {name: np.tile(array, (250, 1, 1, 1)) for name, array in pictures().items()}  # thousands
    changed = {name: array.copy() for name, array in arrays.items()}
    changed[split][-1, 0, 3, 3] ^= 1
    assert Given(changed).info.id != Given(arrays).info.id


def test_a_data_sets_id_changes_with_the_order_and_with_the_split() -> None:
    arrays = pictures()
    reordered: dict[Split, NDArray[np.uint8]] = {**arrays, "train": arrays["train"][::-1]}
    moved: dict[Split, NDArray[np.uint8]] = {
        "train": arrays["train"][:-1],
        "val": np.concatenate([arrays["train"][-1:], arrays["val"]]),
        "test": arrays["test"],
    }
    assert len({Given(given).info.id for given in (arrays, reordered, moved)}) == 3


def test_the_record_says_shape_and_sizes() -> None:
    info = Given(pictures(), binarize="fixed").info
    assert info.shape == (1, 4, 4)
    assert info.sizes == {"train": 50, "val": 20, "test": 30}
    assert (info.name, info.binarize, info.dequantize) == ("given", "fixed", False)


def test_parts_of_a_split_are_disjoint_complete_and_pinned() -> None:
    parts = split_off(100, 10, 25)
    assert [len(part) for part in parts] == [10, 25, 65]
    assert sorted(np.concatenate(parts)) == list(range(100))
    for part, again in zip(parts, split_off(100, 10, 25), strict=True):
        np.testing.assert_array_equal(part, again)


@pytest.mark.parametrize("size", [0, 34, 35])
def test_a_split_that_leaves_nothing_is_refused(size: int) -> None:
    with pytest.raises(DataError, match=f"{size} examples are too few"):
        split_off(size, 10, 25)
