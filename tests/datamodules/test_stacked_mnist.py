"""Three digits in the channels of one image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.mnist import MNIST
from datamodules.stacked_mnist import StackedMNIST


@pytest.fixture
def stacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackedMNIST:
    """Of 40 digits whose every pixel is ten times their class, the test split's one brighter."""
    train, test = ((np.arange(n) % 10) for n in (40, 20))

    def filled(labels: NDArray[Any], more: int) -> NDArray[np.uint8]:
        return np.broadcast_to((10 * labels + more).astype(np.uint8)[:, None, None, None], (len(labels), 1, 28, 28))

    parts = {"train": (filled(train, 0), train), "val": (filled(train, 0), train), "test": (filled(test, 1), test)}
    monkeypatch.setattr(MNIST, "labelled", lambda self: parts)
    return StackedMNIST(str(tmp_path), 500, 60, name="stacked_mnist", batch_size=4)


def test_a_stack_is_three_digits_of_its_own_split(stacked: StackedMNIST) -> None:
    assert {split: array.shape for split, array in stacked.splits.items()} == {
        "train": (500, 3, 28, 28),
        "val": (60, 3, 28, 28),
        "test": (60, 3, 28, 28),
    }
    for split, brighter in {"train": 0, "test": 1}.items():
        values = stacked.splits[split][:, :, 0, 0]
        assert set(np.unique(values % 10)) == {brighter}
        assert (stacked.splits[split] == values[:, :, None, None]).all()
    digits_seen = stacked.splits["train"][:, :, 0, 0] // 10
    assert all(len(np.unique(digits_seen[:, channel])) == 10 for channel in range(3))
    assert len(np.unique(digits_seen, axis=0)) > 300  # of 1,000: channels are drawn apart
    assert np.array_equal(stacked.load()["train"], stacked.splits["train"])


def test_the_thousand_numbers_have_the_digits_probabilities(stacked: StackedMNIST) -> None:
    assert stacked.stack_probabilities() == pytest.approx(np.full(1000, 1e-3))
    images, labels = stacked._labelled["train"]
    stacked.__dict__["_labelled"] = {"train": (images, np.where(labels == 3, 4, labels))}
    probabilities = stacked.stack_probabilities().reshape(10, 10, 10)
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[3].sum() == 0
    assert probabilities[4, 0, 4] == pytest.approx(0.2 * 0.1 * 0.2)
