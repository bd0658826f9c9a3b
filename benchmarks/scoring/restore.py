"""From a configuration on disk to data and models, on a device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from benchmarks.errors import UserError, one_line
from benchmarks.records.checkpoints import find_checkpoint
from benchmarks.records.paths import CONFIG
from benchmarks.scoring.trust import read_trusted_config
from datamodules.base import DataModule
from models.game import GenerativeModel


@dataclass(frozen=True)
class TrainedConfig:
    """What scoring needs of the configuration of a trained run.

    Args:
        model: the `model` group, resolved.
        datamodule: the `datamodule` group, resolved.
        feature_encoder: the encoder of the data; None if the data have none.
        threads: the number of torch's threads on the CPU; None for torch's default.
    """

    model: Mapping[str, Any]
    datamodule: Mapping[str, Any]
    feature_encoder: str | None
    threads: int | None


def read_trained_config(run: Path, trust: Sequence[str] = ()) -> TrainedConfig:
    """Reads the configuration of a run and checks what it names.

    Args:
        run: the run's folder.
        trust: packages whose classes the user trusts besides genbench's own.

    Raises:
        RecordError: for a missing or damaged file.
        UserError: for a missing key, or a name that a record may not hold.
    """
    config = read_trusted_config(run, trust)
    if "feature_encoder" not in config:
        raise UserError(f"{run / CONFIG} lacks feature_encoder; restore it or move the run away")
    return TrainedConfig(config["model"], config["datamodule"], config["feature_encoder"], config.get("threads"))


def choose_device(accelerator: str) -> str:
    """ "cuda" or "cpu", from Lightning's name of an accelerator.

    Raises:
        UserError: for a GPU on a machine without one.
    """
    has_gpu = torch.cuda.is_available()
    if accelerator in ("gpu", "cuda") and not has_gpu:
        raise UserError(
            f"trainer.accelerator is {accelerator}, and this machine has no GPU that torch can use: "
            "choose trainer=cpu or trainer=auto"
        )
    return "cuda" if accelerator in ("gpu", "cuda", "auto") and has_gpu else "cpu"


def set_threads(threads: int | None) -> None:
    """Sets torch's number of CPU threads; None leaves the number alone.

    The number changes how sums are split, and therefore the last bits of results.
    """
    if threads is not None:
        torch.set_num_threads(threads)


def at_folders(node: Mapping[str, Any], data_dir: str, cache_dir: str, folder: str | None) -> dict[str, Any]:
    """A `datamodule` group with the user's folders: a record does not choose which folders of this machine are read or written.

    Raises:
        UserError: for a run on a folder of images, if `folder` is None.
    """
    if "folder" in node and folder is None:
        raise UserError("the run was trained on a folder of images; name the folder to read with folder=PATH")
    folders = {"data_dir": data_dir, "cache_dir": cache_dir, "folder": folder}
    return {**node, **{key: path for key, path in folders.items() if key in node}}


def load_data(node: Mapping[str, Any], data_dir: str | None = None, folder: str | None = None) -> DataModule:
    """The data module of a `datamodule` group, with its splits read.

    Args:
        node: the group, resolved. `benchmarks.scoring.trust` checks a group that comes from a record.
        data_dir: the folder to read from, in place of the folder in the group. Caches go there too.
        folder: the folder of images to read, in place of the folder in the group, if `data_dir` is given.

    Raises:
        DataError: for data that are missing or damaged.
    """
    if data_dir is not None:
        node = at_folders(node, data_dir, f"{data_dir}/image_folder_cache", folder)
    data: DataModule = instantiate(OmegaConf.create(dict(node)), _convert_="all")
    data.splits  # noqa: B018 - reads the data now, so that errors in the data come before anything else
    return data


def load_model(node: Mapping[str, Any]) -> GenerativeModel:
    """The model of a `model` group, untrained. `benchmarks.scoring.trust` checks a group that comes from a record."""
    model: GenerativeModel = instantiate(OmegaConf.create(dict(node)), _convert_="all")
    model.configure_model()
    return model


def load_trained(
    run: Path, node: Mapping[str, Any], device: torch.device, sha256: str | None = None
) -> GenerativeModel:
    """The trained model of a run, on a device, in training mode. Score the model inside `model.scoring()`.

    Args:
        run: the run's folder.
        node: the `model` group.
        device: the device of the model.
        sha256: the checksum of the checkpoint in the run's record; None for records without one.

    Raises:
        UserError: for a checkpoint that is missing, damaged, or of another model.
    """
    path = find_checkpoint(run, sha256)
    _check_size(node, path)
    model = load_model(node)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(checkpoint["state_dict"])
    except Exception as error:  # torch raises several kinds of errors for a damaged file
        raise UserError(
            f"{path} cannot be loaded ({one_line(error)[:160]}); move it away and train the run again"
        ) from error
    return model.to(device)


def _check_size(node: Mapping[str, Any], checkpoint: Path) -> None:
    """Checks before anything is allocated that the model of a configuration is not larger than its checkpoint."""
    if not checkpoint.is_file():
        raise UserError(f"{checkpoint} is missing; train the run again")
    with torch.device("meta"):
        model = load_model(node)
    parameters, size = sum(weight.numel() for weight in model.parameters()), checkpoint.stat().st_size
    if parameters > size:  # a parameter has four bytes
        raise UserError(
            f"{checkpoint} cannot be loaded (it has {size:,} bytes, too few for the {parameters:,} parameters of the "
            "configuration); move it away and train the run again"
        )
