"""The data of several seeds that are trained together: the examples once, and each seed's own order of them."""

from collections.abc import Iterator, Sequence

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from datamodules.base import DataModule
from datamodules.loader import Blocks


class StackedBlocks:
    """Blocks (K, S, B, ...) of S loaders that are at the same position."""

    def __init__(self, loaders: Sequence[Blocks]) -> None:
        self.loaders = loaders

    def __len__(self) -> int:
        return len(self.loaders[0])

    def __iter__(self) -> Iterator[Tensor]:
        for blocks in zip(*self.loaders, strict=True):
            yield torch.stack(blocks, dim=1)


class StackedData(LightningDataModule):
    """The training data of a stack of models.

    Args:
        each: the data of each model, with its plan.
    """

    def __init__(self, each: Sequence[DataModule]) -> None:
        super().__init__()
        self.each = each

    def train_dataloader(self) -> StackedBlocks:
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        return StackedBlocks([data.blocks(device) for data in self.each])
