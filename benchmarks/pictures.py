"""The pictures a run leaves: its samples, and examples beside their reconstructions."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from benchmarks.metrics.base import to_uint8
from benchmarks.runs import replacing
from datamodules.base import DataModule
from models.contracts import Reconstructs
from models.game import GenerativeModel

SAMPLES, COLUMNS, PAIRS = 64, 8, 32
POINTS, PIXELS = 2500, 256
# shown at about this many pixels a side, by whole factors
TILE = 28


def save_pictures(run: Path, model: GenerativeModel, data: DataModule) -> None:
    """`samples.png`, at the same latents for every model of a data set; `reconstructions.png` where there is an encoder."""
    is_images = len(data.shape) == 3
    generator = torch.Generator().manual_seed(0)
    with model.scoring():
        drawn = model.sample(SAMPLES if is_images else POINTS, generator).float().cpu()
        real = next(data.batches("val", PAIRS if is_images else POINTS))
        _save(run / "samples.png", image_grid(drawn) if is_images else scatter(drawn, real))
        if isinstance(model, Reconstructs):
            restored = model.reconstruct(real.to(model.device)).float().cpu()
            _save(run / "reconstructions.png", pairs(real, restored) if is_images else scatter(restored, real))


def image_grid(images: Tensor) -> Image.Image:
    """(N, C, H, W) in [0, 1], eight a row, enlarged without smoothing."""
    factor = max(1, TILE // images.shape[-1])
    images = images.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    grid = make_grid(to_uint8(images), nrow=COLUMNS, padding=3, pad_value=128)
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
