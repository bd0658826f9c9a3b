"""Tiny protocols, and models and files that stand in for those of others."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.notebook.configs import compose_config
from benchmarks.scoring.bench import Bench

# everything slow is left out
SLOW = (
    "inversion",
    "iwae",
    "ais",
    "kid",
    "neighbours",
    "anomaly",
    "fitted_fid",
    "interpolation_fid",
    "modes",
    "known_truth",
)
SAMPLES = 300
TINY = (
    *(
        f"protocol.samples={SAMPLES}",
        "protocol.second_encoder=null",
        "protocol.metrics.fid.points=3",
        "accelerator=cpu",
    ),
    *(f"~protocol.metrics.{name}" for name in SLOW),
)


def bench(*words: str) -> Bench:
    return Bench.of(compose_config("digits", "quick", [*TINY, *words]))


def noise(n: int = SAMPLES, *shape: int) -> NDArray[np.uint8]:
    """Grey values, uniform, (n, *shape)."""
    seed = int(torch.randint(2**31, ()))
    return np.random.default_rng(seed).integers(0, 256, (n, *(shape or (8, 8))), dtype=np.uint8)


class Decoder(nn.Module):
    """A linear map of two latents to digits' images."""

    latent_dim = 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 64))

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.weight).sigmoid().view(-1, 1, 8, 8)

    forward = decode


def exported(path: Path, network: nn.Module | None = None, latents: int = 2) -> Path:
    """A .pt2 of a map from latents to images."""
    batch = torch.export.Dim("batch", min=2)
    network = Decoder() if network is None else network
    program = torch.export.export(network, (torch.randn(4, latents),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    return path


def rewritten(source: Path, target: Path, change: Any, more: dict[str, bytes] | None = None) -> Path:
    """A copy of an archive: change(name, content) gives each content; `more` has further members."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            folder, _, name = entry.filename.partition("/")
            new.writestr(entry.filename, change(name, old.read(entry)))
        for name, content in (more or {}).items():
            new.writestr(f"{folder}/{name}", content)
    return target
