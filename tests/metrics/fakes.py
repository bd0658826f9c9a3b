"""Made-up data, models and encoders that the rulers' tests share."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.metrics.base import Subject
from datamodules.mixtures import Mixture, grid, ring
from models.contracts import Elbo


def fresh_seed() -> int:
    return int(torch.randint(2**31, ()))


# ------------------------------------------------------------------------------------------- what is scored


@dataclass
class FakeData:
    """Examples as they are, in batches of which the last may be smaller."""

    x: Tensor
    name: str = "fake"
    is_binary: bool = False
    id: str = "fake"
    dequantize: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def info(self) -> Any:
        return SimpleNamespace(id=self.id)

    def batches(self, split: Any, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        assert split in ("train", "val", "test")
        yield from self.x[:limit].split(batch_size)


@dataclass
class FakeSampler:
    """Standard normal examples; notes how many it was asked for each time."""

    shape: tuple[int, ...]
    asked: list[int] | None = None
    poison: float = 0.0

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        if self.asked is not None:
            self.asked.append(n)
        x = torch.randn(n, *self.shape, generator=generator)
        x.view(-1)[0] += self.poison
        return x


class FakeReconstructor:
    """Nearly right for dark examples, wrong for bright ones."""

    def reconstruct(self, x: Tensor) -> Tensor:
        return x + 0.3 * x.square()


class FakeBound:
    def elbo(self, x: Tensor) -> Elbo:
        return Elbo(-x.square().flatten(1).sum(1), x.exp().flatten(1).sum(1))

    def log_weights(self, x: Tensor, k: int) -> Tensor:
        """Of known means and variances: log w = -Σx² + ε, ε ~ N(0, 1)."""
        return -x.square().flatten(1).sum(1) + torch.randn(k, len(x))

    def why_no_density(self, binary: bool) -> str | None:
        return "binary" if binary else None


class FakeEncoder:
    """Pixels are features."""

    name, checksum, resizing = "pixels", "0", "none"

    def __init__(self, dim: int, reason: str | None = None) -> None:
        self.dim, self.reason, self.images = dim, reason, 0

    def why_not(self, shape: tuple[int, ...]) -> str | None:
        return self.reason

    def __call__(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8
        self.images += len(images)
        return images.flatten(1).float()


def subject(model: Any, data: FakeData, encoder: FakeEncoder | None = None, **changes: Any) -> Subject:
    facts = {"split": "test", "samples": 100, "examples": None, "batch_size": 32, "seed": 0} | changes
    return Subject(model, data, device=torch.device("cpu"), load_encoder=lambda: encoder, **facts)


def images(n: int, size: int = 4) -> Tensor:
    """Grey images, each pixel with a brightness and a contrast of its own, some of them out of range."""
    mean, scale = torch.rand(2, 1, size, size)
    return 0.2 + 0.6 * mean + (0.1 + 0.3 * scale) * torch.randn(n, 1, size, size)


class ImageSampler:
    """The images it was given, in order."""

    def __init__(self, images: Tensor) -> None:
        self.images, self.at = images, 0

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        self.at += n
        return self.images[self.at - n : self.at]


# values with a mean over batches that differs from the mean over examples: the last batch is small and bright
def uneven(shape: tuple[int, ...]) -> Tensor:
    return torch.cat([0.3 * torch.rand(64, *shape), 0.7 + 0.3 * torch.rand(5, *shape)])


@dataclass
class FakeMixtureData(FakeData):
    mixture: Any = None


class MixtureSampler:
    """The data's own density: the best a model can do."""

    def __init__(self, mixture: Mixture, only: int | None = None) -> None:
        self.mixture = mixture if only is None else Mixture(mixture.means[:only], mixture.sigma)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        return torch.from_numpy(self.mixture.sample(n, rng))


MIXTURES = {"ring": Mixture(ring(8, 1.0), 0.01), "grid": Mixture(grid(5, 2.0), 0.05)}
