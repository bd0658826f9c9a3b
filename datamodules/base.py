"""The base of every data set: splits, identity, and examples as models see them."""

import copy
import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor

from datamodules.contracts import Split as Split
from datamodules.errors import DataError
from datamodules.loader import ENDLESS, Blocks, Plan, Sampler, Store

Binarize = Literal["none", "dynamic", "fixed"]

# pinned seeds, equal for every model and every run
SPLIT_SEED = 0
NOISE_SEED = {"train": 1, "val": 2, "test": 3}


@dataclass(frozen=True)
class DataInfo:
    """The facts about the data in a record."""

    name: str
    shape: tuple[int, ...]
    sizes: dict[str, int]
    binarize: Binarize
    dequantize: bool
    checksum: str
    leave_out: int | None = None

    @property
    def id(self) -> str:
        """Eight hexadecimal digits of all facts. Scores on data of different ids are not comparable."""
        text = json.dumps({key: value for key, value in asdict(self).items() if value is not None}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


class DataModule(LightningDataModule):
    """Base of every data set. A data set adds `load`.

    Args:
        name: the name of the data in records and tables.
        shape: (C, H, W) of images or (D,) of points.
        batch_size: examples per minibatch, on each device.
        block_size: minibatches per block, K.
        binarize: "dynamic" draws each pixel as a Bernoulli of its grey value, anew for each training step (scoring uses
            one pinned draw); "fixed" draws once, with a pinned seed; "none" keeps grey values.
        dequantize: whether to add U(0, 1) to each of the 256 grey values before scaling to [0, 1) (Theis et al. 2016).

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
        self._plan = Plan(block_size)
        # by device, one at most; shared with twins
        self._stores: dict[torch.device, Store] = {}

    @abstractmethod
    def load(self) -> Mapping[Split, NDArray[Any]]:
        """The three splits: uint8 (N, C, H, W), in memory or memory-mapped, or float32 points (N, D).

        Raises:
            DataError: for data that are missing or damaged.
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
        """The first `limit` examples of a split, as a model is scored on them, in order, (B, ...) on the CPU.

        The noise of binarisation and dequantisation is pinned: every model is scored on the same examples.
        """
        yield from self._scored(self.splits[split], split, batch_size, limit)

    def _scored(self, array: NDArray[Any], split: Split, batch_size: int, limit: int | None) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(NOISE_SEED[split])
        end = len(array) if limit is None else min(limit, len(array))
        for start in range(0, end, batch_size):
            x = torch.from_numpy(np.array(array[start : min(start + batch_size, end)]))
            yield self._to_float(x, generator)

    def plan(self, seed: int, minibatches: int | None) -> None:
        """Sets the order of the examples and the number of minibatches (None: until training stops)."""
        self._plan.seed, self._plan.minibatches = seed, ENDLESS if minibatches is None else minibatches

    def train_dataloader(self) -> Blocks:
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return self.blocks(device, rank, world_size)

    def blocks(self, device: torch.device, rank: int = 0, world_size: int = 1) -> Blocks:
        """The training loader on a device, from the position of the plan on."""
        array = self.splits["train"]
        if device not in self._stores:
            self._stores.clear()
            self._stores[device] = Store(array, device)
        sampler = Sampler(len(array), self.batch_size, self._plan.seed, rank, world_size)
        return Blocks(self._plan, self._stores[device], sampler, self._to_float)

    def twin(self) -> Self:
        """The same data, in memory once, with a plan of its own."""
        self.info  # noqa: B018 - a twin shares what is loaded and hashed
        other = copy.copy(self)
        other._plan = Plan(self.block_size)
        return other

    def state_dict(self) -> dict[str, Any]:
        return {"position": self._plan.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._plan.position = state_dict["position"]

    def _binarized(self, array: NDArray[Any], split: Split) -> NDArray[Any]:
        return _binarize_once(array, NOISE_SEED[split]) if self.binarize == "fixed" else array

    def _to_float(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """From uint8 to float in [0, 1], with the noise of binarisation or dequantisation; points stay as they are."""
        if x.dtype != torch.uint8:
            return x
        if self.dequantize:
            # just under 1, because float32 would round 255 + u up to 256
            noise = torch.rand(x.shape, generator=generator, device=x.device) * (1 - 2**-16)
            return (x + noise) / 256
        if self.binarize == "dynamic":
            return (torch.rand(x.shape, generator=generator, device=x.device) * 255 < x).float()
        return x.float() / 255


def split_off(size: int, *parts: int) -> list[NDArray[np.int64]]:
    """Cuts a pinned permutation of range(size) into parts of the given sizes and the rest.

    Raises:
        DataError: if the rest would be empty.
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
