"""The training loader: the store of examples, the order of examples, and blocks of minibatches.

A data set that fits in memory is one uint8 tensor on the training device; a larger one is a memory-mapped file. The loader
yields blocks of K minibatches, float in [0, 1] on the device, so that K training steps share the cost of one call of Python
and Lightning.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# the number of minibatches when a clock ends the run: more than any run takes
ENDLESS = 2**40

# a training split up to this size lives on the device
RESIDENT_BYTES = 2**31


@dataclass
class Plan:
    """What training asks of the data.

    Args:
        block_size: minibatches per block, K.
        seed: the seed of the order and of the noise.
        minibatches: the number of minibatches of training.
        position: the number of minibatches taken so far.
    """

    block_size: int
    seed: int = 0
    minibatches: int = ENDLESS
    position: int = 0


class Store:
    """Examples by index, on the device. An array that fits is moved to the device whole, a larger one batch by batch."""

    def __init__(self, array: NDArray[Any], device: torch.device, resident_bytes: int = RESIDENT_BYTES) -> None:
        self.device = device
        self.is_resident = array.nbytes <= resident_bytes
        self._array = array
        self._tensor = torch.from_numpy(np.array(array)).to(device) if self.is_resident else None

    def gather(self, index: NDArray[np.int64]) -> Tensor:
        """index (K, B) -> examples (K, B, ...), of the store's dtype."""
        if self._tensor is not None:
            places = torch.from_numpy(index)
            if self.device.type == "cuda":  # a copy from other memory would wait for the minibatches before it
                places = places.pin_memory()
            return self._tensor[places.to(self.device, non_blocking=True)]
        flat = index.ravel()
        order = np.argsort(flat)  # in the file's order, so that a cold disk is read forwards
        out = np.empty((len(flat), *self._array.shape[1:]), self._array.dtype)
        out[order] = self._array[flat[order]]
        return torch.from_numpy(out.reshape(*index.shape, *out.shape[1:])).to(self.device)


class Sampler:
    """The order of the examples: an endless stream of seeded permutations, sharded by rank.

    A position in the stream is a number of minibatches, so training can resume anywhere.
    """

    def __init__(self, size: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.size, self.batch_size, self.seed, self.rank, self.world_size = size, batch_size, seed, rank, world_size
        self._permutations: dict[int, NDArray[np.int64]] = {}

    def indices(self, position: int, minibatches: int) -> NDArray[np.int64]:
        """The indices of this rank's part of the `minibatches` minibatches from `position` on, (minibatches, batch_size)."""
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
    """The training loader: blocks (K, B, ...) from the position of a plan to its end.

    The length is that of the whole plan, wherever the loader starts, so that a resumed run continues the count.

    Args:
        plan: the order and the number of minibatches; its position advances with each block.
        store: the examples.
        sampler: the order of the examples.
        to_float: the function from stored examples to a model's input, with noise from the generator.
    """

    def __init__(
        self, plan: Plan, store: Store, sampler: Sampler, to_float: Callable[[Tensor, torch.Generator], Tensor]
    ) -> None:
        self.plan, self.store, self.sampler, self.to_float = plan, store, sampler, to_float

    def __len__(self) -> int:
        return -(-self.plan.minibatches // self.plan.block_size)

    def __iter__(self) -> Iterator[Tensor]:
        plan = self.plan
        with ThreadPoolExecutor(1) as reader:
            next_read = None
            while (start := plan.position) < plan.minibatches:
                raw = next_read.result() if next_read else self._read(start)
                # a file is read while the device is busy; a resident store needs no reading
                next_read = None if self.store.is_resident else reader.submit(self._read, start + len(raw))
                generator = torch.Generator(self.store.device)
                generator.manual_seed(noise_seed(plan.seed, start, self.sampler.rank))
                plan.position = start + len(raw)
                yield self.to_float(raw, generator)

    def _read(self, start: int) -> Tensor:
        """The block that begins at a position; a run that went on inside a block completes it first."""
        count = min(self.plan.block_size - start % self.plan.block_size, self.plan.minibatches - start)
        return self.store.gather(self.sampler.indices(start, max(count, 1)))


def noise_seed(*words: int) -> int:
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
