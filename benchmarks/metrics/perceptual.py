"""LPIPS: the distance between an example and its reconstruction in the layers of a network trained on photographs."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchvision.models import get_model_weights

from benchmarks.metrics.base import Column, Ruler, Subject, Value, mean_value
from benchmarks.records.columns import columns_of
from models.contracts import Reconstructs

# the pooling of the networks needs images of at least this size
SMALLEST = 64
# torchvision's names of the networks
NETWORKS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


class LPIPS(Ruler):
    """LPIPS of Zhang et al. 2018, by torchmetrics. torchvision downloads the ImageNet weights on first use.

    No protocol has the metric; add it with `+metric@protocol.metrics.lpips=lpips`. Images under 64 pixels are enlarged to 64,
    bilinearly, and grey ones repeated over three channels.

    Args:
        network: alex (the paper's recommendation), vgg or squeeze.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("lpips")
    needs_model = (Reconstructs,)
    needs_images = True

    def __init__(self, network: Literal["alex", "vgg", "squeeze"] = "alex") -> None:
        if network not in NETWORKS:
            raise ValueError(f"metric lpips: network is {network!r}; expected alex, vgg or squeeze")
        self.network = network

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        try:
            lpips = LearnedPerceptualImagePatchSimilarity(self.network)
        except OSError as error:  # no network, or no place for the weights
            address = get_model_weights(NETWORKS[self.network])["DEFAULT"].url
            raise OSError(
                f"torchvision's {self.network} weights could not be downloaded ({error}); put them into "
                f"{torch.hub.get_dir()}/checkpoints, from {address}"
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
