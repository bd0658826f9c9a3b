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
# shares of the steps after which paths that are behind end: a later look saves little, an earlier one ends paths that would win
LOOKS = (0.2, 0.4, 0.6)
SEED = 500


class Nearest(NamedTuple):
    """The best latents of a search, (N, Z), their squared errors, (N,), and the best error of each of the K paths, (K, N)."""

    latents: Tensor
    errors: Tensor
    by_path: Tensor

    def better_of(self, other: "Nearest") -> "Nearest":
        """The better latent of two searches for each example."""
        is_better = other.errors < self.errors
        latents = torch.where(is_better[:, None], other.latents, self.latents)
        errors = torch.where(is_better, other.errors, self.errors)
        return Nearest(latents, errors, torch.cat([self.by_path, other.by_path]))

    def worth(self, restarts: int) -> float:
        """By what share the mean error would be larger with one draw of the prior fewer, on average over the draws.

        Args:
            restarts: the number of paths that start at draws of the prior; the first ones.
        """
        if len(self.by_path) < 2:
            return math.inf
        (best, second), winner = self.by_path.topk(2, dim=0, largest=False)
        lost = torch.where(winner[0] < restarts, second - best, 0).mean() / restarts
        return float(lost / best.mean())


@torch.no_grad()
def invert(
    decode: Callable[[Tensor], Tensor],
    prior: Prior,
    x: Tensor,
    starts: Tensor,
    steps: int,
    learning_rate: float,
    label: str = "inversion",
    drop: float | None = None,
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
        drop: after each share of the steps in `LOOKS`, a path ends if its best error exceeds that of the best path of its example
            by more than this share. None: no path ends early.
    """
    paths = torch.arange(len(starts), device=x.device)  # those that go on
    best, best_error = starts.clone(), torch.full((len(starts),), math.inf, device=x.device)  # of all paths
    looks = [round(share * steps) for share in LOOKS]
    z, targets = starts.clone(), x.flatten(1).repeat(len(starts) // len(x), 1)
    now, now_error = best, best_error  # of the paths that go on
    differentiated = with_pullback(decode)
    optimizer = torch.optim.Adam([z], learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in progress(range(steps), label):
        if drop is not None and step in looks:
            best[paths], best_error[paths] = now, now_error
            bound = (1 + drop) * best_error.view(-1, len(x)).min(0).values
            kept = now_error <= bound[paths % len(x)]
            paths, targets, now, now_error = paths[kept], targets[kept], now[kept], now_error[kept]
            z = _go_on(optimizer, z, kept)
        decoded, pullback = differentiated(z)
        residual = decoded.flatten(1) - targets
        error = residual.square().sum(1)
        better = error < now_error
        now_error = torch.where(better, error, now_error)
        now = torch.where(better[:, None], z, now)
        z.grad = pullback((2 * residual).view_as(decoded))  # of the sum of errors
        optimizer.step()
        schedule.step()
        z.copy_(prior.project(z))
    best[paths], best_error[paths] = now, now_error
    by_path = best_error.view(-1, len(x))
    errors, winner = by_path.min(0)
    latents = best.view(-1, len(x), starts.shape[1])[winner, torch.arange(len(x), device=x.device)]
    return Nearest(latents, errors, by_path)


def _go_on(optimizer: torch.optim.Adam, z: Tensor, kept: Tensor) -> Tensor:
    """The rows of z that are kept, with Adam's moments of these rows in place of those of z."""
    state = optimizer.state.pop(z)
    rows = z[kept]
    optimizer.param_groups[0]["params"] = [rows]
    optimizer.state[rows] = {name: value[kept] if value.shape == z.shape else value for name, value in state.items()}
    return rows


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
        drop: as in `invert`.
        worth: no further round follows the first one if one draw of the prior fewer would raise the error of the examples by less
            than this share: paths from codes win then. None: it does not matter.

    Raises:
        ValueError: for numbers out of range.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("inversion")
    version = 2  # starts at codes, rounds of restarts, a floor
    needs_model = (Decodes,)
    searches_latents = True

    def __init__(
        self,
        examples: int = 500,
        steps: int = 200,
        restarts: int = 3,
        learning_rate: float = 0.1,
        rounds: int = 3,
        drop: float | None = None,
        worth: float | None = None,
    ) -> None:
        at_least_one("inversion", examples=examples, steps=steps, restarts=restarts, rounds=rounds)
        for name, share in {"drop": drop, "worth": worth}.items():
            if share is not None and not 0 < share < math.inf:
                raise ValueError(f"metric inversion: {name} is {share}; expected more than 0, or null")
        self.examples, self.steps, self.restarts, self.learning_rate = examples, steps, restarts, learning_rate
        self.rounds, self.drop, self.worth = rounds, drop, worth

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        x = torch.cat([x.cpu() for x in subject.real(self.examples)])
        latents, floor, rounds = self._search_with_floor(subject, x)
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

    def search(self, subject: Subject, x: Tensor) -> Tensor:
        """The best latents of examples after one round, (N, ...) -> (N, Z) on the CPU."""
        return self._round(subject, x, 0).latents

    def _search_with_floor(self, subject: Subject, x: Tensor) -> tuple[Tensor, Value, int]:
        """The best latents of the examples, the floor on as many samples of the model, and the number of rounds."""
        samples = subject.draw(len(x))
        found, of_samples = self._round(subject, x, 0), self._round(subject, samples, 0)
        floors = [float(of_samples.errors.mean())]
        for number in range(1, self.rounds):
            if number == 1 and self.worth is not None and found.worth(self.restarts) < self.worth:
                break
            if number > 1 and floors[-1] > (1 - LEAST_GAIN) * floors[-2]:
                break
            found = found.better_of(self._round(subject, x, number))
            of_samples = of_samples.better_of(self._round(subject, samples, number))
            floors.append(float(of_samples.errors.mean()))
        errors = mse(subject.decode(of_samples.latents), samples)
        rounds = len(floors)
        detail = {"rounds": rounds, "restarts": self.restarts * rounds, "by_round": floors}
        return found.latents, Value(float(errors.mean()), len(x), detail), rounds

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
            settings = (self.steps, self.learning_rate, label, self.drop)
            parts.append(invert(subject.composed_decode, model.prior, batch, starts, *settings))
        latents, errors, by_path = zip(*parts, strict=True)
        return Nearest(torch.cat(latents).cpu(), torch.cat(errors).cpu(), torch.cat(by_path, 1).cpu())
