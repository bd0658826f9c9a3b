"""The trainer of pythae (Chadebec et al. 2022) as one more loop; `pip install pythae`, of which genbench needs nothing else."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from datamodules.base import DataModule
from models.game import GenerativeModel


def can_run(model: GenerativeModel) -> bool:
    """Whether pythae is installed, and its trainer plays the game: it has one optimiser."""
    return find_spec("pythae") is not None and len(model.players()) == 1


class Whole(nn.Module):
    """The model as pythae's trainer knows models: `forward` returns an object with the loss."""

    model_name, model_config = "genbench", None

    def __init__(self, model: GenerativeModel) -> None:
        super().__init__()
        self.model = model
        (self._player,) = model.players()

    def update(self) -> None:
        """Called after each step; models of pythae that keep something about the data do it here."""

    def forward(self, inputs: Mapping[str, Tensor], **_: Any) -> Any:
        from pythae.models.base.base_utils import ModelOutput

        return ModelOutput(loss=self._player.loss(inputs["data"]))


def pythae_speed(
    model: GenerativeModel, data: DataModule, warm: int, seconds: float, clock: Callable[[], float]
) -> float:
    """Images a second of `BaseTrainer.train_step` over as many minibatches as take `seconds`."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.getLogger("pythae.trainers.base_trainer.base_trainer").setLevel(logging.ERROR)
    array, size = torch.from_numpy(data.splits["train"]), data.batch_size
    (player,) = model.players()
    (group,) = player.optimizer(player.modules.parameters()).param_groups

    def epoch(minibatches: int) -> float:
        images = array[torch.randint(len(array), (minibatches * size,))].float() / 255
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            config = BaseTrainerConfig(
                output_dir=folder,
                per_device_train_batch_size=size,
                learning_rate=group["lr"],
                optimizer_params={"betas": group["betas"], "fused": group["fused"]},
            )
            trainer = BaseTrainer(Whole(model), BaseDataset(images, torch.zeros(len(images))), None, config)
            trainer.prepare_training()
            start = clock()
            trainer.train_step(1)
            return clock() - start

    one = epoch(warm) / warm
    minibatches = max(warm, round(seconds / max(one, 1e-6)))
    return minibatches * size / epoch(minibatches)
