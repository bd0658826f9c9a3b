"""The one training loop: a model is a game of players, each with its modules, its optimiser and its loss."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.core.hooks import DataHooks, ModelHooks
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.contracts import Composition, Prior
from models.networks.folding import folded
from models.player import OptimizerFactory as OptimizerFactory
from models.player import Player as Player
from models.recordable import CannotRecord
from models.recorded import Recorded
from models.turns import Turns as Turns

# what Lightning calls in training; a stack calls none but `configure_model`, and what a hook changes outside of weights is not
# read by a loss that was recorded
_HOOKS = {name for name in (*vars(ModelHooks), *vars(DataHooks)) if not name.startswith("_")} - {"configure_model"}
_HOOKS |= {"training_step", "configure_optimizers", "optimizer_step"}


class GenerativeModel(LightningModule, ABC):
    """A decoder from a prior to the data, and the game that trains the decoder.

    A paper adds `players`. The loop is: for each real minibatch x, each player whose turn it is plays once.

    Args:
        decoder: the map from latents (B, Z) to raw outputs (B, ...).
        prior: p(z), of the decoder's latent dimension. A prior that is a module moves with the model and is saved with it; a
            player that has the prior among its modules trains it.
        to_data: the map from raw outputs to the data's range.
        ema_decay: the decay of an exponential moving average of the sampling player's weights; None for no average. The
            averaged weights are scored, and the checkpoint has both sets.

    Raises:
        ValueError: for a decay outside (0, 1).
    """

    def __init__(
        self,
        decoder: nn.Module,
        prior: Prior,
        to_data: Callable[[Tensor], Tensor],
        ema_decay: float | None = None,
    ) -> None:
        super().__init__()
        if ema_decay is not None and not 0 < ema_decay < 1:
            raise ValueError(f"model.ema_decay is {ema_decay}; expected null or a number between 0 and 1")
        self.automatic_optimization = False
        self.decoder, self.prior, self.to_data, self.ema_decay = decoder, prior, to_data, ema_decay
        self.ema: AveragedModel | None = None
        self.minibatches = 0
        self.images = 0
        self.steps: Counter[str] = Counter()
        # the share of the budget that is spent; training sets it, because a model does not know its budget. float() is 0
        self.spent: Callable[[], float] = float
        self._loss_sums: dict[str, Tensor] = {}
        self._loss_counts: Counter[str] = Counter()
        # training sets another way; how turns run is no part of a model
        self.turns = Turns()

    @abstractmethod
    def players(self) -> Sequence[Player]:
        """The players in their order of play. Called once, when training is set up."""

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z), (B, Z) -> (B, ...), in the data's range."""
        return self.to_data(self.raw(z))

    def raw(self, z: Tensor) -> Tensor:
        """The decoder's raw output, (B, Z) -> (B, ...)."""
        raw: Tensor = self.decoder(self.decoder_input(z))
        return raw

    @property
    def decoder_evaluations(self) -> int:
        """The evaluations of a network for one decoded latent; metrics that decode thousands of times leave out many."""
        return 1

    def decoder_input(self, z: Tensor) -> Tensor:
        """What the decoder gets of latents, (B, Z) -> (B, ...): the latents, unless a paper puts something in between."""
        return z

    def folded_decode(self) -> Composition:
        """A function that equals `decode` in evaluation mode at the present weights, to rounding, at a lower cost."""
        return self._composed(folded(self.decoder))

    def composed_decode(self) -> Composition:
        """A decoder with transposed convolutions is folded: it takes two thirds of the time. Linear layers alone gain a tenth."""
        is_dear = any(isinstance(part, nn.ConvTranspose2d) for part in self.decoder.modules())
        return self._composed(folded(self.decoder) if is_dear else self.decoder)

    def _composed(self, decoder: nn.Module) -> Composition:
        takes_latents = type(self).decoder_input is GenerativeModel.decoder_input
        return Composition([*([] if takes_latents else [self.decoder_input]), decoder, self.to_data])

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """(n, ...) examples: latents from the prior, decoded."""
        return self.decode(self.prior.sample(n, generator, self.device))

    @property
    def weights_scored(self) -> str:
        """The weights that `scoring` uses, for the record."""
        return "last" if self.ema_decay is None else f"ema({self.ema_decay})"

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Evaluation mode (batch norm uses running statistics), averaged weights if there are any, no gradients.

        Mode and weights are restored afterwards.
        """
        was_training = self.training
        self.eval()
        self._swap_ema()
        try:
            with torch.no_grad():
                yield
        finally:
            self._swap_ema()
            self.train(was_training)

    def settled(self) -> "GenerativeModel":
        """The model as it is scored, for good: evaluation mode, averaged weights if there are any, every parameter frozen."""
        self._swap_ema()
        self.ema = None
        self.freeze()
        return self

    def configure_model(self) -> None:
        if self.ema_decay is not None and self.ema is None:
            self.ema = AveragedModel(self.sampling_player.modules, multi_avg_fn=get_ema_multi_avg_fn(self.ema_decay))
            self.ema.requires_grad_(False)

    def configure_optimizers(self) -> list[Optimizer]:
        self._players = tuple(self.players())
        if self.turns.is_compiled and (hooks := own_hooks(self)):
            self.turns.go_uncompiled(f"the model has its own {', '.join(hooks)}, which may change its losses")
        if self.turns.is_compiled:
            self._recorded = {p.name: Recorded(self, i, self.turns.compiled) for i, p in enumerate(self._players)}
        trainable = {p.name: [w for w in p.modules.parameters() if w.requires_grad] for p in self._players}
        self._frozen = {
            name: [w for others in trainable.values() for w in others if all(w is not mine for mine in own)]
            for name, own in trainable.items()
        }
        return [p.optimizer(trainable[p.name]) for p in self._players]

    def on_train_start(self) -> None:
        self._loss_sums = {name: total.to(self.device) for name, total in self._loss_sums.items()}
        if self.turns.is_compiled and getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            self.turns.go_uncompiled("the losses of float16 have a scale")
        self.turns.start(self.device, self.trainer.optimizers, self.trainer.world_size)

    def on_train_end(self) -> None:
        self.turns.end()

    def training_step(self, block: Tensor, batch_idx: int) -> None:
        """Plays the K minibatches of a block, (K, B, ...), in one call by Lightning."""
        optimizers = self.optimizers()
        if not isinstance(optimizers, list):
            optimizers = [optimizers]
        for x in block:
            plays = [player.plays(self.minibatches + 1, self.spent) for player in self._players]
            self.minibatches += 1
            self.images += len(x) * self.trainer.world_size
            for player, optimizer, is_due in zip(self._players, optimizers, plays, strict=True):
                if is_due:
                    self._play(player, optimizer, x)

    @property
    def updates(self) -> int:
        """Turns of the player that samples, outside of its phase too: a budget of updates does not end with a phase."""
        return self.minibatches // self.sampling_player.every

    def note(self, name: str, value: Tensor) -> None:
        """Adds a scalar to the means of `losses`: each player's loss, and what else a paper follows during training."""
        if name not in self._loss_sums:  # in float32 at least: a sum in bfloat16 stops growing at 256 terms
            self._loss_sums[name] = torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
        self._loss_sums[name] += value.detach()
        self._loss_counts[name] += 1

    def losses(self) -> dict[str, float]:
        """The mean loss of each player, and of each noted scalar, since `forget_losses`."""
        return {name: float(self._loss_sums[name]) / count for name, count in self._loss_counts.items() if count}

    def forget_losses(self) -> None:
        for total in self._loss_sums.values():
            total.zero_()  # in place: a captured turn adds to this tensor
        self._loss_counts.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["game"] = {
            "minibatches": self.minibatches,
            "images": self.images,
            "steps": dict(self.steps),
            "loss_sums": dict(self._loss_sums),
            "loss_counts": dict(self._loss_counts),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        game = checkpoint["game"]
        self.minibatches, self.images, self.steps = game["minibatches"], game["images"], Counter(game["steps"])
        self._loss_sums = dict(game["loss_sums"])
        self._loss_counts = Counter(game["loss_counts"])

    @property
    def sampling_player(self) -> Player:
        """The player that owns the decoder."""
        (player,) = [p for p in self.players() if p.samples]
        return player

    def _play(self, player: Player, optimizer: LightningOptimizer, x: Tensor) -> None:
        def turn(x: Tensor) -> None:
            self._turn(player, optimizer, x)

        self.turns.play(player.name, turn, (x,), optimizer.optimizer, self._loss_counts)
        self.steps[player.name] += 1

    def _turn(self, player: Player, optimizer: LightningOptimizer, x: Tensor) -> None:
        """A player's turn. Nothing here waits for the device."""
        loss, noted = self._compiled(player, x) or (self._differentiated(player, optimizer, x), {})
        optimizer.step()
        if player.project is not None:
            player.project()
        if player.samples and self.ema is not None:
            self._average(player)
        for name, value in (*noted.items(), (player.name, loss)):
            self.note(name, value)

    def _differentiated(self, player: Player, optimizer: LightningOptimizer, x: Tensor) -> Tensor:
        """The loss of a player, after the backward pass."""
        frozen = self._frozen[player.name]
        for weight in frozen:
            weight.requires_grad_(False)
        loss = player.loss(x)
        optimizer.zero_grad()
        # the backward pass has the types of the forward pass; autocast would round the penalty's second derivative
        with torch.autocast(x.device.type, enabled=False):
            self.manual_backward(loss)
        for weight in frozen:
            weight.requires_grad_(True)
        return loss

    def _compiled(self, player: Player, x: Tensor) -> tuple[Tensor, dict[str, Tensor]] | None:
        """The loss of a player, and what it notes, after a compiled backward pass; None if turns are not compiled."""
        if not self.turns.is_compiled:
            return None
        try:
            return self._recorded[player.name].play(x)
        except CannotRecord as error:
            self.turns.go_uncompiled(str(error))
            return None

    @torch.no_grad()
    def _average(self, player: Player) -> None:
        """`AveragedModel.update_parameters`, which reads its counter from the device at each step: a wait, and no graph can
        hold it."""
        assert self.ema is not None
        assert self.ema_decay is not None
        averages, weights = list(self.ema.module.parameters()), list(player.modules.parameters())
        if self.steps[player.name] == 0:
            for average, weight in zip(averages, weights, strict=True):
                average.copy_(weight)
        else:
            get_ema_multi_avg_fn(self.ema_decay)(averages, weights, self.steps[player.name])
        for copied, buffer in zip(self.ema.module.buffers(), player.modules.buffers(), strict=True):
            copied.copy_(buffer)
        self.ema.n_averaged += 1

    def _swap_ema(self) -> None:
        if self.ema is not None:
            modules = self.sampling_player.modules
            mine = [*modules.parameters(), *modules.buffers()]
            averages = [*self.ema.module.parameters(), *self.ema.module.buffers()]
            for a, b in zip(mine, averages, strict=True):
                a.data, b.data = b.data, a.data


def own_hooks(model: GenerativeModel) -> list[str]:
    """The hooks of Lightning's training that the class of a model has in place of those of `GenerativeModel`."""
    return sorted(
        name for name in _HOOKS if getattr(type(model), name, None) is not getattr(GenerativeModel, name, None)
    )
