"""Pictures: paths between latents, traversals of one latent, points in their frame, grids, and the files of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from benchmarks.records.paths import PICTURES
from benchmarks.scoring.restore import load_model
from benchmarks.training.pictures import (
    PIXELS,
    REACH,
    beside_training_images,
    between,
    image_grid,
    nearest,
    pairs,
    save_pictures,
    scatter,
    traversals,
)
from datamodules.base import DataModule
from datamodules.digits import Digits
from datamodules.mixtures import GaussianMixture, ring
from models.game import GenerativeModel
from models.priors import Normal, Uniform
from tests.conftest import composed

GREY, BLACK, WHITE = 205, 20, 255


@pytest.mark.parametrize("steps", [2, 3, 5, 9])
def test_a_path_through_a_uniform_prior_is_a_straight_line(steps: int) -> None:
    a, b = 2 * torch.rand(2, 4, 3) - 1
    paths = between(Uniform(3), a, b, steps).view(4, steps, 3)
    weight = torch.linspace(0, 1, steps)[None, :, None]
    torch.testing.assert_close(paths, torch.lerp(a[:, None], b[:, None], weight))


@pytest.mark.parametrize("steps", [3, 5, 9])
def test_a_path_through_a_normal_prior_is_on_the_great_circle(steps: int) -> None:
    """slerp(a, b; t) = (sin((1-t)θ) a + sin(tθ) b) / sin θ, for a and b of one length."""
    a, b = torch.nn.functional.normalize(torch.randn(2, 4, 6, dtype=torch.float64), dim=-1) * 2.5
    paths = between(Normal(6), a, b, steps).view(4, steps, 6)
    angle = torch.arccos((a * b).sum(-1) / 2.5**2)[:, None, None]
    t = torch.linspace(0, 1, steps, dtype=torch.float64)[None, :, None]
    expected = (torch.sin((1 - t) * angle) * a[:, None] + torch.sin(t * angle) * b[:, None]) / torch.sin(angle)
    torch.testing.assert_close(paths, expected)
    torch.testing.assert_close(paths.norm(dim=-1), torch.full((4, steps), 2.5, dtype=torch.float64))


@pytest.mark.parametrize("prior", [Normal(5), Uniform(5)], ids=["normal", "uniform"])
def test_paths_come_one_after_another_from_start_to_end(prior: Normal | Uniform) -> None:
    start, end = prior.sample(3), prior.sample(3)
    paths = between(prior, start, end, 9)
    assert paths.shape == (27, 5)
    assert torch.equal(paths[::9], start)
    assert torch.equal(paths[8::9], end)
    torch.testing.assert_close(between(prior, end, start, 9).view(3, 9, 5).flip(1), paths.view(3, 9, 5))


@pytest.mark.parametrize(("prior", "reach"), [(Normal(4), REACH), (Uniform(4), 1.0)], ids=["normal", "uniform"])
@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_traversal_moves_one_dimension_a_row_through_the_priors_range(
    prior: Normal | Uniform, reach: float, rows: int
) -> None:
    start = prior.sample(1)[0]
    moved = traversals(prior, start, rows, 7).view(rows, 7, 4)
    for row in range(rows):
        others = torch.arange(4) != row
        assert torch.equal(moved[row][:, others], start[others].expand(7, 3)), row
        expected = torch.linspace(-REACH, REACH, 7).clamp(-reach, reach)
        torch.testing.assert_close(moved[row, :, row], expected)


def test_a_traversal_has_no_more_rows_than_dimensions() -> None:
    assert traversals(Normal(2), torch.randn(2), 8, 5).shape == (10, 2)


def shades(points: Tensor, real: Tensor) -> np.ndarray[Any, Any]:
    """Pixels by row from the top and column from the left."""
    image = scatter(points, real)
    assert image.size == (PIXELS, PIXELS)
    return np.asarray(image)


def test_points_are_where_they_belong_with_up_at_the_top() -> None:
    """The frame of the unit square is [-0.2, 1.2]²: 1.4 wide."""
    real = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    x, y = (0.1 + 0.8 * torch.rand(2)).tolist()
    pixels = shades(torch.tensor([[x, y]]), real)
    ((row, column),) = np.argwhere(pixels == BLACK)
    assert abs(column + 0.5 - (x + 0.2) / 1.4 * PIXELS) <= 1
    assert abs(PIXELS - row - 0.5 - (y + 0.2) / 1.4 * PIXELS) <= 1
    (high_row, high_column), (low_row, low_column) = np.argwhere(pixels == GREY)
    assert high_row < low_row
    assert low_column < high_column


def test_drawn_points_cover_real_ones_and_nothing_else_is_drawn() -> None:
    real = torch.randn(50, 2)
    pixels = shades(real[:10], real)
    assert 1 <= (pixels == BLACK).sum() <= 10
    assert 1 <= (pixels == GREY).sum() <= 40
    assert set(np.unique(pixels)) == {BLACK, GREY, WHITE}
    assert set(np.unique(shades(real, real))) == {BLACK, WHITE}


def test_points_outside_of_the_frame_are_left_out() -> None:
    real = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    outside = torch.tensor([[-0.3, 0.5], [1.3, 0.5], [0.5, -0.3], [0.5, 1.3], [float("nan"), 0.5], [1e30, -1e30]])
    assert (shades(outside, real) == BLACK).sum() == 0
    inside = torch.tensor([[-0.19, 0.5], [1.19, 0.5], [0.5, -0.19], [0.5, 1.19]])
    assert (shades(inside, real) == BLACK).sum() == 4


def test_a_grid_enlarges_images_without_smoothing() -> None:
    images = torch.randint(0, 256, (5, 1, 8, 8)) / 255
    grid = np.asarray(image_grid(images, columns=3))
    side = 24  # 8 pixels, each 3 wide: 28 // 8
    assert grid.shape == (2 * (side + 3) + 3, 3 * (side + 3) + 3, 3)
    for i, image in enumerate(images):
        top, left = 3 + (i // 3) * (side + 3), 3 + (i % 3) * (side + 3)
        tile = grid[top : top + side, left : left + side]
        shown = tile[1::3, 1::3]
        np.testing.assert_array_equal(shown, (image[0] * 255).round().to(torch.uint8)[..., None].expand(-1, -1, 3))
        np.testing.assert_array_equal(tile, shown.repeat(3, 0).repeat(3, 1))


def test_large_images_are_as_large_as_they_are() -> None:
    assert image_grid(torch.rand(2, 3, 64, 64), columns=1).size == (70, 137)


def test_examples_stand_above_their_reconstructions() -> None:
    """Dark examples and bright reconstructions, with a brightness for each: two rows of eight, each above its own."""
    levels = torch.randperm(100)[:16] / 255
    real = levels[:, None, None, None].expand(16, 1, 28, 28)
    grid = np.asarray(pairs(real, real + 0.5))[..., 0]
    middles = grid[17::31, 17::31] / 255
    np.testing.assert_allclose(middles[0::2].ravel(), levels, atol=0.5 / 255)
    np.testing.assert_allclose(middles[1::2].ravel(), levels + 0.5, atol=1.1 / 255)


# ---------------------------------------------------------------------------------------------------- files of a run


def model(name: str, *overrides: str) -> GenerativeModel:
    node: Any = OmegaConf.to_container(composed(f"model={name}", "network=mlp_narrow", *overrides).model, resolve=True)
    return load_model(node)


def files(folder: Path) -> set[str]:
    for path in folder.iterdir():
        Image.open(path).verify()
    return {path.name for path in folder.iterdir()}


DRAWN = {PICTURES[kind] for kind in ("samples", "interpolations", "traversals")}
OF_IMAGES = {PICTURES[kind] for kind in ("nearest images", "training neighbours")}


@pytest.mark.parametrize(
    ("data", "overrides"),
    [
        (Digits(name="digits", batch_size=16), ()),
        (GaussianMixture(ring(8, 1.0), 0.01, 500, 400, name="ring", batch_size=16), ("datamodule=ring",)),
    ],
    ids=["images", "points"],
)
def test_a_model_has_the_pictures_that_it_can_make(
    data: DataModule, overrides: tuple[str, ...], tmp_path: Path
) -> None:
    of_images = OF_IMAGES if len(data.shape) == 3 else set()
    save_pictures(tmp_path / "gan", model("gan", *overrides), data)
    assert files(tmp_path / "gan") == DRAWN | of_images
    save_pictures(tmp_path / "vae", model("vae", *overrides), data)
    assert files(tmp_path / "vae") == set(PICTURES.values()) - OF_IMAGES | of_images


def test_a_copy_stands_beside_its_training_image_and_the_next_nearest() -> None:
    data = Digits(name="digits", batch_size=16)
    train = torch.cat(list(data.batches("train", 4096)))
    copies = train[torch.randperm(len(train))[:5]]
    groups = beside_training_images(copies, data).unflatten(0, (5, 4))
    assert torch.equal(groups[:, 0], copies)
    torch.testing.assert_close(groups[:, 1], copies)
    errors = (groups - copies[:, None]).square().flatten(2).sum(2)
    every = torch.cdist(copies.flatten(1).double(), train.flatten(1).double()).square().sort(1).values
    torch.testing.assert_close(errors[:, 1:].double(), every[:, :3], atol=1e-5, rtol=1e-4)


def test_neighbours_are_found_in_any_batch_and_a_short_split_leaves_white(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Digits(name="digits", batch_size=16)
    every = torch.cat(list(data.batches("train", 40, 40)))
    samples = torch.rand(3, *data.shape)
    whole = beside_training_images(samples, data)
    monkeypatch.setattr("benchmarks.training.pictures.BATCH", 7)
    torch.testing.assert_close(beside_training_images(samples, data), whole)
    monkeypatch.setattr(data, "batches", lambda split, size, limit: every[:2].split(1))
    groups = beside_training_images(samples, data).unflatten(0, (3, 4))
    assert (groups[:, 3] == 1).all()
    nearest_first = torch.cdist(samples.flatten(1), every[:2].flatten(1)).sort(1).indices
    assert torch.equal(groups[:, 1:3], every[nearest_first])


def test_the_nearest_image_of_a_model_without_an_encoder_is_nearer_than_its_samples() -> None:
    data, made = Digits(name="digits", batch_size=16), model("gan")
    x = next(data.batches("val", 8))
    before = torch.random.get_rng_state()
    with made.scoring():
        found, samples = nearest(made, x), made.sample(500, torch.Generator().manual_seed(1))
    assert torch.equal(torch.random.get_rng_state(), before), "pictures draw from generators of their own"
    error = (found - x).square().flatten(1).mean(1)
    of_samples = torch.cdist(x.flatten(1), samples.flatten(1)).square().min(1).values / x[0].numel()
    assert (error < of_samples).all()


def test_every_model_decodes_the_same_latents_whatever_was_drawn_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, seen = Digits(name="digits", batch_size=16), []
    # a search starts at the same latents, and ends where each model wants
    monkeypatch.setattr("benchmarks.training.pictures.SEARCH_STEPS", 1)
    for name in ("gan", "wgan"):
        made, latents = model(name), list[Tensor]()
        decode = made.decode

        def noted(z: Tensor, decode: Any = decode, latents: list[Tensor] = latents) -> Tensor:
            latents.append(z.clone())
            return decode(z)

        monkeypatch.setattr(made, "decode", noted)
        torch.randn(int(torch.randint(1, 100, ())))
        save_pictures(tmp_path / name, made, data)
        seen.append(latents[:-1])
    assert len(seen[0]) == 4
    for one, other in zip(*seen, strict=True):
        assert torch.equal(one, other)


def test_a_model_is_left_in_training_as_it_was(tmp_path: Path) -> None:
    made = model("vae")
    before = {name: value.clone() for name, value in made.state_dict().items()}
    save_pictures(tmp_path, made, Digits(name="digits", batch_size=16))
    assert made.training
    for name, value in made.state_dict().items():
        assert torch.equal(value, before[name]), name
