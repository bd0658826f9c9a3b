"""The pictures of a run: samples, reconstructions, and paths through the latent space, at the same latents for every model
of a data set."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from benchmarks.metrics.base import to_uint8, why_no_search
from benchmarks.metrics.inversion import invert
from benchmarks.metrics.nearest import nearest_points
from benchmarks.records.files import replacing
from benchmarks.records.paths import PICTURES
from datamodules.base import DataModule
from datamodules.contracts import Split
from models.contracts import Decodes, Encodes, Prior, Reconstructs, Samples

SAMPLES, COLUMNS, PAIRS = 64, 8, 32
POINTS, PIXELS = 2500, 256
# paths between latents: their number, and the points on each (a power of 2, plus 1)
PATHS, STEPS = 8, 9
POINT_PATHS, POINT_STEPS = 32, 65
# the search for nearest images: shorter than that of the inversion MSE, because a picture shows no small difference
SEARCHED, RESTARTS, SEARCH_STEPS, LEARNING_RATE = 16, 3, 100, 0.1
# samples beside their nearest training images: the number of samples, of images for each, of training images that are
# searched, and of those that are in memory at once
BESIDE, NEIGHBOURS, AMONG, BATCH = 16, 3, 100_000, 2048
REACH = 3.0  # the half-width of a traversal, in standard deviations of a normal prior
# images are enlarged by a whole factor to about this many pixels per side
TILE = 28


def save_pictures(run: Path, model: Any, data: DataModule, split: Split = "val") -> None:
    """Writes samples, interpolations between draws of the prior, and traversals of one latent, dimension by dimension.

    A model gets the pictures that its capabilities allow. Models of images also get samples beside their nearest training images,
    and the nearest images that a search of the latents finds for some examples; one with an encoder also gets reconstructions
    and interpolations between the codes of examples. The latents are the same for every model of a data set that has the same
    latent dimension.

    Args:
        run: the folder of the run.
        model: with `device`, `scoring`, and some capabilities of `models.contracts`.
        data: the data.
        split: of the examples that are reconstructed.
    """
    is_images, device = len(data.shape) == 3, model.device
    real = next(data.batches(split, PAIRS if is_images else POINTS))

    def show(kind: str, decoded: Tensor, columns: int = COLUMNS) -> None:
        decoded = decoded.float().cpu()
        _save(run / PICTURES[kind], image_grid(decoded, columns) if is_images else scatter(decoded, real))

    paths, steps = (PATHS, STEPS) if is_images else (POINT_PATHS, POINT_STEPS)
    with model.scoring():
        if isinstance(model, Samples):
            samples = model.sample(SAMPLES if is_images else POINTS, torch.Generator().manual_seed(0))
            show("samples", samples)
            if is_images:
                show("training neighbours", beside_training_images(samples[:BESIDE].float().cpu(), data))
        if isinstance(model, Decodes):
            ends = model.prior.sample(2 * paths, torch.Generator().manual_seed(1)).to(device)
            show("interpolations", model.decode(between(model.prior, ends[:paths], ends[paths:], steps)), steps)
            show("traversals", model.decode(traversals(model.prior, ends[0], paths, steps)), steps)
        if isinstance(model, Reconstructs):
            restored = model.reconstruct(real.to(device)).float().cpu()
            _save(run / PICTURES["reconstructions"], pairs(real, restored) if is_images else scatter(restored, real))
        if isinstance(model, Encodes) and isinstance(model, Decodes):
            code_paths = min(paths, len(real) // 2)  # a validation split may be very small
            codes = model.encode(real[: 2 * code_paths].to(device))
            if code_paths:
                path = between(model.prior, codes[:code_paths], codes[code_paths:], steps)
                show("code interpolations", model.decode(path), steps)
        if is_images and isinstance(model, Decodes) and why_no_search(model) is None:
            examples = real[:SEARCHED]
            _save(run / PICTURES["nearest images"], pairs(examples, nearest(model, examples.to(device))))


def beside_training_images(samples: Tensor, data: DataModule) -> Tensor:
    """Each sample, and after it the training images nearest to it, the nearest first. (N, C, H, W) -> (N * 4, C, H, W).

    The distance is Euclidean, of pixels: a picture depends on no feature encoder. Too few training images leave white places.
    """
    n, shape = len(samples), samples.shape[1:]
    squared = torch.full((n, NEIGHBOURS), torch.inf, dtype=torch.float64)
    images = torch.ones(n, NEIGHBOURS, *shape)
    for batch in data.batches("train", BATCH, AMONG):
        found = nearest_points(samples.flatten(1), batch.flatten(1), min(NEIGHBOURS, len(batch)))
        best = torch.cat([squared, found.squared], 1).topk(NEIGHBOURS, largest=False)
        squared = best.values
        images = torch.cat([images, batch[found.places]], 1)[torch.arange(n)[:, None], best.indices]
    return torch.cat([samples[:, None], images], 1).flatten(0, 1)


def nearest(model: Any, x: Tensor) -> Tensor:
    """The decoded images nearest to examples that a search of the latents finds, (N, C, H, W) -> (N, C, H, W) on the CPU.

    The search starts at draws of the prior, the same for every model, and at the codes of a model with an encoder.
    """
    prior, decode = model.prior, model.decode
    starts = prior.sample(RESTARTS * len(x), torch.Generator().manual_seed(2)).to(model.device)
    if isinstance(model, Encodes):
        starts = torch.cat([starts, prior.project(model.encode(x))])
    found = invert(decode, prior, x, starts, SEARCH_STEPS, LEARNING_RATE, "nearest images")
    decoded: Tensor = decode(found.latents)
    return decoded.float().cpu()


def between(prior: Prior, start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Paths from latents to latents by the prior's midpoints: (N, Z) and (N, Z) -> (N * steps, Z), one path after another.

    `steps` is a power of 2, plus 1.
    """
    path = [start, end]
    while len(path) < steps:
        halves = [prior.midpoint(a, b) for a, b in pairwise(path)]
        path = [z for pair in zip(path, [*halves, end], strict=True) for z in pair][:-1]
    return torch.stack(path, dim=1).flatten(0, 1)


def traversals(prior: Prior, start: Tensor, paths: int, steps: int) -> Tensor:
    """Copies of one latent (Z,): in row i, dimension i moves through the prior's range.

    At most `paths` rows. Returns (rows * steps, Z).
    """
    rows = min(paths, len(start))
    moved = start.repeat(rows, steps, 1)
    moved[torch.arange(rows), :, torch.arange(rows)] = torch.linspace(-REACH, REACH, steps, device=start.device)
    return prior.project(moved.flatten(0, 1))


def image_grid(images: Tensor, columns: int = COLUMNS) -> Image.Image:
    """A grid of images (N, C, H, W) in [0, 1], with `columns` images per row, enlarged without smoothing."""
    factor = max(1, TILE // images.shape[-1])
    images = images.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    grid = make_grid(to_uint8(images), nrow=columns, padding=3, pad_value=128)
    return Image.fromarray(grid.permute(1, 2, 0).numpy())


def pairs(real: Tensor, restored: Tensor) -> Image.Image:
    """Rows of eight examples, each row above the row of its reconstructions. (N, C, H, W) each."""
    # a short last row is filled with white, so that reconstructions stay below their examples
    short = -len(real) % COLUMNS
    full = [torch.cat([images, images.new_ones(short, *images.shape[1:])]) for images in (real, restored)]
    rows = zip(*(images.split(COLUMNS) for images in full), strict=True)
    return image_grid(torch.cat([image for row in rows for image in row]))


def scatter(points: Tensor, real: Tensor) -> Image.Image:
    """Points of the plane (N, 2) in black over real points (M, 2) in grey.

    The frame is the bounding box of the real points, enlarged by a fifth on each side.
    """
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
        image.save(temporary, format="PNG")  # optimize=True takes 8 times as long, and saves 2%
