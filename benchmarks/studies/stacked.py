"""Several seeds of one model at once: parameters are stacked, and each player's loss is mapped over them (torch.func)."""

from collections.abc import Callable, Mapping, Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from benchmarks.scoring.restore import load_data, load_model
from benchmarks.studies.loops import bare, timed, times
from benchmarks.training.configure import RunConfig
from datamodules.base import DataModule
from models.game import GenerativeModel

# the numbers of seeds that are trained at once
SEEDS = (5, 10)


class _Loss(nn.Module):
    """A player's loss as a module, so that `functional_call` finds the parameters of the model."""

    def __init__(self, model: GenerativeModel, place: int) -> None:
        super().__init__()
        self.model, self.loss = model, model.players()[place].loss

    def forward(self, x: Tensor) -> Tensor:
        return self.loss(x)


def can_stack(model: GenerativeModel) -> bool:
    """Whether turns are losses and steps of optimisers alone: a projection, as WGAN's, works on the weights of one model."""
    return all(player.project is None for player in model.players())


def gains(config: RunConfig, seconds: float, rounds: int) -> Mapping[str, float]:
    """By number of seeds, in words: `gain`. Empty for a model whose turns cannot be stacked."""
    if not can_stack(load_model(config.parts.model)):
        return {}
    return {f"{seeds} seeds": gain(config, seeds, seconds, rounds) for seeds in SEEDS}


def gain(config: RunConfig, seeds: int, seconds: float, rounds: int) -> float:
    """How many times as fast turns of stacked seeds are as turns of one seed after another: the median over rounds.

    Args:
        config: the model, the data and the device.
        seeds: the number of seeds.
        seconds: of a measurement.
        rounds: measurements of each way, which take turns.
    """
    pl.seed_everything(0, verbose=False)
    data, device = load_data(config.parts.datamodule), torch.device(config.device)
    models = [load_model(config.parts.model).to(device) for _ in range(seeds)]
    together = stacked(models, data, device)[0]
    alone = [bare(model, data, device, "bare eager")[0] for model in models]

    def one_after_another() -> None:
        for play in alone:
            play()

    plays = {"together": together, "one after another": one_after_another}
    for play in plays.values():
        play()
    cycles: dict[str, list[float]] = {way: [] for way in plays}
    for _ in range(rounds):
        for way, play in plays.items():
            cycles[way].append(timed(play, 1, seconds))
    return times(cycles, "together", "one after another")


def stacked(
    models: Sequence[GenerativeModel], data: DataModule, device: torch.device
) -> tuple[Callable[[], None], Mapping[str, Tensor]]:
    """A function that plays one cycle of turns of all models, and the stacked weights by name, (models, ...).

    The models keep their weights: the stacked ones are copies. Each model has minibatches and random numbers of its own.
    """
    players = models[0].players()
    losses = [[_Loss(model, place) for model in models] for place in range(len(players))]
    # the names are those of any of the losses: each has the whole model
    weights, buffers = stack_module_state(losses[0])
    weights = {name: weight.detach().clone().requires_grad_() for name, weight in weights.items()}
    names = {id(weight): name for name, weight in losses[0][0].named_parameters()}
    own = [[weights[names[id(weight)]] for weight in player.modules.parameters()] for player in players]
    optimizers = [player.optimizer(mine) for player, mine in zip(players, own, strict=True)]
    mapped = [_mapped(of_models[0]) for of_models in losses]
    images, rounds = torch.from_numpy(data.splits["train"]).to(device), max(player.every for player in players)

    def play() -> None:
        for i in range(1, rounds + 1):
            drawn = torch.randint(len(images), (len(models), data.batch_size), device=device)
            x = images[drawn].to(torch.get_default_dtype()) / 255
            for player, optimizer, mine, loss in zip(players, optimizers, own, mapped, strict=True):
                if i % player.every == 0:
                    optimizer.zero_grad()
                    # the gradient of a seed's weights is that of its loss. backward lays gradients out as weights, which fused
                    # steps of optimisers take for granted
                    loss(weights, buffers, x).sum().backward(inputs=mine)
                    optimizer.step()

    return play, {name.removeprefix("model."): weight for name, weight in weights.items()}


def _mapped(module: nn.Module) -> Callable[[dict[str, Tensor], dict[str, Tensor], Tensor], Tensor]:
    def loss(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        value: Tensor = functional_call(module, (weights, buffers), (x,))
        return value

    return vmap(loss, randomness="different")
