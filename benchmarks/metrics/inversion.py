"""Latent inversion: the nearest image to an example that a decoder can decode. A reconstruction without an encoder.

Lipton & Tripathi 2017; as a measure of recall, Metz et al. 2017 (unrolled GANs), sec. 3.4.2.
"""

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one, mean_value, progress
from benchmarks.metrics.reconstruction import mse, psnr, ssim, ssim_sigma
from benchmarks.records.columns import columns_of
from models.contracts import Decodes, Prior


def invert(
    decode: Callable[[Tensor], Tensor],
    prior: Prior,
    x: Tensor,
    steps: int,
    restarts: int,
    learning_rate: float,
    generator: torch.Generator,
    label: str = "inversion",
) -> Tensor:
    """argmin over z of ‖g(z) - x‖² by Adam from several draws of the prior, all at once. x: (N, ...) -> (N, Z).

    The step size falls to 0 along a cosine. Latents stay in the support of the prior. The result is the best latent of all
    paths of an example.
    """
    z = prior.sample(restarts * len(x), generator, x.device)
    targets = x.flatten(1).repeat(restarts, 1)
    best, best_error = z.clone(), torch.full((len(z),), math.inf, device=x.device)
    with torch.enable_grad():
        z.requires_grad_()
        optimizer = torch.optim.Adam([z], learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in progress(range(steps), label):
            error = (decode(z).flatten(1) - targets).square().sum(1)
            with torch.no_grad():
                better = error < best_error
                best_error = torch.where(better, error, best_error)
                best = torch.where(better[:, None], z, best)
            (z.grad,) = torch.autograd.grad(error.sum(), z)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                z.copy_(prior.project(z))
    winner = best_error.view(restarts, len(x)).argmin(0)
    return best.view(restarts, len(x), -1)[winner, torch.arange(len(x), device=x.device)]


class Inversion(Ruler):
    """Mean errors between examples and the nearest decoded images that the search finds.

    Args:
        examples: of the split.
        steps: of Adam.
        restarts: draws of the prior that the search starts from.
        learning_rate: Adam's first step size, in units of a latent.

    Raises:
        ValueError: for numbers out of range.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("inversion")
    needs_model = (Decodes,)

    def __init__(self, examples: int = 500, steps: int = 200, restarts: int = 3, learning_rate: float = 0.1) -> None:
        at_least_one("inversion", examples=examples, steps=steps, restarts=restarts)
        self.examples, self.steps, self.restarts, self.learning_rate = examples, steps, restarts, learning_rate

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        x = torch.cat([x.cpu() for x in subject.real(self.examples)])
        nearest = subject.decode(self.search(subject, x))
        detail = {"steps": self.steps, "restarts": self.restarts}
        values = {"inversion_mse": mean_value(mse(nearest, x), detail)}
        if subject.is_images:
            values["inversion_psnr"] = mean_value(psnr(nearest, x), detail)
            window = {"window_sigma": ssim_sigma(subject.data.shape)}
            values["inversion_ssim"] = mean_value(ssim(nearest, x), detail | window)
        return values

    def search(self, subject: Subject, x: Tensor) -> Tensor:
        """The best latents of examples, (N, ...) -> (N, Z) on the CPU, batch by batch."""
        model: Decodes = subject.model
        generator = torch.Generator().manual_seed(subject.seed)
        batches = x.to(subject.device).split(max(1, 2 * subject.batch_size // self.restarts))
        latents = []
        for i, batch in enumerate(batches, 1):
            label = f"inversion {i}/{len(batches)}"
            settings = (self.steps, self.restarts, self.learning_rate, generator, label)
            latents.append(invert(model.decode, model.prior, batch, *settings).detach().cpu())
        return torch.cat(latents)
