"""Restoring: devices, data from another folder, and weights that are the run's or an error in one line."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from threadpoolctl import threadpool_info, threadpool_limits

from benchmarks.errors import UserError
from benchmarks.records.checkpoints import checksum
from benchmarks.records.paths import checkpoint_path
from benchmarks.scoring.restore import (
    at_folders,
    check_parameters,
    choose_device,
    load_data,
    load_model,
    load_trained,
    set_threads,
)
from models.game import GenerativeModel
from tests.conftest import choices, composed_model
from tests.datamodules.fakes import folder_of_images
from tests.records.fakes import Canary

CPU = torch.device("cpu")


def node(part: str, *overrides: str) -> dict[str, Any]:
    """A group of a configuration, resolved."""
    group: Any = OmegaConf.to_container(composed_model("network=mlp_narrow", *overrides)[part], resolve=True)
    return dict(group)


def trained(run: Path, *overrides: str) -> GenerativeModel:
    """A model with random weights, whose checkpoint lies in the run's folder."""
    model = load_model(node("model", *overrides))
    path = checkpoint_path(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": model.state_dict()}, path)
    return model


@pytest.mark.parametrize(
    ("accelerator", "has_gpu", "device"),
    [
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("gpu", True, "cuda"),
        ("cuda", True, "cuda"),
    ],
)
def test_a_gpu_is_used_where_there_is_one_and_it_is_wanted(
    accelerator: str, has_gpu: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    assert choose_device(accelerator) == device
    # without a GPU, a step of an optimiser does not load NVIDIA's library to look for one
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == ("1" if has_gpu else "0")


@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
def test_a_gpu_that_is_not_there_is_refused(accelerator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"trainer.accelerator is {accelerator}, and this machine has no GPU"):
        choose_device(accelerator)


def test_no_number_of_threads_leaves_those_of_torch_and_blas() -> None:
    def threads() -> list[int]:
        return [
            torch.get_num_threads(),
            *(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"),
        ]

    before = threads()
    assert len(before) > 1
    with threadpool_limits():  # so that the test leaves the numbers of BLAS as they were
        set_threads(None)
        assert threads() == before
        set_threads(before[0] + 1)
        assert set(threads()) == {before[0] + 1}
        set_threads(before[0])


def test_data_are_read_before_anything_else() -> None:
    data = load_data(node("datamodule"))
    assert "splits" in vars(data), "errors in the data come first"
    assert data.info.sizes["train"] > 0


def test_a_folder_of_data_is_in_place_of_the_records_own_with_its_caches(tmp_path: Path) -> None:
    pictures = folder_of_images(tmp_path / "pictures", 30, 8, 8, 3)
    own = f"data_dir={tmp_path / 'own'}"
    group = node("datamodule", "datamodule=image_folder", f"datamodule.folder={pictures}", "datamodule.size=8", own)
    with pytest.raises(UserError, match="name the folder to read with folder=PATH"):
        at_folders(group, str(tmp_path / "other"))  # a record does not choose which folder is read
    here = load_data(at_folders(group, str(tmp_path / "other"), folder=str(pictures)))
    assert list((tmp_path / "other" / "image_folder_cache").iterdir())
    assert not (tmp_path / "own").exists()
    there = load_data(group)
    assert list((tmp_path / "own" / "image_folder_cache").iterdir())
    assert here.info == there.info
    for split in here.splits:
        np.testing.assert_array_equal(here.splits[split], there.splits[split])


def test_without_a_folder_of_the_users_the_default_is_read_and_not_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    group = {"data_dir": "/record", "cache_dir": "/record/cache", "folder": "/record/images", "size": 8}
    monkeypatch.delenv("DATA_DIR", raising=False)
    own = {"data_dir": "data", "cache_dir": "data/image_folder_cache", "folder": "mine", "size": 8}
    assert at_folders(group, None, folder="mine") == own
    monkeypatch.setenv("DATA_DIR", "/mine")
    assert at_folders(group, None, folder="mine") == own | {
        "data_dir": "/mine",
        "cache_dir": "/mine/image_folder_cache",
    }


def test_a_checkpoint_that_unpacks_to_more_than_its_size_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    path = checkpoint_path(tmp_path)
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for entry in whole.infolist():
            bomb.writestr(entry.filename, whole.read(entry))
        bomb.writestr("archive/data/99", bytes(2**27))
    with pytest.raises(UserError, match=r"cannot be loaded \(it unpacks to 13\d,\d{3},\d{3} bytes, more than it has\)"):
        load_trained(tmp_path, node("model"), CPU)


def test_a_model_that_no_machine_holds_is_refused_before_it_is_made() -> None:
    group = node("model")
    check_parameters(group)
    with pytest.raises(UserError, match="expected at most 1,073,741,824"):
        check_parameters(node("model", "model.trunk.widths=[2000000,2000000]"))


@pytest.mark.parametrize("name", choices("model"))
def test_a_trained_model_is_the_one_that_was_saved(name: str, tmp_path: Path) -> None:
    overrides = (f"model={name}", "model.ema_decay=0.9")
    saved = trained(tmp_path, *overrides)
    loaded = load_trained(tmp_path, node("model", *overrides), CPU, checksum(checkpoint_path(tmp_path)))
    assert loaded.training
    assert loaded.state_dict().keys() == saved.state_dict().keys()
    for key, value in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    z = torch.randn(5, saved.prior.dim)
    with saved.scoring(), loaded.scoring():
        assert torch.equal(loaded.decode(z), saved.decode(z))


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    for sha256 in (None, "0" * 64):
        with pytest.raises(UserError, match=r"last\.ckpt is missing; train the run again"):
            load_trained(tmp_path, node("model"), CPU, sha256)


def test_a_checkpoint_of_another_model_is_named(tmp_path: Path) -> None:
    trained(tmp_path, "model=ae")
    for other in ("model=gan", "model.decoder.widths=[7]"):
        with pytest.raises(UserError, match=r"last\.ckpt cannot be loaded") as caught:
            load_trained(tmp_path, node("model", "model=ae", other), CPU)
        assert "\n" not in str(caught.value)


def test_a_checkpoint_of_other_weights_is_not_the_records(tmp_path: Path) -> None:
    trained(tmp_path, "model=ae")
    recorded = checksum(checkpoint_path(tmp_path))
    trained(tmp_path, "model=ae")
    with pytest.raises(UserError, match="is not the checkpoint that the record of the run was made with"):
        load_trained(tmp_path, node("model", "model=ae"), CPU, recorded)


def test_the_checkpoint_of_another_seed_is_not_the_records(tmp_path: Path) -> None:
    model = trained(tmp_path, "model=ae")
    load_trained(tmp_path, node("model", "model=ae"), CPU, identity=("1a2b", 1))  # an older one names no seed
    torch.save({"state_dict": model.state_dict(), "run": ["1a2b", 0]}, checkpoint_path(tmp_path))
    load_trained(tmp_path, node("model", "model=ae"), CPU, identity=("1a2b", 0))
    for other in (("1a2b", 1), ("3c4d", 0)):
        with pytest.raises(UserError, match=rf"configuration {other[0]} with seed {other[1]}, as the record says"):
            load_trained(tmp_path, node("model", "model=ae"), CPU, identity=other)


def test_a_model_that_is_larger_than_its_checkpoint_is_refused_before_it_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of 16 terabytes, from a configuration of a kilobyte."""
    trained(tmp_path, "model=ae")
    devices: list[str] = []

    def load(config: Any) -> GenerativeModel:
        devices.append(torch.get_default_device().type)
        return load_model(config)

    monkeypatch.setattr("benchmarks.scoring.restore.load_model", load)
    large = node("model", "model=ae", "model.decoder.widths=[16,2000000,2000000]")
    with pytest.raises(UserError, match=r"last\.ckpt cannot be loaded \(it has .* bytes, too few for the 4,000,"):
        load_trained(tmp_path, large, CPU)
    assert devices == ["meta"]


@pytest.mark.parametrize("content", [b"", b"plain text", b"PK\x03\x04"])
def test_a_damaged_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"last\.ckpt cannot be loaded .*move it away and train the run again"):
        load_trained(tmp_path, node("model"), CPU)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    model = trained(tmp_path, "model=ae")
    canary = tmp_path / "canary"
    torch.save({"state_dict": model.state_dict(), "more": Canary(canary)}, checkpoint_path(tmp_path))
    with pytest.raises(UserError, match="cannot be loaded"):
        load_trained(tmp_path, node("model", "model=ae"), CPU)
    assert not canary.exists()


def test_data_are_read_once_and_each_order_is_its_own() -> None:
    group = {**node("datamodule", "datamodule=noise", "shape=[1,2,2]", "datamodule.size=60"), "batch_size": 4}
    first, second = load_data(group), load_data(group)
    assert first.splits["train"] is second.splits["train"]
    for data, seed in ((first, 0), (second, 1)):
        data.plan(seed, 3)
    one, other = (torch.cat(list(data.train_dataloader())) for data in (first, second))
    assert not torch.equal(one, other)
    first.load_state_dict({"position": 2})
    assert (len(torch.cat(list(first.train_dataloader()))), second.state_dict()) == (1, {"position": 3})
    assert load_data(group).state_dict() == {"position": 0}
    assert load_data({**group, "size": 61}).splits["train"] is not first.splits["train"]


def test_the_same_words_in_another_folder_are_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook may change its folder, and data_dir is relative to it."""
    group = {**node("datamodule", "datamodule=noise", "shape=[1,2,2]", "datamodule.size=60"), "batch_size": 4}
    first = load_data(group)
    monkeypatch.chdir(tmp_path)
    assert load_data(group).splits["train"] is not first.splits["train"]


def test_a_folder_of_images_is_read_again(tmp_path: Path) -> None:
    pictures = folder_of_images(tmp_path / "pictures", 30, 8, 8)
    words = ("datamodule=image_folder", f"datamodule.folder={pictures}", "datamodule.size=8", f"data_dir={tmp_path}")
    group = node("datamodule", *words)
    before = load_data(group).info
    folder_of_images(pictures / "more", 10, 8, 8)
    assert load_data(group).info != before
