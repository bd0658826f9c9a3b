"""Errors of reconstruction by the model's own encoder and decoder."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from benchmarks.metrics.base import Column, Ruler, Subject, Value, mean_value
from benchmarks.records.columns import columns_of
from models.contracts import Reconstructs

# of the images whose SSIM is computed at once: what the windows give fits a processor's caches, which takes half of the time
PIXELS = 40_000


def mse(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean over every dimension of (x̂ - x)². (B, ...) -> (B,)."""
    return (x_hat - x).double().square().flatten(1).mean(1)


def psnr(x_hat: Tensor, x: Tensor) -> Tensor:
    """10 log₁₀(1 / MSE) in dB of images in [0, 1], an image at a time. (B, ...) -> (B,).

    At most 100 dB, so that one image without error does not make the mean infinite.
    """
    return -10 * mse(x_hat, x).clamp(min=1e-10).log10()


def ssim_sigma(shape: tuple[int, ...]) -> float:
    """The standard deviation of SSIM's Gaussian window, in pixels: 1.5 (Wang et al. 2004); 0.5 for images up to 16 pixels,
    where a window of 11 pixels would not be local."""
    return 1.5 if min(shape[1:]) > 16 else 0.5


def ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """Structural similarity of images in [0, 1], in [-1, 1]. (B, C, H, W) -> (B,). Wang et al. 2004, eq. 13."""
    sigma, size = ssim_sigma(tuple(x.shape[1:])), max(1, PIXELS // x[0].numel())
    values = []
    for pair in zip(x_hat.split(size), x.split(size), strict=True):
        value = structural_similarity_index_measure(*pair, data_range=1.0, reduction="none", sigma=sigma)
        assert isinstance(value, Tensor)
        values.append(value)
    return torch.cat(values)


class Reconstruction(Ruler):
    """Mean errors of reconstruction over the examples of the split."""

    columns: ClassVar[tuple[Column, ...]] = columns_of("reconstruction")
    needs_model = (Reconstructs,)

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        functions = {"recon_mse": mse}
        if subject.is_images:
            functions |= {"recon_psnr": psnr, "recon_ssim": ssim}
        values: dict[str, list[Tensor]] = {name: [] for name in functions}
        for x in subject.real():
            x_hat = subject.model.reconstruct(x).float().cpu()
            for name, function in functions.items():
                values[name].append(function(x_hat, x.cpu()))
        detail = {"recon_ssim": {"window_sigma": ssim_sigma(subject.data.shape)}} if subject.is_images else {}
        return {name: mean_value(torch.cat(parts), detail.get(name)) for name, parts in values.items()}
