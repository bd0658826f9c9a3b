"""The DINOv2 network (Oquab et al. 2024), which Stein et al. 2023 recommend in place of Inception.

The network is written here, and the published weights are read as data: nothing that is downloaded is executed.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.encoders.fetching import local_or_fetched
from benchmarks.errors import UserError, one_line

# 1.2 GB; the authors publish no checksum
URL = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth"
# of ImageNet, by channel
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXELS, PATCH, HEAD = 224, 14, 64
# of ViT-L/14, the network of Stein et al. 2023
WIDTH = 1024
# images in one pass: the protocol's batches would need gigabytes
CHUNK = 50


class DINOv2:
    """1,024 features: the class token of ViT-L/14 at 224 pixels, as in Stein et al. 2023 and in their code, dgm-eval.

    Images are resized with an antialiased bicubic filter, rounded to 256 grey values and normalised by ImageNet's mean and
    standard deviation. Weights of the smaller networks (S, B) are taken too; their features have names of their own, `dinov2-384`
    and `dinov2-768`.

    Args:
        weights: a local file, .pth or .safetensors; None downloads the published file on first use.
        device: where the network runs.

    Raises:
        UserError: for a file that does not hold such weights, or weights that cannot be downloaded.
    """

    resizing = "224, bicubic, antialiased"

    def __init__(self, weights: str | None, device: torch.device) -> None:
        path = local_or_fetched(weights, URL, "DINOv2's weights (ViT-L/14)")
        with path.open("rb") as stream:
            self.checksum = hashlib.file_digest(stream, "sha256").hexdigest()
        try:
            network = VisionTransformer.from_state(_read(path))
        except Exception as error:  # torch raises several kinds for a file that is not a state dict of this network
            raise UserError(f"{path} does not hold DINOv2's weights: {one_line(error)[:200]}") from error
        self.dim = network.norm.weight.numel()
        self.name = "dinov2" if self.dim == WIDTH else f"dinov2-{self.dim}"
        self._network = network.eval().requires_grad_(False).to(device)
        self.device = next(self._network.parameters()).device

    def why_not(self, shape: tuple[int, ...]) -> str | None:
        return (
            None if len(shape) == 3 and shape[0] in (1, 3) else f"encoder {self.name} takes images, not shape {shape}"
        )

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            return torch.cat([self._network(prepared(x.to(self.device))).cpu() for x in images.split(CHUNK)])


def prepared(images: Tensor) -> Tensor:
    """uint8 (B, 1 or 3, H, W) -> float32 (B, 3, 224, 224) as the network takes them."""
    x = images.expand(-1, 3, -1, -1).float()
    # along rows, then along columns, with whole grey values between, as Pillow did when the paper's code was written
    for size in ((x.shape[2], PIXELS), (PIXELS, PIXELS)):
        x = F.interpolate(x, size, mode="bicubic", antialias=True).clamp(0, 255).round()
    mean, std = (torch.tensor(values, device=x.device).view(3, 1, 1) for values in (MEAN, STD))
    return (x / 255 - mean) / std


class VisionTransformer(nn.Module):
    """Images (B, 3, H, W) to the normed class token (B, width). Dosovitskiy et al. 2021, with layer scale (Touvron et al. 2021).

    Args:
        width: of a token, in heads of 64.
        depth: the number of blocks.
        grid: positions along a side, for which the weights have embeddings. Those of another image size are interpolated.
    """

    def __init__(self, width: int, depth: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "VisionTransformer":
        """The network of a state dict, with its weights.

        Raises:
            KeyError, RuntimeError: for a state dict of another network.
        """
        _, positions, width = state["pos_embed"].shape
        depth = sum(name.endswith(".norm1.weight") for name in state)
        with torch.device("meta"):
            network = cls(width, depth, math.isqrt(positions - 1))
        # the token that stands for hidden patches in training
        weights = {name: value.float() for name, value in state.items() if name != "mask_token"}
        network.load_state_dict(weights, assign=True)
        return network

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch_embed["proj"](x)
        tokens = patches.flatten(2).transpose(1, 2) + self._positions(*patches.shape[2:])
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        out: Tensor = self.norm(self.blocks(torch.cat([first, tokens], 1))[:, 0])
        return out

    def _positions(self, height: int, width: int) -> Tensor:
        """The embeddings of the patches' positions, (1, height·width, width of a token)."""
        if (height, width) == (self.grid, self.grid):
            return self.pos_embed[:, 1:]
        square = self.pos_embed[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        # the published features were made with a tenth of a position more, which moves the points of interpolation
        factors = ((height + 0.1) / self.grid, (width + 0.1) / self.grid)
        return F.interpolate(square, scale_factor=factors, mode="bicubic").flatten(2).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width)
        self.ls1, self.ls2 = _Scale(width), _Scale(width)
        self.mlp = nn.Sequential()
        for name, layer in {
            "fc1": nn.Linear(width, 4 * width),
            "act": nn.GELU(),
            "fc2": nn.Linear(4 * width, width),
        }.items():
            self.mlp.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    # tensors alone: a pickle could run code
    state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state
