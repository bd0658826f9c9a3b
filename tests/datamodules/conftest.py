"""No test downloads anything; official data sets are small files with their own checksums."""

import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torchvision

from datamodules import mnist
from datamodules.cifar10 import CIFAR10
from datamodules.mnist import MNIST
from tests.datamodules.fakes import Official, idx_file, md5


@pytest.fixture(autouse=True)
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A download fails at once; the addresses that were asked for."""
    tried: list[str] = []

    def fail(url: str, *args: Any, **kwargs: Any) -> None:
        tried.append(url)
        raise URLError("no route\nto host")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fail)
    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fail)
    return tried


@pytest.fixture(params=["MNIST", "FashionMNIST", "CIFAR10"])
def official(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Official:
    """Each data set that has an official test split; its files are not written yet, but their checksums are pinned."""
    if request.param == "CIFAR10":
        made = Official(tmp_path / "cifar-10-batches-py", {}, (3, 32, 32))
        batches = {f"data_batch_{i + 1}": made.train[12 * i : 12 * (i + 1)] for i in range(5)} | {
            "test_batch": made.test
        }
        for name, x in batches.items():
            made.files[name] = pickle.dumps({"data": x.reshape(len(x), -1), "labels": x[:, 0, 0, 0].tolist()})
        pins = [[name, md5(data)] for name, data in made.files.items()]
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "train_list", pins[:5])
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "test_list", pins[5:])
        meta = pickle.dumps({"label_names": list("abcdefghij")})
        monkeypatch.setitem(torchvision.datasets.CIFAR10.meta, "md5", md5(meta))
        made.files["batches.meta"] = meta
        made.make = lambda val_size=15: CIFAR10(str(tmp_path), val_size, name="cifar10", batch_size=4)
    else:
        made = Official(tmp_path / request.param / "raw", {}, (1, 28, 28))
        for part, x in {"train": made.train, "t10k": made.test}.items():
            made.files[f"{part}-images-idx3-ubyte"] = idx_file(x[:, 0])
            made.files[f"{part}-labels-idx1-ubyte"] = idx_file(x[:, 0, 0, 0])
        monkeypatch.setitem(mnist.MD5, request.param, {name: md5(data) for name, data in made.files.items()})
        made.make = lambda val_size=15: MNIST(str(tmp_path), request.param, val_size, name="mnist", batch_size=4)
    return made


@pytest.fixture
def delivers(official: Official, monkeypatch: pytest.MonkeyPatch) -> Official:
    """A download that brings the files."""
    for dataset in (torchvision.datasets.MNIST, torchvision.datasets.CIFAR10):
        monkeypatch.setattr(dataset, "download", lambda _: official.write())
    return official
