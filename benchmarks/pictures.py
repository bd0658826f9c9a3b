"""The pictures a run leaves: samples, reconstructions, and ways through its latent space, at the same latents for every
model of a data set."""

from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from benchmarks.metrics.base import to_uint8
from benchmarks.runs import replacing
from datamodules.base import DataModule
from models.contracts import Encodes, Prior, Reconstructs
from models.game import GenerativeModel

SAMPLES, COLUMNS, PAIRS = 64, 8, 32
POINTS, PIXELS = 2500, 256
# ways from one latent to another: their number, and the points on each, a power of 2 and one more
WAYS, STEPS = 8, 9
POINT_WAYS, POINT_STEPS = 32, 65
REACH = 3.0  # of a traversal, in the standard deviations of a normal prior
# shown at about this many pixels a side, by whole factors
TILE = 28


def save_pictures(run: Path, model: GenerativeModel, data: DataModule) -> None:
    """`samples.png`, `interpolations.png` (between draws of the prior) and `traversals.png` (one latent, dimension by
    dimension) of every model; `reconstructions.png` and `code_interpolations.png` (between the codes of examples) where
    there is an encoder. The latents are the same for every model of a data set with as many latent dimensions."""
    is_images = len(data.shape) == 3
    generator = torch.Generator().manual_seed(0)
    real = next(data.batches("val", PAIRS if is_images else POINTS))

    def show(name: str, decoded: Tensor, columns: int = COLUMNS) -> None:
        decoded = decoded.float().cpu()
        _save(run / f"{name}.png", image_grid(decoded, columns) if is_images else scatter(decoded, real))

    ways, steps = (WAYS, STEPS) if is_images else (POINT_WAYS, POINT_STEPS)
    with model.scoring():
        show("samples", model.sample(SAMPLES if is_images else POINTS, generator))
        ends = model.prior.sample(2 * ways, torch.Generator().manual_seed(1)).to(model.device)
        show("interpolations", model.decode(between(model.prior, ends[:ways], ends[ways:], steps)), steps)
        show("traversals", model.decode(traversals(model.prior, ends[0], ways, steps)), steps)
        if isinstance(model, Reconstructs):
            restored = model.reconstruct(real.to(model.device)).float().cpu()
            _save(run / "reconstructions.png", pairs(real, restored) if is_images else scatter(restored, real))
        if isinstance(model, Encodes):
            pairs_there = min(ways, len(real) // 2)  # a validation split may be very small
            codes = model.encode(real[: 2 * pairs_there].to(model.device))
            if pairs_there:
                way = between(model.prior, codes[:pairs_there], codes[pairs_there:], steps)
                show("code_interpolations", model.decode(way), steps)


def between(prior: Prior, start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Ways from one latent to another by the prior's midpoints: (N, Z) and (N, Z) -> (N * steps, Z), a way after another.

    `steps` is a power of 2 and one more.
    """
    way = [start, end]
    while len(way) < steps:
        halves = [prior.midpoint(a, b) for a, b in pairwise(way)]
        way = [z for pair in zip(way, [*halves, end], strict=True) for z in pair][:-1]
    return torch.stack(way, dim=1).flatten(0, 1)


def traversals(prior: Prior, start: Tensor, ways: int, steps: int) -> Tensor:
    """One latent (Z,) with each of its first dimensions, at most `ways`, moved through the prior's range: (rows * steps, Z)."""
    rows = min(ways, len(start))
    moved = start.repeat(rows, steps, 1)
    moved[torch.arange(rows), :, torch.arange(rows)] = torch.linspace(-REACH, REACH, steps, device=start.device)
    return prior.project(moved.flatten(0, 1))


def image_grid(images: Tensor, columns: int = COLUMNS) -> Image.Image:
    """(N, C, H, W) in [0, 1], so many a row, enlarged without smoothing."""
    factor = max(1, TILE // images.shape[-1])
    images = images.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    grid = make_grid(to_uint8(images), nrow=columns, padding=3, pad_value=128)
    return Image.fromarray(grid.permute(1, 2, 0).numpy())


def pairs(real: Tensor, restored: Tensor) -> Image.Image:
    """Rows of eight examples, each above the row of their reconstructions. (N, C, H, W) each."""
    rows = zip(real.split(COLUMNS), restored.split(COLUMNS), strict=True)
    return image_grid(torch.cat([image for row in rows for image in row]))


def scatter(points: Tensor, real: Tensor) -> Image.Image:
    """Points of the plane (N, 2) in black, over real ones (M, 2) in grey, in the real ones' frame and a fifth more."""
    low, high = real.amin(0), real.amax(0)
    margin = 0.2 * (high - low)
    low, high = low - margin, high + margin
    canvas = torch.full((PIXELS, PIXELS), 255, dtype=torch.uint8)
    for cloud, shade in ((real, 205), (points, 20)):
        place = ((cloud - low) / (high - low) * PIXELS).floor()
        place = place[((place >= 0) & (place < PIXELS)).all(1)].long()
        canvas[PIXELS - 1 - place[:, 1], place[:, 0]] = shade
    return Image.fromarray(canvas.numpy())


def _save(path: Path, image: Image.Image) -> None:
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", optimize=True)
