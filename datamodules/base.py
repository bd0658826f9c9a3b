"""Splits, the store that training reads, and the loader of blocks.

A data set that fits in memory is one uint8 tensor on the training device; a larger one is a memory-mapped file. The
loader yields blocks of K minibatches, float in [0, 1] on the device, so that Python's and Lightning's cost a call is
paid once in K steps.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor

from datamodules.errors import DataError

Split = Literal["train", "val", "test"]
Binarize = Literal["none", "dynamic", "fixed"]

# seeds of what must be the same for every model and every run
SPLIT_SEED = 0
NOISE_SEED = {"train": 1, "val": 2, "test": 3}

# longer than any run: the length of a loader whose end is set by a clock
ENDLESS = 2**40

# a training split up to this size lives on the device
RESIDENT_BYTES = 2**31


@dataclass(frozen=True)
class DataInfo:
    """What a record says of the data."""

    name: str
    shape: tuple[int, ...]
    sizes: dict[str, int]
    binarize: Binarize
    dequantize: bool
    checksum: str
    leave_out: int | None = None

    @property
    def id(self) -> str:
        """Eight hexadecimal digits over everything above: scores on data of different ids are not comparable."""
        text = json.dumps({key: value for key, value in asdict(self).items() if value is not None}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


class DataModule(LightningDataModule):
    """Base of every data set. A data set adds `load`.

    Args:
        name: what records and tables call it.
        shape: (C, H, W) of images or (D,) of points.
        batch_size: examples a minibatch, on each device.
        block_size: minibatches a block, K.
        binarize: "dynamic" draws each pixel anew, as a Bernoulli of its grey value, whenever it is shown in training
            (scoring sees one pinned draw); "fixed" draws once, with a pinned seed; "none" leaves grey values.
        dequantize: adds U(0, 1) to each of the 256 grey values before scaling to [0, 1) (Theis et al. 2016).

    Raises:
        ValueError: for options that contradict each other or are out of range.
    """

    name: str
    leave_out: int | None = None

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        batch_size: int,
        block_size: int = 20,
        binarize: Binarize = "none",
        dequantize: bool = False,
    ) -> None:
        super().__init__()
        for key, value in {"batch_size": batch_size, "block_size": block_size}.items():
            if value < 1:
                raise ValueError(f"datamodule.{key} is {value}; expected 1 or more")
        if binarize not in ("none", "dynamic", "fixed"):
            raise ValueError(f"datamodule.binarize is {binarize!r}; expected none, dynamic or fixed")
        if dequantize and binarize != "none":
            raise ValueError("datamodule.dequantize and datamodule.binarize exclude each other: set one of them")
        self.name, self.shape = name, tuple(shape)
        self.batch_size, self.block_size = batch_size, block_size
        self.binarize, self.dequantize = binarize, dequantize
        self._seed, self._minibatches, self._position = 0, ENDLESS, 0
        self._store: Store | None = None

    @abstractmethod
    def load(self) -> Mapping[Split, NDArray[Any]]:
        """The three splits: uint8 (N, C, H, W), in memory or memory-mapped, or float32 points (N, D).

        Raises:
            DataError: where the data cannot be had.
        """

    @cached_property
    def splits(self) -> Mapping[Split, NDArray[Any]]:
        return {split: self._binarized(array, split) for split, array in self.load().items()}

    @cached_property
    def info(self) -> DataInfo:
        digest = hashlib.sha256()
        for split, array in sorted(self.splits.items()):
            digest.update(f"{split}{array.shape}{array.dtype}".encode())
            for start in range(0, len(array), 4096):
                digest.update(np.ascontiguousarray(array[start : start + 4096]).data)
        sizes: dict[str, int] = {split: len(array) for split, array in self.splits.items()}
        checksum = digest.hexdigest()[:16]
        return DataInfo(self.name, self.shape, sizes, self.binarize, self.dequantize, checksum, self.leave_out)

    @property
    def is_binary(self) -> bool:
        return self.binarize != "none"

    def batches(self, split: Split, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        """The split's first `limit` examples as a model is to be scored on them, in order, (B, ...) on the CPU.

        Binarisation and dequantisation noise is pinned: every model sees the same.
        """
        yield from self._scored(self.splits[split], split, batch_size, limit)

    def _scored(self, array: NDArray[Any], split: Split, batch_size: int, limit: int | None) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(NOISE_SEED[split])
        end = len(array) if limit is None else min(limit, len(array))
        for start in range(0, end, batch_size):
            x = torch.from_numpy(np.array(array[start : min(start + batch_size, end)]))
            yield self._to_float(x, generator)

    def plan(self, seed: int, minibatches: int | None) -> None:
        """Sets the order of the examples and how many minibatches training asks for (None: until it is stopped)."""
        self._seed, self._minibatches = seed, ENDLESS if minibatches is None else minibatches

    def train_dataloader(self) -> "Blocks":
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        array = self.splits["train"]
        if self._store is None or self._store.device != device:
            self._store = Store(array, device)
        sampler = Sampler(len(array), self.batch_size, self._seed, rank, world_size)
        return Blocks(self, self._store, sampler)

    def state_dict(self) -> dict[str, Any]:
        return {"position": self._position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._position = state_dict["position"]

    def _binarized(self, array: NDArray[Any], split: Split) -> NDArray[Any]:
        return _binarize_once(array, NOISE_SEED[split]) if self.binarize == "fixed" else array

    def _to_float(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 to float in [0, 1], with the noise that was asked for; points as they are."""
        if x.dtype != torch.uint8:
            return x
        if self.dequantize:
            # just under 1, so that float32 does not round 255 + u up to 256
            noise = torch.rand(x.shape, generator=generator, device=x.device) * (1 - 2**-16)
            return (x + noise) / 256
        if self.binarize == "dynamic":
            return (torch.rand(x.shape, generator=generator, device=x.device) * 255 < x).float()
        return x.float() / 255


class Store:
    """Examples by index, on the device: an array that fits is moved there whole, a larger one as it is asked for."""

    def __init__(self, array: NDArray[Any], device: torch.device, resident_bytes: int = RESIDENT_BYTES) -> None:
        self.device = device
        self.is_resident = array.nbytes <= resident_bytes
        self._array = array
        self._tensor = torch.from_numpy(np.array(array)).to(device) if self.is_resident else None

    def gather(self, index: NDArray[np.int64]) -> Tensor:
        """index (K, B) -> examples (K, B, ...), of the store's dtype."""
        if self._tensor is not None:
            return self._tensor[torch.from_numpy(index).to(self.device)]
        flat = index.ravel()
        order = np.argsort(flat)  # in the file's order, so that a cold disk is read forwards
        out = np.empty((len(flat), *self._array.shape[1:]), self._array.dtype)
        out[order] = self._array[flat[order]]
        return torch.from_numpy(out.reshape(*index.shape, *out.shape[1:])).to(self.device)


class Sampler:
    """The order of the examples: one seeded permutation after another, without a seam, sharded by rank.

    Its only state is how many minibatches were taken, so it can go on from anywhere.
    """

    def __init__(self, size: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.size, self.batch_size, self.seed, self.rank, self.world_size = size, batch_size, seed, rank, world_size
        self._permutations: dict[int, NDArray[np.int64]] = {}

    def indices(self, position: int, minibatches: int) -> NDArray[np.int64]:
        """This rank's part of the `minibatches` minibatches from `position` on, (minibatches, batch_size)."""
        per_step = self.batch_size * self.world_size
        first, last = position * per_step, (position + minibatches) * per_step
        epochs = range(first // self.size, (last - 1) // self.size + 1)
        stream = np.concatenate([self._permutation(epoch) for epoch in epochs])
        offset = epochs.start * self.size
        stream = stream[first - offset : last - offset]
        return np.ascontiguousarray(stream.reshape(minibatches, self.world_size, self.batch_size)[:, self.rank])

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._permutations:
            self._permutations = {e: p for e, p in self._permutations.items() if e == epoch - 1}
            self._permutations[epoch] = np.random.default_rng([self.seed, epoch]).permutation(self.size)
        return self._permutations[epoch]


class Blocks:
    """The training loader: blocks (K, B, ...) from the data module's position to the end of its plan.

    Its length is that of the whole plan, wherever it starts: a resumed run counts on from where it was.
    """

    def __init__(self, data: DataModule, store: Store, sampler: Sampler) -> None:
        self.data, self.store, self.sampler = data, store, sampler

    def __len__(self) -> int:
        return -(-self.data._minibatches // self.data.block_size)

    def __iter__(self) -> Iterator[Tensor]:
        data = self.data
        starts = range(data._position, data._minibatches, data.block_size)
        with ThreadPoolExecutor(1) as reader:
            ahead = None
            for start in starts:
                raw = ahead.result() if ahead else self._read(start)
                # a resident store has nothing to wait for; a file is read while the device is busy
                ahead = None if self.store.is_resident else reader.submit(self._read, start + data.block_size)
                generator = torch.Generator(self.store.device)
                generator.manual_seed(_noise_seed(data._seed, start, self.sampler.rank))
                data._position = start + len(raw)
                yield data._to_float(raw, generator)

    def _read(self, start: int) -> Tensor:
        count = min(self.data.block_size, self.data._minibatches - start)
        return self.store.gather(self.sampler.indices(start, max(count, 1)))


def split_off(size: int, *parts: int) -> list[NDArray[np.int64]]:
    """A pinned permutation of range(size), cut into parts of the given sizes and the rest.

    Raises:
        DataError: where nothing would be left for the rest.
    """
    if size <= sum(parts):
        raise DataError(f"{size} examples are too few to hold out {' and '.join(map(str, parts))}")
    order = np.random.default_rng(SPLIT_SEED).permutation(size)
    return np.split(order, np.cumsum(parts))


def _binarize_once(array: NDArray[Any], seed: int) -> NDArray[Any]:
    if array.dtype != np.uint8:
        return array
    rng = np.random.default_rng(seed)
    return np.where(rng.random(array.shape, dtype=np.float32) * 255 < array, np.uint8(255), np.uint8(0))


def _noise_seed(*words: int) -> int:
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
