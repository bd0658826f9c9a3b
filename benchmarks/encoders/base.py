"""What a score needs of an encoder, and how one is found by its name."""

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from benchmarks.errors import UserError

FOLDER = Path(__file__).parent


class FeatureEncoder(Protocol):
    """Images to features. Float32, evaluation mode, no autocast.

    `checksum` is over the weights: two scores by encoders of different checksums are not comparable. `resizing` says how
    images are brought to the size that the network takes.
    """

    name: str
    checksum: str
    dim: int
    resizing: str

    def why_not(self, shape: tuple[int, ...]) -> str | None:
        """Why it cannot take images of this shape (C, H, W); None where it can."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float32 (B, dim), on the CPU."""
        ...


def names() -> list[str]:
    """The encoders that can be asked for."""
    return [*sorted(path.stem for path in FOLDER.glob("*.json")), "inception"]


def load_encoder(name: str, weights: str | None, device: torch.device) -> FeatureEncoder:
    """The encoder of that name. `weights` is a local file of Inception's, which is fetched otherwise.

    Raises:
        UserError: for an unknown name, weights whose checksum is not the pinned one, or weights that cannot be had.
    """
    if name == "inception":
        from benchmarks.encoders.inception import Inception

        return Inception(weights, device)
    if name not in names():
        raise UserError(f"protocol.encoder is {name!r}; expected one of {', '.join(names())}")
    from benchmarks.encoders.cnn import ConvEncoder

    return ConvEncoder.from_files(FOLDER / f"{name}.json", device)
