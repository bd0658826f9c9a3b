"""Several models of one configuration as one: their weights are stacked, and each player's loss is mapped over the stack.

A small network keeps a processor busy with starting operations. A stack of S models starts an operation once for all of them
(`torch.func`), and the operations of a turn, its gradients among them, are recorded once and then repeated: neither autograd nor
vmap works at each turn. Each model has its own weights, optimiser state, running statistics, minibatches and random numbers: it
becomes what it would be alone, to rounding.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from models.draws import CannotStack as CannotStack
from models.draws import Draw, Generators, Listen
from models.game import GenerativeModel, Player, own_hooks
from models.mapped_loss import mapped_loss
from models.optimizer_states import ELEMENTWISE, part_of
from models.recordable import (
    CannotRecord,
    Weights,
    are_close,
    kept,
    leaving_nothing,
    quiet,
    random_kept,
    random_numbers_of,
    reading_no_counts,
    reason,
)
from models.recorded import AVERAGE, Gradients, record, repeat

_WHOLE = ("32-true", "64-true")


class Stack(LightningModule):
    """Plays the game of several models of one configuration at once.

    Afterwards each model is what it would be alone after as many minibatches: its weights and counts are its own.

    Args:
        models: two or more, of one configuration, on one device.

    Raises:
        CannotStack: in `configure_optimizers`, for an optimiser that does not treat each number by itself, mixed precision,
            and hooks of the models' own; in the first turns, for a loss that cannot be mapped over weights, and a projection
            that does more than to change weights in place.
    """

    def __init__(self, models: Sequence[GenerativeModel]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.models, self.lanes = nn.ModuleList(models), tuple(models)
        # of each model, by kind of device; training sets them
        self.generators: Sequence[Generators] = []
        self._sums: dict[str, Tensor] = {}
        # the terms that a turn adds to each sum
        self._counts = Counter[str]()
        self._draws: dict[int, Sequence[Draw]] = {}
        # the model whose checkpoint is written
        self.lane_saved = 0

    def __len__(self) -> int:
        return len(self.models)

    def configure_model(self) -> None:
        for model in self.lanes:
            model.configure_model()

    def configure_optimizers(self) -> list[Optimizer]:
        template = self.lanes[0]
        if hooks := own_hooks(template):
            raise CannotStack(f"the model has its own {', '.join(hooks)}, which a stack does not call")
        self._stack_weights()
        self._players = [model.players() for model in self.lanes]
        self._own = [self._stacked(player, template) for player in self._players[0]]
        self._gradients: dict[int, Gradients] = {}
        optimizers = [
            player.optimizer(cast(list[nn.Parameter], list(own.values())))
            for player, own in zip(self._players[0], self._own, strict=True)
        ]
        for optimizer in optimizers:
            if type(optimizer).__module__.partition(".")[0] != "torch" or type(optimizer).__name__ not in ELEMENTWISE:
                raise CannotStack(f"{type(optimizer).__name__} is not known to treat each weight by itself")
        # torch 2.11 casts the parts of a mapped layer, not the layer: a bias makes its output float32. And GradScaler (float16)
        # leaves out the step of every model if the gradient of one is not finite
        if self.trainer.precision not in _WHOLE:
            raise CannotStack(f"trainer.precision is {self.trainer.precision}, which casts otherwise in a mapped loss")
        return optimizers

    def _stack_weights(self) -> None:
        """Stacks weights and buffers, (S, ...); those of each model become views."""
        self._stacked_weights: Weights = {}
        self._stacked_buffers: Weights = {}
        for into, name_all in (
            (self._stacked_weights, nn.Module.named_parameters),
            (self._stacked_buffers, nn.Module.named_buffers),
        ):
            named = [{k: v for k, v in name_all(model) if not k.startswith(AVERAGE)} for model in self.lanes]
            for name, first in named[0].items():
                stacked = torch.stack([own[name].detach() for own in named])
                for lane, own in enumerate(named):
                    own[name].data = stacked[lane]
                into[name] = stacked.requires_grad_(first.requires_grad)

    def _stacked(self, player: Player, model: GenerativeModel) -> Weights:
        """The stacked weights that a player trains, in the order of the player's modules."""
        names = {id(weight): name for name, weight in model.named_parameters()}
        trained = [names[id(w)] for w in player.modules.parameters() if w.requires_grad]
        return {name: self._stacked_weights[name] for name in trained}

    def on_train_start(self) -> None:
        for name in self.lanes[0]._loss_sums:  # of a resumed run
            self._share_sums(name, torch.stack([model._loss_sums[name].to(self.device) for model in self.lanes]))
        self.lanes[0].turns.start(self.device, self.trainer.optimizers, self.trainer.world_size)

    def on_train_end(self) -> None:
        self.lanes[0].turns.end()

    def training_step(self, block: Tensor, batch_idx: int) -> None:
        """Plays the K minibatches of the models' block, (K, S, B, ...), in one call by Lightning."""
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        if not self._draws:
            self._try(block[0])
        template = self.lanes[0]
        for x in block:
            players = self._players[0]
            plays = [player.plays(template.minibatches + 1, template.spent) for player in players]
            for model in self.lanes:
                model.minibatches += 1
                model.images += x.shape[1]
            for place, is_due in enumerate(plays):
                if is_due:
                    self._play(place, optimizers[place], x)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Makes the checkpoint that of one model, as the model alone would write it."""
        model = self.lanes[self.lane_saved]
        # a view would be saved with everything that it is a view of
        checkpoint["state_dict"] = {name: value.detach().clone() for name, value in model.state_dict().items()}
        checkpoint["optimizer_states"] = [part_of(state, self.lane_saved) for state in checkpoint["optimizer_states"]]
        model.on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for model, own in zip(self.lanes, checkpoint["lanes"], strict=True):
            model.on_load_checkpoint(own)

    def _try(self, x: Tensor) -> None:
        """Learns what each loss draws, and compares the losses of the stack with that of each model. Trains nothing.

        Raises:
            CannotStack: if a loss cannot be mapped, or is not what it is alone.
        """
        with random_kept(x.device), kept(self._stacked_buffers) as restore:
            for place, player in enumerate(self._players[0]):
                losses, listeners = [], [Listen() for _ in self.lanes]
                for model, players, own, listener in zip(self.lanes, self._players, x, listeners, strict=True):
                    with _told(player.name), quiet(model), reading_no_counts(model), listener, leaving_nothing(model):
                        losses.append(players[place].loss(own).detach())
                restore()
                with _told(player.name):
                    of_models = (listener.values for listener in listeners)
                    drawn = [torch.stack(values) for values in zip(*of_models, strict=True)]
                    self._record(place, x, drawn)
                    restore()
                    values = self._losses_and_gradients(place, x, drawn)[0]
                restore()
                self._compare(player.name, values, torch.stack(losses))
                with _told(player.name):
                    self._project(place, x.device)
                self._draws[place] = listeners[0].draws

    def _record(self, place: int, x: Tensor, drawn: Sequence[Tensor]) -> None:
        """Records the operations of a player's losses and of their gradients."""
        own, others = self._split(place)
        recorded = record(mapped_loss(self.lanes[0], place), own, others, self._stacked_buffers, x, drawn)
        self._gradients[place] = self.lanes[0].turns.compiled(recorded)

    def _split(self, place: int) -> tuple[Weights, Weights]:
        """The weights that a player trains, and all other weights, without gradients."""
        own = {name: weight.detach() for name, weight in self._own[place].items()}
        return own, {name: w.detach() for name, w in self._stacked_weights.items() if name not in own}

    def _losses_and_gradients(
        self, place: int, x: Tensor, drawn: Sequence[Tensor]
    ) -> tuple[Tensor, Weights, Sequence[Tensor | None]]:
        return repeat(self._gradients[place], *self._split(place), self._stacked_buffers, x, drawn)

    def _project(self, place: int, device: torch.device) -> None:
        """Projects each model's weights once, and puts the weights back.

        Raises:
            CannotRecord: for a projection that gives weights other memory than that of the stack, leaves something for later, or
                draws random numbers.
        """
        with kept(self._stacked_weights | self._stacked_buffers):
            for model, players in zip(self.lanes, self._players, strict=True):
                if (project := players[place].project) is None:
                    continue
                numbers, memory = random_numbers_of(device), _memory_of(model)
                with leaving_nothing(model, "its projection"):
                    project()
                if _memory_of(model) != memory:
                    raise CannotRecord("its projection assigns tensors in place of changing them")
                if not torch.equal(random_numbers_of(device), numbers):
                    raise CannotRecord("its projection draws random numbers")

    def _compare(self, player: str, losses: Tensor, alone: Tensor) -> None:
        if not are_close(losses, alone):
            raise CannotStack(f"the {player}'s losses are {losses.tolist()} in a stack and {alone.tolist()} alone")

    def _play(self, place: int, optimizer: LightningOptimizer, x: Tensor) -> None:
        players = [of_model[place] for of_model in self._players]
        drawn = [draw.for_each(self.generators) for draw in self._draws[place]]
        name = players[0].name

        def turn(x: Tensor, *drawn: Tensor) -> None:
            self._turn(place, players, optimizer, x, drawn)

        template = self.lanes[0]
        is_first = not template.steps[name]
        with _told(name) if is_first else nullcontext():
            template.turns.play(name, turn, (x, *drawn), optimizer.optimizer, self._counts)
        for model in self.lanes:
            model.steps[name] += 1
            model._loss_counts.update(self._counts)
        self._counts.clear()

    def _turn(
        self, place: int, players: Sequence[Player], optimizer: LightningOptimizer, x: Tensor, drawn: Sequence[Tensor]
    ) -> None:
        """As `GenerativeModel._turn`, for every model."""
        losses, noted, gradients = self._losses_and_gradients(place, x, drawn)
        for weight, gradient in zip(self._own[place].values(), gradients, strict=True):
            weight.grad = gradient
        optimizer.step()
        for player, model in zip(players, self.lanes, strict=True):
            if player.project is not None:
                player.project()
            if player.samples and model.ema is not None:
                model._average(player)
        for name, values in (*noted.items(), (players[0].name, losses)):
            self._note(name, values)

    def _note(self, name: str, values: Tensor) -> None:
        if name not in self._sums:
            self._share_sums(name, torch.zeros_like(values, dtype=torch.promote_types(values.dtype, torch.float32)))
        self._sums[name] += values
        self._counts[name] += 1

    def _share_sums(self, name: str, sums: Tensor) -> None:
        """Sums of a scalar, (S,), of which each model sees its own."""
        self._sums[name] = sums
        for lane, model in enumerate(self.lanes):
            model._loss_sums[name] = sums[lane]


def _memory_of(model: GenerativeModel) -> list[int]:
    return [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())]


@contextmanager
def _told(player: str) -> Iterator[None]:
    """Says of an error in a first turn that the models cannot be stacked."""
    try:
        yield
    except (CannotRecord, RuntimeError, NotImplementedError, AttributeError, TypeError, ValueError) as error:
        raise CannotStack(f"the {player}'s turn cannot be stacked ({reason(error)})") from error
