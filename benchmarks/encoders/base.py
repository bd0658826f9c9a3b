"""The interface of feature encoders, and loading an encoder by name."""

import os
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from benchmarks.errors import UserError

FOLDER = Path(__file__).parent


class FeatureEncoder(Protocol):
    """Images to features. Float32, evaluation mode, no autocast.

    `checksum` is over the weights: scores by encoders with different checksums are not comparable. `resizing` names the
    resizing to the size of the network.
    """

    name: str
    checksum: str
    dim: int
    resizing: str

    def why_not(self, shape: tuple[int, ...]) -> str | None:
        """Why the encoder cannot take images of this shape (C, H, W); None if it can."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float32 (B, dim), on the CPU."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """What a feature encoder that is part of a classifier does besides."""

    def classify(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> the predicted classes, (B,), on the CPU."""
        ...


# encoders that no file of this package describes
BUILT_IN = ("dinov2", "inception", "random-cnn")


def own_folder() -> Path:
    """The folder of the encoders that the user trained: `GENBENCH_ENCODERS`, or genbench's folder in the user's data."""
    chosen = os.environ.get("GENBENCH_ENCODERS")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "genbench" / "encoders"


def names() -> list[str]:
    """The names of all encoders, those of the user last."""
    own = sorted({path.stem for path in own_folder().glob("*.json")} - {*packaged(), *BUILT_IN})
    return [*packaged(), *BUILT_IN, *own]


def packaged() -> list[str]:
    """The names of the classifiers that genbench brings."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_encoder(name: str, weights: str | None, device: torch.device) -> FeatureEncoder:
    """The encoder of a name.

    Args:
        name: of the encoder.
        weights: a local file of the weights of Inception or DINOv2; None downloads them on first use.
        device: where the encoder runs.

    Raises:
        UserError: for an unknown name, weights with another checksum than the pinned one, or weights that cannot be downloaded.
    """
    if name == "inception":
        from benchmarks.encoders.inception import Inception

        return Inception(weights, device)
    if name == "dinov2":
        from benchmarks.encoders.dinov2 import DINOv2

        return DINOv2(weights, device)
    if name == "random-cnn":
        from benchmarks.encoders.random import RandomEncoder

        return RandomEncoder(device)
    if name not in names():
        raise UserError(f"protocol.encoder is {name!r}; expected one of {', '.join(names())}")
    from benchmarks.encoders.cnn import ConvEncoder

    folder = FOLDER if name in packaged() else own_folder()
    return ConvEncoder.from_files(folder / f"{name}.json", device)
