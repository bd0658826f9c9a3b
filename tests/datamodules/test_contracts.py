"""The capabilities of every data set of conf/datamodule."""

from typing import Any

import pytest
from hydra.utils import instantiate

from datamodules.contracts import Data, KnownDensity, Labelled, LeavesOutClass, StackedDigits
from tests.conftest import choices, composed_model

# image_folder has classes if the folder has sub-folders, which it says when it reads them
CLASSES = {"digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "kmnist", "emnist", "svhn", "image_folder"}
DENSITIES = {"ring", "grid"}


@pytest.mark.parametrize("name", choices("datamodule"))
def test_a_data_set_has_the_capabilities_that_it_should_have(name: str, tmp_path: Any) -> None:
    """The check itself reads no data: the folder is empty."""
    extra = ["datamodule.folder=somewhere"] if name == "image_folder" else []
    data = instantiate(composed_model(f"datamodule={name}", f"data_dir={tmp_path}", *extra).datamodule, _convert_="all")
    capabilities = {
        capability.__name__
        for capability in (KnownDensity, Labelled, LeavesOutClass, StackedDigits)
        if isinstance(data, capability)
    }
    expected = {"Labelled", "LeavesOutClass"} if name in CLASSES else set()
    expected |= {"KnownDensity"} if name in DENSITIES else set()
    expected |= {"StackedDigits"} if name == "stacked_mnist" else set()
    assert capabilities == expected


def test_a_digits_module_is_data() -> None:
    data = instantiate(composed_model("datamodule=digits").datamodule, _convert_="all")
    assert isinstance(data, Data)
