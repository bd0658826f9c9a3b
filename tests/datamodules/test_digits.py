"""The digits inside scikit-learn."""

import itertools

import numpy as np
from sklearn.datasets import load_digits

from tests.datamodules.fakes import SPLITS, digits, rows


def test_digits_are_split_into_1100_247_and_450() -> None:
    data = digits()
    assert data.info.sizes == {"train": 1100, "val": 247, "test": 450}
    assert data.info.shape == data.shape == (1, 8, 8)
    assert {split: (x.shape[1:], x.dtype) for split, x in data.splits.items()} == dict.fromkeys(
        SPLITS, ((1, 8, 8), np.dtype(np.uint8))
    )


def test_digits_splits_are_disjoint_and_together_everything() -> None:
    splits = digits().splits
    everything = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    assert sorted(itertools.chain(*map(rows, splits.values()))) == sorted(rows(everything))
    assert sum(len(set(rows(x))) for x in splits.values()) == len(set(rows(everything))) == 1797


def test_digits_labels_belong_to_their_images() -> None:
    label_of = {
        np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
        for image, label in zip(load_digits().images, load_digits().target, strict=True)
    }
    for images, labels in digits().labelled().values():
        assert [label_of[row] for row in rows(images)] == labels.tolist()
