"""Latent inversion: a search for the latent whose decoded image is nearest to an example. A reconstruction without an encoder.

Lipton & Tripathi 2017; as a measure of recall, Metz et al. 2017 (unrolled GANs), sec. 3.4.2.
"""

import math
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one, mean_value, progress
from benchmarks.metrics.pullback import with_pullback
from benchmarks.metrics.reconstruction import mse, psnr, ssim, ssim_sigma
from benchmarks.records.columns import columns_of
from models.contracts import Decodes, Encodes, Prior

# another round of restarts must lower the floor by this share; otherwise the search has enough restarts
LEAST_GAIN = 0.05
SEED = 500


class Nearest(NamedTuple):
    """The best latents of a search, (N, Z), and their squared errors, (N,)."""

    latents: Tensor
    errors: Tensor

    def better_of(self, other: "Nearest") -> "Nearest":
        """The better latent of two searches for each example."""
        is_better = other.errors < self.errors
        latents = torch.where(is_better[:, None], other.latents, self.latents)
        return Nearest(latents, torch.where(is_better, other.errors, self.errors))


@torch.no_grad()
def invert(
    decode: Callable[[Tensor], Tensor],
    prior: Prior,
    x: Tensor,
    starts: Tensor,
    steps: int,
    learning_rate: float,
    label: str = "inversion",
) -> Nearest:
    """argmin over z of ‖g(z) - x‖² by Adam from several starts, all at once.

    The step size falls to 0 along a cosine. Latents stay in the support of the prior. The result is the best latent of all
    paths of an example.

    Args:
        decode: g, (B, Z) -> (B, ...).
        prior: the distribution whose support the latents stay in.
        x: the examples, (N, ...).
        starts: latents, (K·N, Z): one for each example, K times.
        steps: the number of steps of Adam.
        learning_rate: Adam's first step size, in units of a latent.
        label: of the progress bar.
    """
    z = starts.clone()
    restarts = len(z) // len(x)
    targets = x.flatten(1).repeat(restarts, 1)
    best, best_error = z.clone(), torch.full((len(z),), math.inf, device=x.device)
    differentiated = with_pullback(decode)
    optimizer = torch.optim.Adam([z], learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in progress(range(steps), label):
        decoded, pullback = differentiated(z)
        residual = decoded.flatten(1) - targets
        error = residual.square().sum(1)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best = torch.where(better[:, None], z, best)
        z.grad = pullback((2 * residual).view_as(decoded))  # of the sum of errors
        optimizer.step()
        schedule.step()
        z.copy_(prior.project(z))
    errors, winner = best_error.view(restarts, len(x)).min(0)
    latents = best.view(restarts, len(x), -1)[winner, torch.arange(len(x), device=x.device)]
    return Nearest(latents, errors)


class Inversion(Ruler):
    """Mean errors between examples and the nearest decoded images that the search finds, with the floor of the search.

    `inversion_floor`: the mean squared error of the same search on the model's own samples, for which a latent without error
    exists. What is as small as the floor says nothing of the model. Rounds of restarts are added until the floor falls by
    less than 5%; every family gets the rounds that its own floor asks for. If the model has an encoder, the code of an
    example is one of the starts. `inversion_norm`: the mean length of the latents that were found, as a share of the mean
    length of draws of the prior; far from 1, the search leaves the region that the model samples from.

    Args:
        examples: the number of examples of the split, and of samples for the floor.
        steps: the number of steps of Adam.
        restarts: the number of draws of the prior that a round starts from.
        learning_rate: Adam's first step size, in units of a latent.
        rounds: the largest number of rounds.

    Raises:
        ValueError: for numbers out of range.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("inversion")
    version = 2  # starts at codes, rounds of restarts, a floor
    needs_model = (Decodes,)
    searches_latents = True

    def __init__(
        self, examples: int = 500, steps: int = 200, restarts: int = 3, learning_rate: float = 0.1, rounds: int = 3
    ) -> None:
        at_least_one("inversion", examples=examples, steps=steps, restarts=restarts, rounds=rounds)
        self.examples, self.steps, self.restarts, self.learning_rate = examples, steps, restarts, learning_rate
        self.rounds = rounds

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        x = torch.cat([x.cpu() for x in subject.real(self.examples)])
        floor, rounds = self._floor(subject, len(x))
        latents = self.search(subject, x, rounds)
        nearest = subject.decode(latents)
        detail = {
            "steps": self.steps,
            "restarts": self.restarts * rounds,
            "starts_at_code": isinstance(subject.model, Encodes),
        }
        values = {"inversion_mse": mean_value(mse(nearest, x), detail), "inversion_floor": floor}
        if subject.is_images:
            values["inversion_psnr"] = mean_value(psnr(nearest, x), detail)
            window = {"window_sigma": ssim_sigma(subject.data.shape)}
            values["inversion_ssim"] = mean_value(ssim(nearest, x), detail | window)
        prior: Prior = subject.model.prior
        drawn = prior.sample(len(latents), torch.Generator().manual_seed(subject.seed))
        values["inversion_norm"] = Value(float(latents.norm(dim=1).mean() / drawn.norm(dim=1).mean()), len(latents))
        return values

    def search(self, subject: Subject, x: Tensor, rounds: int = 1) -> Tensor:
        """The best latents of examples, (N, ...) -> (N, Z) on the CPU."""
        nearest = self._round(subject, x, 0)
        for i in range(1, rounds):
            nearest = nearest.better_of(self._round(subject, x, i))
        return nearest.latents

    def _floor(self, subject: Subject, n: int) -> tuple[Value, int]:
        """The floor on n samples of the model, and the number of rounds after which it stops falling."""
        samples = subject.draw(n)
        nearest, rounds = self._round(subject, samples, 0), 1
        floors = [float(nearest.errors.mean())]
        while rounds < self.rounds:
            nearest = nearest.better_of(self._round(subject, samples, rounds))
            rounds += 1
            floors.append(float(nearest.errors.mean()))
            if floors[-1] > (1 - LEAST_GAIN) * floors[-2]:
                break
        errors = mse(subject.decode(nearest.latents), samples)
        detail = {"rounds": rounds, "restarts": self.restarts * rounds, "by_round": floors}
        return Value(float(errors.mean()), n, detail), rounds

    def _round(self, subject: Subject, x: Tensor, number: int) -> Nearest:
        """One search from draws of the prior, and in the first round also from the codes, batch by batch."""
        model: Decodes = subject.model
        # other latents than those of the samples, whose seed is the subject's
        generator = torch.Generator().manual_seed(SEED + 1000 * subject.seed + number)
        batches = x.to(subject.device).split(max(1, 2 * subject.batch_size // self.restarts))
        parts = []
        for i, batch in enumerate(batches, 1):
            starts = model.prior.sample(self.restarts * len(batch), generator, subject.device)
            if number == 0 and isinstance(model, Encodes):
                with torch.no_grad():
                    starts = torch.cat([starts, model.prior.project(model.encode(batch))])
            label = f"inversion {i}/{len(batches)}"
            parts.append(
                invert(subject.composed_decode, model.prior, batch, starts, self.steps, self.learning_rate, label)
            )
        latents, errors = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
        return Nearest(latents, errors)
