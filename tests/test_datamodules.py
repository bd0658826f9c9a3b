"""Sampler, store, blocks, noise, and every data set from small files made here: nothing is fetched or found."""

import hashlib
import itertools
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from benchmarks.calibration import FittedGaussian, RealTrain, UniformNoise, calibration_subjects
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from datamodules import mnist
from datamodules.base import ENDLESS, Blocks, DataModule, Sampler, Split, Store, split_off
from datamodules.cifar10 import CIFAR10
from datamodules.digits import Digits
from datamodules.errors import DataError
from datamodules.image_folder import ImageFolder
from datamodules.mixtures import GaussianMixture, Mixture, grid, ring
from datamodules.mnist import MNIST
from datamodules.stacked_mnist import StackedMNIST

CPU = torch.device("cpu")
SPLITS: tuple[Split, ...] = ("train", "val", "test")
OPTIONS: list[dict[str, Any]] = [{}, {"binarize": "dynamic"}, {"binarize": "fixed"}, {"dequantize": True}]
NOISY: list[dict[str, Any]] = [{"binarize": "dynamic"}, {"dequantize": True}]

# every grey value once
GREYS = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)


class Given(DataModule):
    """The arrays it is given."""

    def __init__(self, arrays: Mapping[Split, NDArray[Any]], **options: Any) -> None:
        defaults = {"name": "given", "batch_size": 8, "block_size": 4}
        super().__init__(shape=arrays["train"].shape[1:], **(defaults | options))
        self.arrays = arrays

    def load(self) -> Mapping[Split, NDArray[Any]]:
        return self.arrays


def pictures() -> dict[Split, NDArray[np.uint8]]:
    """50, 20 and 30 random images of 4x4 pixels, all different."""
    images = np.random.default_rng(7).integers(0, 256, (100, 1, 4, 4), dtype=np.uint8)
    train, val, test = np.split(images, [50, 70])
    return {"train": train, "val": val, "test": test}


def all_greys(copies: int = 1) -> dict[Split, NDArray[np.uint8]]:
    array = np.repeat(GREYS, copies, 0)
    return {"train": array, "val": array, "test": array}


def digits(**options: Any) -> Digits:
    return Digits(**{"name": "digits", "batch_size": 64, **options})


def blocks(data: DataModule, seed: int = 0, resident: bool = True) -> Blocks:
    array = data.splits["train"]
    store = Store(array, CPU, 2**31 if resident else 0)
    assert store.is_resident == resident
    return Blocks(data, store, Sampler(len(array), data.batch_size, seed))


def training(data: DataModule, minibatches: int, seed: int = 0, resident: bool = True) -> Tensor:
    """Every minibatch of a plan, (minibatches, B, ...)."""
    data.plan(seed, minibatches)
    return torch.cat(list(blocks(data, seed, resident)))


def scored(data: DataModule, split: Split, batch_size: int = 16) -> Tensor:
    return torch.cat(list(data.batches(split, batch_size)))


def rows(array: NDArray[Any]) -> list[bytes]:
    return [row.tobytes() for row in array]


@pytest.fixture(autouse=True)
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A download fails at once; the addresses that were asked for."""
    tried: list[str] = []

    def fail(url: str, *args: Any, **kwargs: Any) -> None:
        tried.append(url)
        raise URLError("no route\nto host")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fail)
    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fail)
    return tried


# the sampler


@pytest.mark.parametrize(("size", "batch_size"), [(50, 5), (50, 7), (7, 3), (10, 32), (1, 3)])
def test_each_epoch_is_a_permutation_and_minibatches_straddle_epochs(size: int, batch_size: int) -> None:
    stream = Sampler(size, batch_size, seed=3).indices(0, size).ravel()
    for epoch in stream.reshape(batch_size, size):
        assert sorted(epoch) == list(range(size))


def test_epochs_have_different_orders() -> None:
    epochs = Sampler(50, 50, seed=0).indices(0, 5)
    assert len(set(rows(epochs))) == 5


def test_the_order_does_not_depend_on_the_batch_size() -> None:
    np.testing.assert_array_equal(Sampler(10, 4, 0).indices(0, 5).ravel(), Sampler(10, 10, 0).indices(0, 2).ravel())


def test_the_seed_decides_the_order() -> None:
    first, again, other = (Sampler(50, 8, seed).indices(0, 20) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.8


@pytest.mark.parametrize("position", [0, 1, 11])
def test_two_ranks_together_take_what_one_process_with_twice_the_batch_takes(position: int) -> None:
    ranks = [Sampler(50, 8, 4, rank, 2).indices(position, 10) for rank in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(ranks, axis=1), Sampler(50, 16, 4).indices(position, 10))


@pytest.mark.parametrize(("size", "batch_size"), [(50, 8), (6, 8)])
def test_the_order_continues_alike_from_any_position(size: int, batch_size: int) -> None:
    whole = Sampler(size, batch_size, 2).indices(0, 40)
    used = Sampler(size, batch_size, 2)
    for position in [*range(36), *range(35, -1, -1)]:
        for sampler in (used, Sampler(size, batch_size, 2)):
            np.testing.assert_array_equal(sampler.indices(position, 4), whole[position : position + 4])


# the store


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resident_and_memory_mapped_stores_gather_the_same_in_the_order_asked(tmp_path: Path, dtype: type) -> None:
    array = np.random.default_rng(0).integers(0, 256, (40, 3, 2, 2)).astype(dtype)
    np.save(tmp_path / "array.npy", array)
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    index = torch.randint(40, (5, 16)).numpy()
    resident, not_resident = Store(mapped, CPU), Store(mapped, CPU, resident_bytes=array.nbytes - 1)
    assert resident.is_resident
    assert not not_resident.is_resident
    for store in (resident, not_resident):
        gathered = store.gather(index)
        assert gathered.shape == (5, 16, 3, 2, 2)
        np.testing.assert_array_equal(gathered.numpy(), array[index], strict=True)


# blocks


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_block_is_k_minibatches_of_floats_from_0_to_1(options: dict[str, Any]) -> None:
    data = Given(pictures(), **options)
    data.plan(0, 8)
    for block in blocks(data):
        assert block.shape == (4, 8, 1, 4, 4)
        assert block.dtype == torch.float32
        assert block.min() >= 0
        assert block.max() <= 1


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize(("plan", "sizes"), [(1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (11, [4, 4, 3])])
def test_the_last_block_ends_where_the_plan_ends(plan: int, sizes: list[int], resident: bool) -> None:
    data = Given(pictures())
    data.plan(0, plan)
    loader = blocks(data, resident=resident)
    assert [len(block) for block in loader] == sizes
    assert len(loader) == len(sizes)


def test_blocks_hold_the_samplers_examples_in_its_order() -> None:
    arrays = pictures()
    order = Sampler(50, 8, seed=9).indices(0, 20)
    shown = training(Given(arrays), 20, seed=9)
    torch.testing.assert_close(shown, torch.from_numpy(arrays["train"][order]) / 255)


def test_without_a_plan_blocks_go_on_past_any_epoch() -> None:
    data = Given(pictures())
    data.plan(0, None)
    loader = blocks(data)
    assert sum(len(block) for block in itertools.islice(loader, 30)) == 120
    assert len(loader) == ENDLESS // 4


def test_the_position_advances_with_each_block() -> None:
    data = Given(pictures())
    data.plan(0, 10)
    assert data.state_dict() == {"position": 0}
    assert [data.state_dict()["position"] for _ in blocks(data)] == [4, 8, 10]


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("cut", [1, 2, 5])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_run_cut_at_a_block_goes_on_as_if_it_had_not_been(options: dict[str, Any], cut: int, resident: bool) -> None:
    whole = training(Given(pictures(), **options), 23, seed=1)
    first = Given(pictures(), **options)
    first.plan(1, 23)
    before = list(itertools.islice(blocks(first, 1, resident), cut))
    second = Given(pictures(), **options)
    second.load_state_dict(first.state_dict())
    second.plan(1, 23)
    loader = blocks(second, 1, resident)
    assert len(loader) == 6  # of the whole plan
    torch.testing.assert_close(torch.cat([*before, *loader]), whole, rtol=0, atol=0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_memory_mapped_file_is_shown_as_a_resident_one(options: dict[str, Any], tmp_path: Path) -> None:
    arrays = pictures()
    np.save(tmp_path / "train.npy", arrays["train"])
    mapped = {**arrays, "train": np.load(tmp_path / "train.npy", mmap_mode="r")}
    resident = training(Given(arrays, **options), 23, seed=1)
    torch.testing.assert_close(training(Given(mapped, **options), 23, 1, resident=False), resident, rtol=0, atol=0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_seed_of_a_run_decides_what_it_is_shown(options: dict[str, Any]) -> None:
    first, again, other = (training(Given(pictures(), **options), 8, seed) for seed in (0, 0, 1))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not first.equal(other)


def loaded_by(rank: int, world_size: int, **options: Any) -> Tensor:
    """Twelve minibatches of `train_dataloader` in one process of several."""
    data = Given(pictures(), **options)
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=CPU), global_rank=rank, world_size=world_size)
    data.trainer = trainer
    data.plan(0, 12)
    return torch.cat(list(data.train_dataloader()))


def test_the_training_loaders_of_two_processes_together_show_what_one_with_twice_the_batch_shows() -> None:
    both = torch.cat([loaded_by(0, 2), loaded_by(1, 2)], dim=1)
    torch.testing.assert_close(both, loaded_by(0, 1, batch_size=16), rtol=0, atol=0)
    alone = Given(pictures(), batch_size=16)
    alone.plan(0, 12)
    torch.testing.assert_close(both, torch.cat(list(alone.train_dataloader())), rtol=0, atol=0)


@pytest.mark.parametrize("options", NOISY, ids=str)
def test_two_processes_draw_different_noise(options: dict[str, Any]) -> None:
    shown = []
    for rank in (0, 1):
        data = Given(all_greys(), batch_size=2, **options)
        data.plan(0, 4)
        store = Store(data.splits["train"], CPU)
        shown.append(torch.cat(list(Blocks(data, store, Sampler(1, 2, 0, rank, 2)))))
    assert not shown[0].equal(shown[1])


# options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"batch_size": 0}, ["batch_size"]),
        ({"batch_size": -1}, ["batch_size"]),
        ({"block_size": 0}, ["block_size"]),
        ({"binarize": "threshold"}, ["binarize", "threshold"]),
        ({"binarize": "dynamic", "dequantize": True}, ["binarize", "dequantize"]),
        ({"binarize": "fixed", "dequantize": True}, ["binarize", "dequantize"]),
    ],
    ids=str,
)
def test_options_out_of_range_or_at_odds_are_refused_by_name(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError, match="datamodule") as caught:
        digits(**options)
    assert all(key in str(caught.value) for key in named)


# binarisation and dequantisation


def test_without_options_pixels_are_grey_values_over_255() -> None:
    for split, array in pictures().items():
        torch.testing.assert_close(scored(Given(pictures()), split), torch.from_numpy(array) / 255)


def test_dynamic_binarisation_is_a_bernoulli_draw_of_the_grey_value() -> None:
    data = Given(all_greys(), binarize="dynamic", batch_size=100, block_size=20)
    shown = training(data, 80).flatten(0, 1)
    assert set(shown.unique().tolist()) == {0.0, 1.0}
    p = torch.from_numpy(GREYS[0]) / 255
    standard_error = (p * (1 - p) / len(shown)).sqrt()
    assert ((shown.mean(0) - p).abs() <= 5 * standard_error).all()  # and exactly right for 0 and 255


@pytest.mark.parametrize("options", NOISY, ids=str)
def test_training_noise_is_fresh_in_every_epoch_and_block(options: dict[str, Any]) -> None:
    shown = training(Given(all_greys(), batch_size=1, **options), 12)  # an epoch a minibatch
    assert len(set(rows(shown.numpy()))) == 12


@pytest.mark.parametrize("options", NOISY, ids=str)
def test_the_seed_of_a_run_decides_its_noise(options: dict[str, Any]) -> None:
    first, again, other = (training(Given(all_greys(), **options), 4, seed) for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("options", [*NOISY, {"binarize": "fixed"}], ids=str)
def test_scoring_sees_one_pinned_draw_whatever_the_batch_size(options: dict[str, Any], split: Split) -> None:
    data = Given(pictures(), **options)
    first = scored(data, split)
    training(data, 8)  # draws in between
    for again in (scored(data, split), scored(data, split, 7), scored(Given(pictures(), **options), split, 1000)):
        torch.testing.assert_close(again, first, rtol=0, atol=0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_limit_cuts_what_is_scored_and_changes_nothing_else(options: dict[str, Any]) -> None:
    data = Given(pictures(), **options)
    limited = list(data.batches("test", 8, limit=20))
    assert [len(x) for x in limited] == [8, 8, 4]
    torch.testing.assert_close(torch.cat(limited), scored(data, "test")[:20], rtol=0, atol=0)
    assert len(torch.cat(list(data.batches("test", 8, limit=1000)))) == 30


def test_splits_have_noise_of_their_own() -> None:
    data = Given(all_greys(), binarize="dynamic")
    assert len({scored(data, split).numpy().tobytes() for split in SPLITS}) == 3


def test_fixed_binarisation_is_one_bernoulli_draw_of_the_grey_value() -> None:
    array = scored(Given(all_greys(2000), binarize="fixed"), "train", 500)
    assert set(array.unique().tolist()) == {0.0, 1.0}
    p = torch.from_numpy(GREYS[0]) / 255
    assert ((array.mean(0) - p).abs() <= 5 * (p * (1 - p) / len(array)).sqrt()).all()


def test_fixed_binarisation_is_the_same_in_every_epoch_and_in_scoring() -> None:
    data = Given(pictures(), binarize="fixed", batch_size=50)
    known = set(rows(scored(data, "train").numpy()))
    shown = training(data, 5)  # an epoch a minibatch
    assert all(set(rows(epoch)) == known for epoch in shown.numpy())


@pytest.mark.parametrize("binarize", ["dynamic", "fixed"])
def test_black_and_white_pixels_are_never_flipped(binarize: str) -> None:
    black_and_white = np.where(np.random.default_rng(0).random((500, 1, 16, 16)) < 0.5, 0, 255).astype(np.uint8)
    arrays: dict[Split, NDArray[np.uint8]] = dict.fromkeys(SPLITS, black_and_white)
    data = Given(arrays, binarize=binarize, batch_size=500)
    expected = torch.from_numpy(black_and_white) / 255
    for split in SPLITS:
        assert scored(data, split, 500).equal(expected)
    order = Sampler(500, 500, 0).indices(0, 8)
    assert training(data, 8).equal(expected[torch.from_numpy(order)])


@pytest.mark.parametrize("binarize", ["dynamic", "fixed"])
@pytest.mark.parametrize("extreme", [0.0, 1 - 2**-24])
def test_black_and_white_pixels_are_not_flipped_by_the_most_extreme_draw(
    binarize: str, extreme: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays: dict[Split, NDArray[np.uint8]] = dict.fromkeys(SPLITS, GREYS[..., [0, -1]][:, :, [0, -1]])  # 0 to 255
    draw = SimpleNamespace(random=lambda shape, dtype: np.full(shape, extreme, dtype))
    monkeypatch.setattr(np.random, "default_rng", lambda *_: draw)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, extreme))
    pixels = scored(Given(arrays, binarize=binarize), "test")[0, 0]
    assert (pixels[0, 0], pixels[1, 1]) == (0, 1)
    assert pixels[0, 1] == pixels[1, 0] == (extreme == 0)


def test_dequantised_pixels_are_uniform_within_their_own_bin() -> None:
    data = Given(all_greys(100), dequantize=True)
    for split in ("val", "test"):
        x = scored(data, split, 30)
        assert x.min() >= 0
        assert x.max() < 1
        within = x * 256 - torch.from_numpy(all_greys(100)[split])
        assert within.min() >= 0
        assert within.max() < 1
        counts = torch.histc(within, 10, 0, 1)
        assert ((counts - 2560).abs() < 5 * 2560**0.5).all()


def test_training_is_dequantised_within_the_right_bin() -> None:
    shown = training(Given(all_greys(), dequantize=True, batch_size=2), 8)
    assert (shown * 256).floor().equal(torch.from_numpy(GREYS).expand(8, 2, 1, 16, 16).float())


# what a record says


def test_a_data_sets_id_is_the_same_on_every_load() -> None:
    ids = {Given(pictures(), **options).info.id for options in ({}, {}, {"batch_size": 3}, {"block_size": 9})}
    assert len(ids) == 1
    (found,) = ids
    assert len(found) == 8
    assert int(found, 16) >= 0


def test_a_data_sets_id_changes_with_every_option_that_changes_the_data() -> None:
    options: list[dict[str, Any]] = [*OPTIONS, {"name": "other"}]
    assert len({Given(pictures(), **option).info.id for option in options}) == len(options)


@pytest.mark.parametrize("split", SPLITS)
def test_a_data_sets_id_changes_with_one_pixel_of_any_split(split: Split) -> None:
    arrays = {name: np.tile(array, (250, 1, 1, 1)) for name, array in pictures().items()}  # thousands
    changed = {name: array.copy() for name, array in arrays.items()}
    changed[split][-1, 0, 3, 3] ^= 1
    assert Given(changed).info.id != Given(arrays).info.id


def test_a_data_sets_id_changes_with_the_order_and_with_the_split() -> None:
    arrays = pictures()
    reordered: dict[Split, NDArray[np.uint8]] = {**arrays, "train": arrays["train"][::-1]}
    moved: dict[Split, NDArray[np.uint8]] = {
        "train": arrays["train"][:-1],
        "val": np.concatenate([arrays["train"][-1:], arrays["val"]]),
        "test": arrays["test"],
    }
    assert len({Given(given).info.id for given in (arrays, reordered, moved)}) == 3


def test_the_record_says_shape_and_sizes() -> None:
    info = Given(pictures(), binarize="fixed").info
    assert info.shape == (1, 4, 4)
    assert info.sizes == {"train": 50, "val": 20, "test": 30}
    assert (info.name, info.binarize, info.dequantize) == ("given", "fixed", False)


# splitting


def test_parts_of_a_split_are_disjoint_complete_and_pinned() -> None:
    parts = split_off(100, 10, 25)
    assert [len(part) for part in parts] == [10, 25, 65]
    assert sorted(np.concatenate(parts)) == list(range(100))
    for part, again in zip(parts, split_off(100, 10, 25), strict=True):
        np.testing.assert_array_equal(part, again)


@pytest.mark.parametrize("size", [0, 34, 35])
def test_a_split_that_leaves_nothing_is_refused(size: int) -> None:
    with pytest.raises(DataError, match=f"{size} examples are too few"):
        split_off(size, 10, 25)


# digits


def test_digits_are_split_into_1100_247_and_450() -> None:
    data = digits()
    assert data.info.sizes == {"train": 1100, "val": 247, "test": 450}
    assert data.info.shape == data.shape == (1, 8, 8)
    assert {split: (x.shape[1:], x.dtype) for split, x in data.splits.items()} == dict.fromkeys(
        SPLITS, ((1, 8, 8), np.dtype(np.uint8))
    )


def test_digits_splits_are_disjoint_and_together_everything() -> None:
    splits = digits().splits
    everything = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    assert sorted(itertools.chain(*map(rows, splits.values()))) == sorted(rows(everything))
    assert sum(len(set(rows(x))) for x in splits.values()) == len(set(rows(everything))) == 1797


def test_digits_labels_belong_to_their_images() -> None:
    label_of = {
        np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
        for image, label in zip(load_digits().images, load_digits().target, strict=True)
    }
    for images, labels in digits().labelled().values():
        assert [label_of[row] for row in rows(images)] == labels.tolist()


# Gaussian mixtures


def mixture(**options: Any) -> GaussianMixture:
    defaults = {"name": "ring", "means": ring(8, 1.0), "sigma": 0.01, "batch_size": 10}
    return GaussianMixture(**{**defaults, "train_size": 4000, "held_out": 500, **options})


def test_the_ring_has_8_distinct_modes_evenly_on_the_circle() -> None:
    modes = ring(8, 2.0)
    assert len(np.unique(modes.round(4), axis=0)) == 8
    np.testing.assert_allclose(np.linalg.norm(modes, axis=1), 2.0, rtol=1e-6)
    steps = np.linalg.norm(modes - np.roll(modes, 1, axis=0), axis=1)
    np.testing.assert_allclose(steps, 4 * np.sin(np.pi / 8), rtol=1e-6)


def test_the_grid_has_25_distinct_modes_around_its_centre() -> None:
    modes = grid(5, 2.0)
    assert sorted(map(tuple, modes.tolist())) == sorted(itertools.product([-4.0, -2.0, 0.0, 2.0, 4.0], repeat=2))


@pytest.mark.parametrize(("means", "sigma"), [(ring(8, 1.0), 0.01), (ring(8, 1.0), 0.5), (grid(5, 2.0), 0.05)])
def test_a_mixtures_density_is_that_of_torch_distributions(means: NDArray[np.float32], sigma: float) -> None:
    components = Independent(Normal(torch.from_numpy(means).double(), sigma), 1)
    expected = MixtureSameFamily(Categorical(torch.ones(len(means), dtype=torch.float64)), components)
    x = torch.cat([expected.sample((100,)), 3 * torch.randn(100, 2, dtype=torch.float64)])
    torch.testing.assert_close(Mixture(means, sigma).log_prob(x), expected.log_prob(x), rtol=1e-9, atol=1e-5)


def test_mixture_samples_are_the_same_on_every_load_and_no_split_repeats_another() -> None:
    first, again = mixture(), mixture()
    assert first.info == again.info
    assert {split: x.shape for split, x in first.splits.items()} == {
        "train": (4000, 2),
        "val": (500, 2),
        "test": (500, 2),
    }
    assert len(set(itertools.chain(*map(rows, first.splits.values())))) == 5000
    assert scored(first, "train").dtype == torch.float32
    np.testing.assert_array_equal(scored(first, "train").numpy(), again.splits["train"])


def test_mixture_samples_share_themselves_evenly_among_modes_of_the_right_width() -> None:
    data = mixture()
    x, means = data.splits["train"], data.mixture.means
    nearest = np.linalg.norm(x[:, None] - means, axis=2).argmin(1)
    counts = np.bincount(nearest, minlength=8)
    assert (abs(counts - 500) < 5 * 500**0.5).all()
    np.testing.assert_allclose((x - means[nearest]).std(0), 0.01, rtol=0.05)


@pytest.mark.parametrize("options", [{"binarize": "dynamic"}, {"binarize": "fixed"}, {"dequantize": True}], ids=str)
def test_points_are_neither_binarised_nor_dequantised(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="binarize and dequantize"):
        mixture(**options)


# MNIST and CIFAR-10, from files made here


def random_images(n: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8)


def idx_file(array: NDArray[np.uint8]) -> bytes:
    """LeCun's format: two zeros, 8 for unsigned bytes, the number of dimensions, each as four bytes, the data."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class Official:
    """A small official data set: its files, and what they hold. The first pixel of an image is its label."""

    def __init__(self, folder: Path, files: dict[str, bytes], shape: tuple[int, ...]) -> None:
        self.folder, self.files, self.shape = folder, files, shape
        self.make: Callable[..., DataModule]
        self.train, self.test = (labelled_images(n, shape) for n in (60, 20))

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files.items():
            (self.folder / name).write_bytes(data)


def labelled_images(n: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    images = random_images(n, *shape)
    images[:, 0, 0, 0] = np.arange(n) % 10
    return images


@pytest.fixture(params=["MNIST", "FashionMNIST", "CIFAR10"])
def official(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Official:
    """Each data set that has an official test split; its files are not written yet, but their checksums are pinned."""
    if request.param == "CIFAR10":
        made = Official(tmp_path / "cifar-10-batches-py", {}, (3, 32, 32))
        batches = {f"data_batch_{i + 1}": made.train[12 * i : 12 * (i + 1)] for i in range(5)} | {
            "test_batch": made.test
        }
        for name, x in batches.items():
            made.files[name] = pickle.dumps({"data": x.reshape(len(x), -1), "labels": x[:, 0, 0, 0].tolist()})
        pins = [[name, md5(data)] for name, data in made.files.items()]
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "train_list", pins[:5])
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "test_list", pins[5:])
        meta = pickle.dumps({"label_names": list("abcdefghij")})
        monkeypatch.setitem(torchvision.datasets.CIFAR10.meta, "md5", md5(meta))
        made.files["batches.meta"] = meta
        made.make = lambda val_size=15: CIFAR10(str(tmp_path), val_size, name="cifar10", batch_size=4)
    else:
        made = Official(tmp_path / request.param / "raw", {}, (1, 28, 28))
        for part, x in {"train": made.train, "t10k": made.test}.items():
            made.files[f"{part}-images-idx3-ubyte"] = idx_file(x[:, 0])
            made.files[f"{part}-labels-idx1-ubyte"] = idx_file(x[:, 0, 0, 0])
        monkeypatch.setitem(mnist.MD5, request.param, {name: md5(data) for name, data in made.files.items()})
        made.make = lambda val_size=15: MNIST(str(tmp_path), request.param, val_size, name="mnist", batch_size=4)
    return made


def message_of(data: DataModule) -> str:
    """Of the one-line DataError that loading ends in."""
    with pytest.raises(DataError) as caught:
        _ = data.splits
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_official_test_split_is_left_as_it_is_and_in_its_order(official: Official) -> None:
    official.write()
    data = official.make()
    assert data.shape == official.shape
    np.testing.assert_array_equal(data.splits["test"], official.test, strict=True)  # channels first


def test_validation_is_held_out_of_official_training_data_alone(official: Official) -> None:
    official.write()
    splits = official.make(val_size=15).splits
    train, val = rows(splits["train"]), rows(splits["val"])
    assert (len(train), len(val)) == (45, 15)
    assert sorted(train + val) == sorted(rows(official.train))
    assert not set(val) & set(train)
    assert not set(train + val) & set(rows(splits["test"]))


def test_official_data_is_split_alike_on_every_load_and_downloads_nothing(
    official: Official, downloads: list[str]
) -> None:
    official.write()
    assert official.make().info == official.make().info
    assert official.make(14).info.id != official.make(15).info.id
    assert downloads == []


def test_official_labels_belong_to_their_images(official: Official) -> None:
    official.write()
    labelled: Any = official.make()
    for images, labels in labelled.labelled().values():
        assert images[:, 0, 0, 0].tolist() == labels.tolist()


@pytest.mark.parametrize("val_size", [60, 61])
def test_official_training_data_cannot_all_be_held_out(official: Official, val_size: int) -> None:
    official.write()
    assert "60 examples are too few" in message_of(official.make(val_size))


def test_missing_files_that_cannot_be_fetched_are_an_error_that_says_what_to_do(
    official: Official, downloads: list[str]
) -> None:
    message = message_of(official.make())
    assert downloads
    assert str(official.folder) in message
    assert all(name in message for name in official.files if name != "batches.meta")
    assert "DATA_DIR" in message
    assert "could not be downloaded" in message


def test_one_missing_file_is_fetched_and_the_others_are_left_alone(official: Official, downloads: list[str]) -> None:
    official.write()
    first = next(iter(official.files))
    (official.folder / first).unlink()
    assert first in message_of(official.make())
    assert downloads
    found = {path.name: path.read_bytes() for path in official.folder.iterdir()}
    assert found == {name: data for name, data in official.files.items() if name != first}


def test_a_truncated_file_is_an_error_that_names_it_and_it_is_left_as_it_is(
    official: Official, downloads: list[str]
) -> None:
    official.write()
    name, whole = next(iter(official.files.items()))
    path = official.folder / name
    path.write_bytes(whole[:1000])
    message = message_of(official.make())
    assert str(path) in message
    assert md5(whole[:1000]) in message
    assert md5(whole) in message
    assert path.read_bytes() == whole[:1000]
    assert downloads == []


def test_a_truncated_file_is_found_though_another_is_missing(official: Official, downloads: list[str]) -> None:
    official.write()
    first, second = list(official.files)[:2]
    (official.folder / first).unlink()
    (official.folder / second).write_bytes(b"short")
    assert str(official.folder / second) in message_of(official.make())
    assert (official.folder / second).read_bytes() == b"short"
    assert downloads == []


@pytest.fixture
def delivers(official: Official, monkeypatch: pytest.MonkeyPatch) -> Official:
    """A download that brings the files."""
    for dataset in (torchvision.datasets.MNIST, torchvision.datasets.CIFAR10):
        monkeypatch.setattr(dataset, "download", lambda _: official.write())
    return official


def test_missing_files_are_fetched(delivers: Official) -> None:
    np.testing.assert_array_equal(delivers.make().splits["test"], delivers.test)


def test_a_download_is_checked(delivers: Official) -> None:
    name = next(iter(delivers.files))
    whole = delivers.files[name]
    delivers.files[name] = whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:]  # a pixel
    assert str(delivers.folder) in message_of(delivers.make())


# image folders


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def greys(folder: Path, values: range) -> None:
    """One image of each grey value."""
    for value in values:
        picture(folder / f"{value:03}.png", (value, value, value))


def image_folder(folder: Path | str | None, **options: Any) -> ImageFolder:
    near = Path(folder).parent if folder else Path()
    defaults = {"name": "image_folder", "batch_size": 4, "cache_dir": str(near / "cache"), "size": 8, "channels": 1}
    return ImageFolder(folder=str(folder) if folder else None, **(defaults | options))


def caches(tmp_path: Path) -> list[Path]:
    """Whatever there is, hidden and temporary files as well."""
    return sorted(path for path in (tmp_path / "cache").rglob("*")) if (tmp_path / "cache").exists() else []


def values_in(array: NDArray[Any]) -> list[int]:
    """The grey values of images of one grey value each."""
    assert (array == array[:, :1, :1, :1]).all()
    return [int(x) for x in array[:, 0, 0, 0]]


def test_a_folder_of_images_is_split_into_tenths_and_the_rest(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(30))
    data = image_folder(tmp_path / "images")
    assert data.info.sizes == {"train": 24, "val": 3, "test": 3}
    assert sorted(itertools.chain(*(values_in(array) for array in data.splits.values()))) == list(range(30))
    assert image_folder(tmp_path / "images").info == data.info


def test_images_are_one_memory_mapped_file_of_bytes(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(20))
    splits = image_folder(tmp_path / "images", channels=3).splits
    (cache,) = caches(tmp_path)
    for split, array in splits.items():
        assert isinstance(array, np.memmap), split
        assert Path(array.filename) == cache
        assert array.dtype == np.uint8
        assert array.shape[1:] == (3, 8, 8)


@pytest.mark.parametrize(("channels", "pixel"), [(1, [76]), (3, [255, 0, 0])])
def test_images_are_grey_or_in_colour_channels_first(tmp_path: Path, channels: int, pixel: list[int]) -> None:
    for i in range(3):
        picture(tmp_path / "images" / f"{i}.png", (255, 0, 0))
    train = image_folder(tmp_path / "images", channels=channels).splits["train"]
    assert train.shape == (1, channels, 8, 8)
    assert train[0].reshape(channels, -1).T.tolist() == [pixel] * 64


@pytest.mark.parametrize("wide", [True, False])
def test_an_image_that_is_not_square_is_cropped_to_its_centre(tmp_path: Path, wide: bool) -> None:
    image = Image.new("L", (60, 20))
    image.paste(255, (20, 0, 40, 20))
    (tmp_path / "images").mkdir()
    for i in range(3):
        (image if wide else image.rotate(90, expand=True)).save(tmp_path / "images" / f"{i}.png")
    for array in image_folder(tmp_path / "images").splits.values():
        assert (array >= 235).all()  # the filter looks a little beyond the square


def test_an_image_is_turned_as_its_camera_was(tmp_path: Path) -> None:
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 0, 8, 4))
    turned = Image.Exif()
    turned[0x0112] = 3  # by 180 degrees
    (tmp_path / "images").mkdir()
    for i in range(3):
        image.save(tmp_path / "images" / f"{i}.png", exif=turned)
    pixels = image_folder(tmp_path / "images").splits["train"][0, 0]
    assert (pixels[:4] == 0).all()
    assert (pixels[4:] == 255).all()


def test_an_image_is_made_smaller_with_antialiasing(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    (tmp_path / "images").mkdir()
    for i in range(3):
        Image.fromarray(stripes).save(tmp_path / "images" / f"{i}.png")
    pixels = image_folder(tmp_path / "images").splits["train"].astype(int)
    assert abs(pixels[..., 1:-1] - 127).max() < 10


def test_images_lie_in_sub_folders_or_not_among_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for i, place in enumerate(["a.png", "b/c.PNG", "b/d/e.bmp", "f.ppm"]):
        picture(folder / place, (i, i, i))
    (folder / "notes.txt").write_text("no image")
    splits = image_folder(folder).splits
    assert sorted(itertools.chain(*(values_in(array) for array in splits.values()))) == [0, 1, 2, 3]


def test_train_and_test_folders_are_the_splits(tmp_path: Path) -> None:
    greys(tmp_path / "images" / "train", range(20))
    greys(tmp_path / "images" / "test", range(200, 205))
    splits = image_folder(tmp_path / "images").splits
    assert sorted(values_in(splits["test"])) == list(range(200, 205))
    assert (len(splits["train"]), len(splits["val"])) == (18, 2)
    assert sorted(values_in(splits["train"]) + values_in(splits["val"])) == list(range(20))


def test_resized_images_are_written_once(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    first = image_folder(tmp_path / "images").info
    (cache,) = caches(tmp_path)
    before = cache.stat()
    assert image_folder(tmp_path / "images").info == first
    assert caches(tmp_path) == [cache]
    assert (cache.stat().st_mtime_ns, cache.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_another_size_or_number_of_channels_has_its_own_cache(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    for size, channels in [(8, 1), (8, 3), (16, 1)]:
        assert image_folder(tmp_path / "images", size=size, channels=channels).splits["val"].shape == (
            1,
            channels,
            size,
            size,
        )
    assert len(caches(tmp_path)) == 3


def test_a_changed_image_is_read_anew(tmp_path: Path) -> None:
    for value in range(10):
        picture(tmp_path / "images" / f"{value}.bmp", (value, value, value))
    before = image_folder(tmp_path / "images")
    assert sorted(itertools.chain(*map(values_in, before.splits.values()))) == list(range(10))
    path = tmp_path / "images" / "0.bmp"
    size, time = path.stat().st_size, path.stat().st_mtime_ns
    picture(path, (99, 99, 99))
    os.utime(path, ns=(time, time + 1_000_000))
    assert path.stat().st_size == size
    after = image_folder(tmp_path / "images")
    assert sorted(itertools.chain(*map(values_in, after.splits.values()))) == [*range(1, 10), 99]
    assert after.info.id != before.info.id
    assert len(caches(tmp_path)) == 2


def test_an_added_image_is_read(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    assert sum(image_folder(tmp_path / "images").info.sizes.values()) == 10
    greys(tmp_path / "images", range(11))
    assert sum(image_folder(tmp_path / "images").info.sizes.values()) == 11


@pytest.mark.parametrize("kept", [0, 40, -30])
def test_an_unreadable_image_is_named_and_leaves_no_cache(tmp_path: Path, kept: int) -> None:
    greys(tmp_path / "images", range(10))
    image = Image.fromarray(random_images(1, 32, 32, 3)[0])
    broken = tmp_path / "images" / "broken.png"
    image.save(broken)
    broken.write_bytes(broken.read_bytes()[:kept])
    message = message_of(image_folder(tmp_path / "images"))
    assert str(broken) in message
    assert caches(tmp_path) == []
    image.save(broken)
    assert sum(image_folder(tmp_path / "images").info.sizes.values()) == 11


def test_a_failure_while_resizing_leaves_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    greys(tmp_path / "images", range(10))

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("datamodules.image_folder._read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _ = image_folder(tmp_path / "images").splits
    assert (tmp_path / "cache").is_dir()
    assert caches(tmp_path) == []


def test_a_folder_without_images_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "notes.txt").write_text("no image")
    message = message_of(image_folder(folder))
    assert str(folder) in message
    assert ".png" in message


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_folder_that_is_none_is_an_error_that_names_it(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "images").write_text("a file")
    message = message_of(image_folder(tmp_path / "images"))
    assert str(tmp_path / "images") in message
    assert "datamodule.folder" in message


@pytest.mark.parametrize(
    ("options", "named"),
    [({"folder": None}, "folder"), ({"folder": ""}, "folder"), ({"channels": 2}, "channels"), ({"size": 3}, "size")],
    ids=str,
)
def test_no_folder_or_a_shape_that_makes_no_sense_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=rf"datamodule\.{named}"):
        image_folder(**{"folder": "somewhere", **options})


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_to_split_are_an_error(tmp_path: Path, count: int) -> None:
    greys(tmp_path / "images", range(count))
    assert f"{count} examples are too few" in message_of(image_folder(tmp_path / "images"))


def test_too_few_training_images_to_hold_any_out_are_an_error(tmp_path: Path) -> None:
    greys(tmp_path / "images" / "train", range(1))
    greys(tmp_path / "images" / "test", range(5))
    assert "1 examples are too few" in message_of(image_folder(tmp_path / "images"))


# the rows that calibrate a table


def test_real_rows_are_distinct_training_examples_as_they_are_scored() -> None:
    subject = RealTrain(digits())
    drawn = [subject.sample(n, torch.Generator()) for n in (300, 500, 300)]
    assert [len(x) for x in drawn] == [300, 500, 300]
    shown = torch.cat(drawn)
    torch.testing.assert_close(shown, scored(digits(), "train"), rtol=0, atol=0)
    assert len(set(rows(shown.numpy()))) == 1100


@pytest.mark.parametrize("before", [0, 600])
def test_more_real_rows_than_there_are_training_examples_are_refused(before: int) -> None:
    subject = RealTrain(digits())
    assert len(subject.sample(before, torch.Generator())) == before
    with pytest.raises(ValueError, match=f"^{1100 - before} training examples are left"):
        subject.sample(1101 - before, torch.Generator())
    assert len(subject.sample(1100 - before, torch.Generator())) == 1100 - before


@pytest.mark.parametrize("data", [digits(), digits(dequantize=True), mixture()], ids=["grey", "dequantized", "points"])
def test_noise_fills_the_datas_range_and_does_not_leave_it(data: DataModule) -> None:
    x = UniformNoise(data).sample(2000, torch.Generator().manual_seed(0))
    low, high = float(scored(data, "val").min()), float(scored(data, "val").max())
    assert x.shape == (2000, *data.shape)
    assert low <= x.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < x.max() <= high
    assert abs(x.mean() - (low + high) / 2) < 0.05 * (high - low)


def test_noise_is_the_generators() -> None:
    subject = UniformNoise(digits())
    first, again, other = (subject.sample(10, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize(("data", "noise"), [(digits(), "pixel noise"), (mixture(), "uniform noise")])
def test_calibration_rows_are_named_for_what_they_are(data: DataModule, noise: str) -> None:
    subjects = {name: make() for name, make in calibration_subjects(data).items()}
    assert isinstance(subjects["real train"], RealTrain)
    assert isinstance(subjects["fitted Gaussian"], FittedGaussian)
    assert isinstance(subjects[noise], UniformNoise)
    assert len(subjects) == 3


# ------------------------------------------------------------------------------------ what once went wrong


def test_dequantised_white_stays_within_its_bin() -> None:
    """float32 rounds 255 + (1 - 2^-24) up to 256, about once in 150,000 white pixels."""
    white = {split: np.full((400, 1, 64, 64), 255, np.uint8) for split in SPLITS}
    x = scored(Given(white, dequantize=True), "test", 400)
    assert x.max() < 1
    assert x.min() >= 255 / 256


def test_an_unchecked_processed_folder_is_not_read(tmp_path: Path, official: Official) -> None:
    official.write()
    processed = official.folder.parent / "processed"
    processed.mkdir(exist_ok=True)
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(20, 28, 28, dtype=torch.uint8), torch.zeros(20, dtype=torch.long)), processed / name)
    assert np.array_equal(official.make().splits["test"], official.test)


def test_folders_of_the_same_name_have_their_own_caches(tmp_path: Path) -> None:
    seen = []
    for home, grey in (("a", 10), ("b", 200)):
        folder = tmp_path / home / "pics"
        for i in range(10):
            picture(folder / f"{i}.bmp", (grey, grey, grey))
            os.utime(folder / f"{i}.bmp", (0, 0))
        data = image_folder(folder, cache_dir=str(tmp_path / "cache"))
        seen.append(set(values_in(data.splits["train"])))
    assert seen == [{10}, {200}]


def test_grey_values_of_16_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for i in range(10):
        Image.fromarray(np.full((8, 8), 300 * 100, np.uint16)).save(tmp_path / "images" / f"{i}.png")
    assert set(values_in(image_folder(tmp_path / "images").splits["train"])) == {30_000 >> 8}


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    broken = tmp_path / "images" / "broken.ppm"
    broken.write_bytes(b"P6\n24\x9d255\n255\n")
    assert str(broken) in message_of(image_folder(tmp_path / "images"))


def test_a_cache_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    greys(tmp_path / "images", range(10))
    before = np.array(image_folder(tmp_path / "images").splits["train"])
    (cache,) = caches(tmp_path)
    cache.write_bytes(cache.read_bytes()[:-100])
    assert np.array_equal(image_folder(tmp_path / "images").splits["train"], before)
    assert len(caches(tmp_path)) == 1


def test_a_known_density_is_as_exact_in_float32_as_its_input() -> None:
    known = Mixture(grid(5, 2.0), 0.05)
    x = torch.from_numpy(known.sample(200, np.random.default_rng(int(torch.randint(1 << 30, ())))))
    difference = known.log_prob(x).double() - known.log_prob(x.double())
    assert difference.abs().max() < 2e-4


# -------------------------------------------------------------------------------------- a class that is left out


def test_a_left_out_class_is_in_no_split_and_can_be_asked_for() -> None:
    data, whole = digits(leave_out=7), digits().labelled()
    for split, (images, labels) in whole.items():
        assert np.array_equal(data.splits[split], images[labels != 7])
        odd = torch.cat(list(data.left_out(split, 10)))
        assert np.array_equal(np.rint(odd.numpy() * 255).astype(np.uint8), images[labels == 7])
    assert len(next(data.left_out("test", 4, limit=3))) == 3


def test_leaving_a_class_out_is_another_data_set_and_leaving_none_out_is_not() -> None:
    assert digits(leave_out=7).info.id not in {digits().info.id, digits(leave_out=8).info.id}
    assert digits(leave_out=None).info.id == digits().info.id
    assert digits(leave_out=7).info.leave_out == 7


@pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
def test_the_left_out_class_is_binarised_like_the_others(binarize: str) -> None:
    odd = torch.cat(list(digits(leave_out=7, binarize=binarize).left_out("test", 10)))
    assert set(odd.unique().tolist()) == {0.0, 1.0}


def test_a_class_that_is_not_there_is_named() -> None:
    assert message_of(digits(leave_out=10)) == "datamodule.leave_out is 10; digits has the classes 0 to 9"


# ------------------------------------------------------------------------------------------------- stacked MNIST


@pytest.fixture
def stacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackedMNIST:
    """Of 40 digits whose every pixel is ten times their class, the test split's one brighter."""
    train, test = ((np.arange(n) % 10) for n in (40, 20))

    def filled(labels: NDArray[Any], more: int) -> NDArray[np.uint8]:
        return np.broadcast_to((10 * labels + more).astype(np.uint8)[:, None, None, None], (len(labels), 1, 28, 28))

    parts = {"train": (filled(train, 0), train), "val": (filled(train, 0), train), "test": (filled(test, 1), test)}
    monkeypatch.setattr(MNIST, "labelled", lambda self: parts)
    return StackedMNIST(str(tmp_path), 500, 60, name="stacked_mnist", batch_size=4)


def test_a_stack_is_three_digits_of_its_own_split(stacked: StackedMNIST) -> None:
    assert {split: array.shape for split, array in stacked.splits.items()} == {
        "train": (500, 3, 28, 28),
        "val": (60, 3, 28, 28),
        "test": (60, 3, 28, 28),
    }
    for split, brighter in {"train": 0, "test": 1}.items():
        values = stacked.splits[split][:, :, 0, 0]
        assert set(np.unique(values % 10)) == {brighter}
        assert (stacked.splits[split] == values[:, :, None, None]).all()
    digits_seen = stacked.splits["train"][:, :, 0, 0] // 10
    assert all(len(np.unique(digits_seen[:, channel])) == 10 for channel in range(3))
    assert len(np.unique(digits_seen, axis=0)) > 300  # of 1,000: channels are drawn apart
    assert np.array_equal(stacked.load()["train"], stacked.splits["train"])


def test_the_thousand_numbers_have_the_digits_probabilities(stacked: StackedMNIST) -> None:
    assert stacked.stack_probabilities == pytest.approx(np.full(1000, 1e-3))
    images, labels = stacked._labelled["train"]
    stacked.__dict__["_labelled"] = {"train": (images, np.where(labels == 3, 4, labels))}
    probabilities = stacked.stack_probabilities.reshape(10, 10, 10)
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[3].sum() == 0
    assert probabilities[4, 0, 4] == pytest.approx(0.2 * 0.1 * 0.2)
