"""Packages that take seconds are loaded fast, and only where they are needed."""

import gc
import sys
from contextlib import nullcontext
from importlib import metadata
from unittest import mock

import pytest

from benchmarks.errors import UserError
from benchmarks.imports import check_torchvision, fast_imports


def test_no_garbage_is_searched_for_while_modules_load() -> None:
    with fast_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert not gc.get_freeze_count(), "what is frozen would still be there when the libraries of torch look for leaks"


def test_a_user_who_turned_the_search_off_keeps_it_off() -> None:
    gc.disable()
    try:
        with fast_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_command_of_a_sweep_believes_the_versions_and_loads_torch_only_if_they_do_not_fit() -> None:
    versions = mock.patch.object(metadata, "version", lambda name: {"torch": "2.11.0+cu130"}.get(name, "0.26.0"))
    broken = mock.patch.dict(sys.modules, {"torchvision": None})  # its import raises an error
    with versions, broken:
        with mock.patch.object(metadata, "requires", return_value=["numpy", "torch (>=2.10.0)"]):
            check_torchvision(by_version=True)
        with mock.patch.object(metadata, "requires", return_value=["numpy", "torch==2.11.0"]):
            check_torchvision(by_version=True)
            with pytest.raises(UserError, match="do not work together"):
                check_torchvision()
        with (
            mock.patch.object(metadata, "requires", return_value=["torch==2.12.0"]),
            pytest.raises(UserError, match=r"made for torch==2\.12\.0"),
        ):
            check_torchvision(by_version=True)


@pytest.mark.parametrize(
    ("torch", "needs", "is_believed"),
    [
        ("2.12.0.dev20260101+cu130", "torch==2.12.0.dev20260101", True),
        ("2.12.0a0+git1234567", "torch==2.12.0", False),
        ("2.12.0", "torch", False),  # a torchvision that was built from source
        ("2.12.0", "torch==2.12.0,", True),
        ("main", "torch==2.12.0", False),
        ("2.12.0", "torch==", False),
    ],
)
def test_versions_are_believed_only_if_torchvision_names_some(torch: str, needs: str, is_believed: bool) -> None:
    with (
        mock.patch.object(metadata, "version", return_value=torch),
        mock.patch.object(metadata, "requires", return_value=[needs]),
        mock.patch.dict(sys.modules, {"torchvision": None}),
        nullcontext() if is_believed else pytest.raises(UserError, match="do not work together"),
    ):
        check_torchvision(by_version=True)
