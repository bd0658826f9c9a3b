"""No test downloads anything; official data sets are small files with their own checksums."""

import gzip
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torchvision
from scipy.io import savemat

from datamodules import mnist, torchvision_data
from datamodules.cifar10 import CIFAR10, CIFAR100
from datamodules.kmnist import EMNIST, KMNIST
from datamodules.mnist import MNIST
from datamodules.svhn import SVHN
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
    monkeypatch.setattr(torchvision.datasets.celeba, "download_file_from_google_drive", fail)
    monkeypatch.setattr(torchvision_data, "download_url", fail)
    return tried


@pytest.fixture(params=["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "KMNIST", "EMNIST", "SVHN"])
def official(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Official:
    """Each data set that has an official test split; its files are not written yet, but their checksums are pinned."""
    make: Callable[[str, Path, pytest.MonkeyPatch], Official] = _MAKERS.get(request.param, _mnist)
    return make(request.param, tmp_path, monkeypatch)


def _mnist(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Official:
    made = Official(folder / name / "raw", {}, (1, 28, 28))
    for part, x in {"train": made.train, "t10k": made.test}.items():
        made.files[f"{part}-images-idx3-ubyte"] = idx_file(x[:, 0])
        made.files[f"{part}-labels-idx1-ubyte"] = idx_file(x[:, 0, 0, 0])
    patch.setitem(mnist.MD5, name, {file: md5(data) for file, data in made.files.items()})
    made.make = lambda val_size=15: MNIST(str(folder), name, val_size, name="mnist", batch_size=4)  # type: ignore[arg-type]
    return made


def _cifar(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Official:
    ours, theirs = {"CIFAR10": CIFAR10, "CIFAR100": CIFAR100}[name], getattr(torchvision.datasets, name)
    made = Official(folder / theirs.base_folder, {}, (3, 32, 32))
    n, key = len(theirs.train_list), "labels" if name == "CIFAR10" else "fine_labels"
    parts = [*np.split(made.train, n), made.test]
    for (file, _), x in zip([*theirs.train_list, *theirs.test_list], parts, strict=True):
        made.files[file] = pickle.dumps({"data": x.reshape(len(x), -1), key: x[:, 0, 0, 0].tolist()})
    pins = [[file, md5(data)] for file, data in made.files.items()]
    patch.setattr(theirs, "train_list", pins[:n])
    patch.setattr(theirs, "test_list", pins[n:])
    meta = pickle.dumps({theirs.meta["key"]: list("abcdefghij")})
    patch.setitem(theirs.meta, "md5", md5(meta))
    made.files[theirs.meta["filename"]] = meta
    made.make = lambda val_size=15: ours(str(folder), val_size, name="cifar", batch_size=4)
    return made


def _kmnist(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Official:
    made = Official(folder / name / "raw", {}, (1, 28, 28))
    for part, x in {"train": made.train, "t10k": made.test}.items():
        made.files[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(idx_file(x[:, 0]))
        made.files[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(idx_file(x[:, 0, 0, 0]))
    patch.setattr(torchvision.datasets.KMNIST, "resources", [(file, md5(data)) for file, data in made.files.items()])
    made.make = lambda val_size=15: KMNIST(str(folder), val_size, name="kmnist", batch_size=4)
    return made


def _emnist(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Official:
    """One archive of archives, in which an image has its rows and columns exchanged."""
    made, content = Official(folder / name / "raw", {}, (1, 28, 28)), io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for part, x in {"train": made.train, "test": made.test}.items():
            turned = np.ascontiguousarray(x[:, 0].transpose(0, 2, 1))
            archive.writestr(f"gzip/emnist-letters-{part}-images-idx3-ubyte.gz", gzip.compress(idx_file(turned)))
            archive.writestr(f"gzip/emnist-letters-{part}-labels-idx1-ubyte.gz", gzip.compress(idx_file(x[:, 0, 0, 0])))
    made.files["gzip.zip"] = content.getvalue()
    patch.setattr(torchvision.datasets.EMNIST, "md5", md5(content.getvalue()))
    made.make = lambda val_size=15: EMNIST(str(folder), "letters", val_size, name="emnist", batch_size=4)
    return made


def _svhn(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Official:
    """MATLAB files with the images last and the digit 0 as class 10."""
    made = Official(folder, {}, (3, 32, 32))
    for part, x in {"train": made.train, "test": made.test}.items():
        content, labels = io.BytesIO(), x[:, 0, 0, 0]
        savemat(content, {"X": x.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)[:, None]})
        file = f"{part}_32x32.mat"
        made.files[file] = content.getvalue()
        url = torchvision.datasets.SVHN.split_list[part][0]
        patch.setitem(torchvision.datasets.SVHN.split_list, part, [url, file, md5(content.getvalue())])
    made.make = lambda val_size=15: SVHN(str(folder), val_size, name="svhn", batch_size=4)
    return made


_MAKERS = {"CIFAR10": _cifar, "CIFAR100": _cifar, "KMNIST": _kmnist, "EMNIST": _emnist, "SVHN": _svhn}


@pytest.fixture
def delivers(official: Official, monkeypatch: pytest.MonkeyPatch) -> Official:
    """A download that brings the files."""
    for dataset in (torchvision.datasets.MNIST, torchvision.datasets.CIFAR10):
        monkeypatch.setattr(dataset, "download", lambda _: official.write())
    monkeypatch.setattr(torchvision_data, "download_url", lambda *_: official.write())
    return official
