"""A class that is left out."""

import numpy as np
import pytest
import torch

from tests.datamodules.fakes import digits, message_of


def test_a_left_out_class_is_in_no_split_and_can_be_asked_for() -> None:
    data, whole = digits(leave_out=7), digits().labelled()
    for split, (images, labels) in whole.items():
        assert np.array_equal(data.splits[split], images[labels != 7])
        odd = torch.cat(list(data.left_out(split, 10)))
        assert np.array_equal(np.rint(odd.numpy() * 255).astype(np.uint8), images[labels == 7])
    assert len(next(data.left_out("test", 4, limit=3))) == 3


def test_leaving_a_class_out_is_another_data_set_and_leaving_none_out_is_not() -> None:
    assert digits(leave_out=7).info.id not in {digits().info.id, digits(leave_out=8).info.id}
    assert digits(leave_out=None).info.id == digits().info.id
    assert digits(leave_out=7).info.leave_out == 7


@pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
def test_the_left_out_class_is_binarised_like_the_others(binarize: str) -> None:
    odd = torch.cat(list(digits(leave_out=7, binarize=binarize).left_out("test", 10)))
    assert set(odd.unique().tolist()) == {0.0, 1.0}


def test_a_class_that_is_not_there_is_named() -> None:
    assert message_of(digits(leave_out=10)) == "datamodule.leave_out is 10; digits has the classes 0 to 9"
