"""The training loader: the store, the order of examples, blocks, and resuming at any block."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.loader import ENDLESS, Blocks, Sampler, Store
from tests.datamodules.fakes import (
    CPU,
    NOISY,
    OPTIONS,
    Given,
    all_greys,
    blocks,
    loaded_by,
    pictures,
    rows,
    training,
)


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
        shown.append(torch.cat(list(Blocks(data._plan, store, Sampler(1, 2, 0, rank, 2), data._to_float))))
    assert not shown[0].equal(shown[1])
