"""Modes of a known distribution: how many the samples reach, in which proportions, and how many samples lie on a mode.

Srivastava et al. 2017 (VEEGAN), sec. 5.1; Lin et al. 2018 (PacGAN), sec. 4.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmarks.encoders.base import Classifies
from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one, to_uint8
from benchmarks.records.columns import columns_of
from datamodules.contracts import KnownDensity, StackedDigits
from models.contracts import Samples


def nearest_modes(points: Tensor, means: Tensor, sigma: float, radius: float = 3.0) -> tuple[Tensor, Tensor]:
    """Each point's nearest centre, (B,), and whether it lies within `radius` standard deviations of it, (B,).

    points: (B, D), means: (M, D).
    """
    distance, nearest = torch.cdist(points.double(), means.double()).min(1)
    return nearest, distance <= radius * sigma


def mode_divergence(modes: Tensor, probabilities: Tensor) -> float:
    """KL(p̂ ‖ p) in nats between the shares of the modes that samples fell into, (B,) of 0..M-1, and the true ones, (M,).

    Lin et al. 2018, sec. 4.1 ("reverse KL"). A perfect sampler's expectation is about (M - 1) / 2B, not 0.
    """
    shares = torch.bincount(modes, minlength=len(probabilities)).double() / len(modes)
    return float(torch.special.xlogy(shares, shares / probabilities.double()).sum())


class Modes(Ruler):
    """`modes`: the modes with a sample (within 3σ, on a mixture). `high_quality`: the share of samples within 3σ of their
    centre. `mode_kl`: the divergence of the samples' shares of the modes from the true shares, by nearest mode.

    The modes of a mixture are its centres. The modes of stacked digits are the numbers that a classifier reads, one digit
    a channel.

    Args:
        samples: drawn from a model of a mixture, whatever the protocol draws for other scores; 2,500 is the papers'.
        stacked_samples: drawn from a model of stacked digits; 26,000 is the papers'.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("modes")
    needs_model = (Samples,)
    needs_data = (KnownDensity | StackedDigits,)

    def __init__(self, samples: int = 2500, stacked_samples: int = 26_000) -> None:
        at_least_one("modes", samples=samples, stacked_samples=stacked_samples)
        self.samples, self.stacked_samples = samples, stacked_samples

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        data = subject.data
        if isinstance(data, KnownDensity):
            points = subject.draw(self.samples)
            nearest, good = nearest_modes(points, torch.from_numpy(data.mixture.means), data.mixture.sigma)
            count = len(data.mixture.means)
            values = _of(nearest, nearest[good], torch.full((count,), 1 / count), {})
            return values | {"high_quality": Value(100 * float(good.double().mean()), len(points))}
        assert isinstance(data, StackedDigits)
        numbers = read_stack(subject.draw(self.stacked_samples), subject)
        return _of(numbers, numbers, torch.from_numpy(data.stack_probabilities()), {"encoder": subject.encoder.name})


def read_stack(images: Tensor, subject: Subject) -> Tensor:
    """The numbers that the classifier reads in images of one digit a channel, (n, C, H, W) -> (n,) of 0..10^C - 1.

    Raises:
        ValueError: for an encoder that does not classify images of one channel.
    """
    encoder = subject.encoder
    if not isinstance(encoder, Classifies) or encoder.why_not((1, *images.shape[2:])) is not None:
        raise ValueError(f"encoder {encoder.name} does not read single digits; use protocol.encoder=auto")
    numbers = []
    for batch in images.split(subject.batch_size):
        digits = encoder.classify(to_uint8(batch).flatten(0, 1)[:, None]).view(batch.shape[:2])
        place = 10 ** torch.arange(digits.shape[1] - 1, -1, -1)
        numbers.append((digits * place).sum(1))
    return torch.cat(numbers)


def _of(modes: Tensor, good: Tensor, probabilities: Tensor, detail: dict[str, Any]) -> dict[str, Value]:
    divergence = mode_divergence(modes, probabilities)
    floor = (len(probabilities) - 1) / (2 * len(modes))
    return {
        "modes": Value(len(good.unique()), len(modes), detail | {"of": len(probabilities)}),
        "mode_kl": Value(divergence, len(modes), detail | {"of_a_perfect_sampler": floor}),
    }
