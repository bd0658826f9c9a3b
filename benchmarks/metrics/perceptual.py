"""LPIPS: how far an example and its reconstruction are in the layers of a network trained on photographs."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from benchmarks.metrics.base import Column, Ruler, Subject, Value, mean_value
from models.contracts import Reconstructs

# the networks' pooling leaves nothing of smaller images
SMALLEST = 64


class LPIPS(Ruler):
    """Zhang et al. 2018, by torchmetrics. Its weights are ImageNet's, which torchvision fetches on first use.

    Not in any protocol: add it with `+metric@protocol.metrics.lpips=lpips`. Images under 64 pixels are enlarged to 64,
    bilinearly, and grey ones repeated over three channels.

    Args:
        network: alex is the paper's recommendation; vgg; squeeze.
    """

    columns: ClassVar[tuple[Column, ...]] = (Column("recon_lpips", "", False),)

    def __init__(self, network: Literal["alex", "vgg", "squeeze"] = "alex") -> None:
        if network not in ("alex", "vgg", "squeeze"):
            raise ValueError(f"metric lpips: network is {network!r}; expected alex, vgg or squeeze")
        self.network = network

    def why_not(self, subject: Subject) -> str | None:
        if not subject.is_images:
            return "points are no images"
        return None if isinstance(subject.model, Reconstructs) else "the model has no encoder"

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        try:
            lpips = LearnedPerceptualImagePatchSimilarity(self.network)
        except OSError as error:  # no network, or no place to put the weights
            raise OSError(
                f"torchvision's {self.network} weights could not be fetched ({error}); put them into "
                f"{torch.hub.get_dir()}/checkpoints"
            ) from error
        lpips = lpips.to(subject.device)
        values = []
        for x in subject.real():
            x_hat = subject.model.reconstruct(x).float().clamp(0, 1)
            values.append(lpips.net(prepare(x_hat), prepare(x), normalize=True).flatten().cpu())
        return {"recon_lpips": mean_value(torch.cat(values), {"network": self.network})}


def prepare(images: Tensor) -> Tensor:
    """(B, 1 or 3, H, W) to (B, 3, H', W'), both sides at least 64 pixels."""
    images = images.expand(-1, 3, -1, -1)
    size = [max(side, SMALLEST) for side in images.shape[2:]]
    return images if list(images.shape[2:]) == size else F.interpolate(images, size, mode="bilinear", antialias=True)
