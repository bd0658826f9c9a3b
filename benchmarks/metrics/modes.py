"""How many modes of a known distribution a model's samples reach, in what proportions, and how many lie on one.

Srivastava et al. 2017 (VEEGAN), sec. 5.1; Lin et al. 2018 (PacGAN), sec. 4.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one, to_uint8
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
    """`modes`: those with a sample (of high quality, where that is defined). `high_quality`: the share of samples within
    3σ of their centre. `mode_kl`: between the shares of the modes and the true ones, every sample in its nearest mode.

    Of a mixture the modes are its centres; of stacked digits the numbers that a classifier reads, a digit a channel.

    Args:
        samples: drawn of a mixture's model, whatever the protocol draws for other scores; 2,500 is the papers'.
        stacked_samples: drawn of a stacked digits' model; 26,000 is the papers'.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column("modes", "", True),
        Column("high_quality", "%", True),
        Column("mode_kl", "nats", False),
    )

    def __init__(self, samples: int = 2500, stacked_samples: int = 26_000) -> None:
        at_least_one("modes", samples=samples, stacked_samples=stacked_samples)
        self.samples, self.stacked_samples = samples, stacked_samples

    def why_not(self, subject: Subject) -> str | None:
        if not isinstance(subject.model, Samples):
            return "the model does not sample"
        known = hasattr(subject.data, "mixture") or hasattr(subject.data, "stack_probabilities")
        return None if known else "the data's density is not known"

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        data: Any = subject.data
        if hasattr(data, "mixture"):
            points = subject.draw(self.samples)
            nearest, good = nearest_modes(points, torch.from_numpy(data.mixture.means), data.mixture.sigma)
            count = len(data.mixture.means)
            values = _of(nearest, nearest[good], torch.full((count,), 1 / count), {})
            return values | {"high_quality": Value(100 * float(good.double().mean()), len(points))}
        read = read_stack(subject.draw(self.stacked_samples), subject)
        return _of(read, read, torch.from_numpy(data.stack_probabilities), {"encoder": subject.encoder.name})


def read_stack(images: Tensor, subject: Subject) -> Tensor:
    """The number that the classifier reads in images of one digit a channel, (n, C, H, W) -> (n,) of 0..10^C - 1.

    Raises:
        ValueError: for an encoder that does not classify images of one channel.
    """
    encoder: Any = subject.encoder
    if not hasattr(encoder, "classify") or encoder.why_not((1, *images.shape[2:])) is not None:
        raise ValueError(f"encoder {encoder.name} does not read single digits; leave protocol.encoder=auto")
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
