"""From a configuration on disk to data and models, on a device."""

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from threadpoolctl import threadpool_limits

from benchmarks.errors import UserError, one_line
from benchmarks.records.checkpoints import find_checkpoint
from benchmarks.records.configurations import IMAGES
from benchmarks.records.paths import CONFIG
from benchmarks.scoring.trust import read_trusted_config
from datamodules.base import DataModule
from models.game import GenerativeModel

# of a model that a record describes: 4 GiB of weights
MOST_PARAMETERS = 2**30

# the data that this process read last, by their settings: a sweep asks for them twice in each of its runs
_read: dict[str, DataModule] = {}


@dataclass(frozen=True)
class TrainedConfig:
    """What scoring needs of the configuration of a trained run.

    Args:
        model: the `model` group, resolved.
        datamodule: the `datamodule` group, resolved.
        feature_encoder: the encoder of the data; None if the data have none.
        threads: the number of threads on the CPU; None for the defaults of torch and BLAS.
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
    if not has_gpu:
        # Lightning sets it to 1. Then torch, which looks for a GPU at each step of an optimiser, loads NVIDIA's library each time
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    return "cuda" if accelerator in ("gpu", "cuda", "auto") and has_gpu else "cpu"


def set_threads(threads: int | None) -> None:
    """Sets the number of CPU threads of torch and of the BLAS of numpy and scipy; None leaves the numbers alone.

    The number changes how sums are split, and therefore the last bits of results. BLAS threads beyond the cores of a job wait for
    each other without sleep: a fit of a mixture takes twice its processor time.
    """
    if threads is not None:
        torch.set_num_threads(threads)
        threadpool_limits(threads, user_api="blas")


def use_float32() -> None:
    """Makes float32 mean float32 on a GPU: torch's default rounds the inputs of convolutions to 10 bits (TF32), and features, the
    gradient penalty and AIS would differ from a CPU's in the third digit. Speed at a lower precision is `trainer=gpu_bf16`."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def at_folders(
    node: Mapping[str, Any], data_dir: str | None, cache_dir: str | None = None, folder: str | None = None
) -> dict[str, Any]:
    """A `datamodule` group with the user's folders: a record does not choose which folders of this machine are read or written.

    Args:
        node: the group, resolved.
        data_dir: the folder to read from; None for the default of the programs.
        cache_dir: the folder of caches; None for one inside `data_dir`.
        folder: the folder of images, for data that have one.

    Raises:
        UserError: for a run on a folder of images, if `folder` is None.
    """
    if "folder" in node and folder is None:
        raise UserError("the run was trained on a folder of images; name the folder to read with folder=PATH")
    data_dir = data_dir or os.environ.get("DATA_DIR") or "data"  # as in conf/
    cache_dir = cache_dir or f"{data_dir}/image_folder_cache"
    folders = {"data_dir": data_dir, "cache_dir": cache_dir, "folder": folder}
    return {**node, **{key: path for key, path in folders.items() if key in node}}


def load_data(node: Mapping[str, Any]) -> DataModule:
    """The data module of a `datamodule` group, with its splits read. The data that the process read last are not read again.

    Args:
        node: the group, resolved. For a group that comes from a record, `benchmarks.scoring.trust` checks what it names, and
            `at_folders` puts the user's folders in place of the record's.

    Raises:
        DataError: for data that are missing or damaged.
    """
    key = json.dumps([os.getcwd(), dict(node)], default=repr)
    if key not in _read or IMAGES in node:  # a folder of images may change
        _read.clear()  # before the next are read: memory may not hold both
        data: DataModule = instantiate(OmegaConf.create(dict(node)), _convert_="all")
        data.splits  # noqa: B018 - reads the data now, so that errors in the data come before anything else
        _read[key] = data
    return _read[key].twin()


def load_model(node: Mapping[str, Any]) -> GenerativeModel:
    """The model of a `model` group, untrained. `benchmarks.scoring.trust` checks a group that comes from a record."""
    model: GenerativeModel = instantiate(OmegaConf.create(dict(node)), _convert_="all")
    model.configure_model()
    return model


def load_trained(
    run: Path,
    node: Mapping[str, Any],
    device: torch.device,
    sha256: str | None = None,
    identity: tuple[str, int] | None = None,
) -> GenerativeModel:
    """The trained model of a run, on a device, in training mode. Score the model inside `model.scoring()`.

    Args:
        run: the run's folder.
        node: the `model` group.
        device: the device of the model.
        sha256: the checksum of the checkpoint in the run's record; None for records without one.
        identity: the config id and the seed of the record; None if they need not be those of the checkpoint.

    Raises:
        UserError: for a checkpoint that is missing, damaged, of another model, or of another run.
    """
    path = find_checkpoint(run, sha256)
    _check_size(node, path)
    model = load_model(node)
    try:
        _check_stored(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(checkpoint["state_dict"])
    except Exception as error:  # torch raises several kinds of errors for a damaged file
        raise UserError(
            f"{path} cannot be loaded ({one_line(error)[:160]}); move it away and train the run again"
        ) from error
    written_by = checkpoint.get("run")  # older checkpoints do not say whose they are
    if identity is not None and written_by is not None and written_by != list(identity):
        raise UserError(
            f"{path} is not the checkpoint of configuration {identity[0]} with seed {identity[1]}, as the record says: the "
            "run is an edited copy of another; move it away"
        )
    return model.to(device)


def check_parameters(node: Mapping[str, Any]) -> None:
    """Checks before a replay allocates anything that the model of a record is of a size that models of the field have.

    Raises:
        UserError: for a model of more than `MOST_PARAMETERS`.
    """
    if (parameters := _count_parameters(node)) > MOST_PARAMETERS:
        raise UserError(f"the record has a model of {parameters:,} parameters; expected at most {MOST_PARAMETERS:,}")


def _count_parameters(node: Mapping[str, Any]) -> int:
    """The number of parameters of a `model` group. Allocates none of them."""
    with torch.device("meta"):
        model = load_model(node)
    return sum(weight.numel() for weight in model.parameters())


def _check_stored(checkpoint: Path) -> None:
    """Checks that a checkpoint unpacks to no more than its own size: torch stores without compression.

    Raises:
        ValueError, BadZipFile: for any other file.
    """
    with zipfile.ZipFile(checkpoint) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > checkpoint.stat().st_size:
        raise ValueError(f"it unpacks to {unpacked:,} bytes, more than it has")


def _check_size(node: Mapping[str, Any], checkpoint: Path) -> None:
    """Checks before anything is allocated that the model of a configuration is not larger than its checkpoint."""
    if not checkpoint.is_file():
        raise UserError(f"{checkpoint} is missing; train the run again")
    parameters, size = _count_parameters(node), checkpoint.stat().st_size
    if parameters > size:  # a parameter has four bytes
        raise UserError(
            f"{checkpoint} cannot be loaded (it has {size:,} bytes, too few for the {parameters:,} parameters of the "
            "configuration); move it away and train the run again"
        )
