"""The data and the scorer of a configuration, made once for several subjects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.scoring.restore import choose_device, load_data
from benchmarks.scoring.scorer import Scorer, make_scorer
from datamodules.base import DataModule


@dataclass(frozen=True)
class Bench:
    """What subjects are scored with.

    Args:
        datamodule: the `datamodule` group, resolved.
        feature_encoder: the encoder of the data; None if the data have none.
        data: made from the group.
        scorer: the protocol on a device.
    """

    datamodule: Mapping[str, Any]
    feature_encoder: str | None
    data: DataModule
    scorer: Scorer

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Bench":
        """From the keys datamodule, feature_encoder, protocol and accelerator of a resolved configuration.

        Raises:
            DataError: for data that are missing or damaged.
            UserError: for an encoder that is missing, or a GPU on a machine without one.
        """
        device = torch.device(choose_device(config["accelerator"]))
        scorer = make_scorer(config["protocol"], config["feature_encoder"], device)
        return cls(config["datamodule"], config["feature_encoder"], load_data(config["datamodule"]), scorer)

    @property
    def examples(self) -> int:
        """The number of examples of the reference split that are read."""
        protocol = self.scorer.protocol
        size = len(self.data.splits[protocol.split])
        return size if protocol.examples is None else min(size, protocol.examples)
