"""Samplers that copy training images, with and without noise, and what the columns of memorisation say of them."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor

from benchmarks.encoders.base import load_encoder
from benchmarks.metrics.base import Ruler, Subject, Value
from benchmarks.notebook.configs import compose_config
from benchmarks.scoring.baselines import RealTrain, UniformNoise
from benchmarks.scoring.feature_cache import cached_features
from datamodules.base import DataModule

# of the samples of a row, at most; grey values of the noise
SAMPLES = 10_000
NOISE = (0, 4, 16, 40)


class HeldOut:
    """Real images of the validation split, each once."""

    def __init__(self, data: DataModule) -> None:
        self.images = torch.cat(list(data.batches("val", 4096)))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        drawn, self.images = self.images[:n], self.images[n:]
        return drawn


class Copies:
    """Training images in turn, with normal noise.

    Args:
        data: with the training images.
        noise: its standard deviation, in grey values of 255.
    """

    def __init__(self, data: DataModule, noise: float) -> None:
        self.real, self.noise = RealTrain(data), noise

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        drawn = self.real.sample(n, generator)
        return drawn + self.noise / 255 * torch.randn(drawn.shape, generator=generator)


def measured(ruler: Ruler, model: Any, data: DataModule, samples: int, encoder: str) -> dict[str, Value]:
    """The columns of a metric that have a value, by name, against the test split."""
    device = torch.device("cpu")
    subject = Subject(
        model, data, "test", samples, None, 250, 0, device, lambda: load_encoder(encoder, None, device), cached_features
    )
    values = ruler.measure(subject)
    return {name: value for name, value in values.items() if isinstance(value, Value)}


def markdown_lines(name: str) -> Iterator[str]:
    """The table of a data set, line by line as it is measured, with the settings of protocol standard."""
    config = compose_config(name, "standard")
    data = instantiate(config["datamodule"], _convert_="all")
    ruler = instantiate(config["protocol"]["metrics"]["memorisation"], _convert_="all")
    sizes = {split: len(array) for split, array in data.splits.items()}
    n = min(SAMPLES, sizes["train"])
    subjects: dict[str, tuple[Callable[[], Any], int]] = {
        "validation images": (partial(HeldOut, data), min(n, sizes["val"])),
        **{f"training images, noise of {noise} of 255": (partial(Copies, data, noise), n) for noise in NOISE},
        "uniform noise": (partial(UniformNoise, data), n),
    }
    yield "| samples | near copies | authenticity | C_T | without cells | lowest cell | seconds |"
    yield "|" + " --- |" * 7
    for title, (make, count) in subjects.items():
        start = time.perf_counter()
        values = measured(ruler, make(), data, count, config["feature_encoder"])
        took = time.perf_counter() - start
        shares = [f"{values[column].value:.3f}" for column in ("copied_share", "authenticity")]
        c_t = values["c_t"]
        scores = [f"{score:.1f}" for score in (c_t.value, c_t.detail["without_cells"], c_t.detail["lowest_cell"])]
        yield f"| {count:,} {title} | {' | '.join([*shares, *scores])} | {took:.1f} |"
    held_out = [f"{values[column].detail['held_out']:.3f}" for column in ("copied_share", "authenticity")]
    yield f"| {sizes['test']:,} test images | {' | '.join(held_out)} | | | | |"
