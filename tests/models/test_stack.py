"""A stack of models: each becomes what it would be alone."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.game import GenerativeModel
from models.stack import CannotStack, Stack
from models.turns import Turns
from tests.conftest import choices
from tests.models.test_turns import Replays, made
from tests.training.fakes import trainer_in

# a bias that batch norm takes out again has a gradient of rounding alone, which Adam divides by its size unless ε is larger
ROUNDED = ("++model.optimizer.eps=1e-4",)
# batch norm over a few examples makes differences of rounding larger at each step, at times by much
SEEDS, BLOCKS, MINIBATCHES, BATCH = 3, 3, 7, 16

# families whose turns read more than weights, minibatches and random numbers, and what they read
ALONE = {
    "began": "the errors of a critic's turn, on Python's side",
    "sn_gan": "the singular vectors, which torch changes in place through `out=`",
}


class Loader:
    def __init__(self, blocks: Tensor) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.blocks)


@pytest.fixture(autouse=True)
def precise() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def alone(model: GenerativeModel, blocks: Tensor, state: Tensor, folder: Any) -> GenerativeModel:
    model = deepcopy(model)
    model.configure_model()
    torch.set_rng_state(state)
    trainer_in(folder).fit(model, Loader(blocks))
    return model


def together(
    models: list[GenerativeModel],
    blocks: Tensor,
    states: list[Tensor],
    folder: Any,
    prepare: Callable[[Stack], None] = lambda stack: None,
) -> list[GenerativeModel]:
    stack = Stack(deepcopy(models))
    prepare(stack)
    stack.generators = []
    for state in states:
        generator = torch.Generator()
        generator.set_state(state)
        stack.generators = [*stack.generators, {"cpu": generator}]
    trainer_in(folder).fit(stack, Loader(blocks.permute(1, 2, 0, 3, 4, 5, 6)))
    return list(stack.lanes)


def stackable(name: str) -> tuple[list[GenerativeModel], Tensor, list[Tensor]]:
    """Models of a family, the blocks of each, and the random state of each."""
    models = [made(name, *ROUNDED) for _ in range(SEEDS)]
    for model in models:
        for module in model.modules():
            module.to(torch.float64)
    blocks, states = torch.rand(SEEDS, BLOCKS, MINIBATCHES, BATCH, 1, 2, 2), []
    for seed in torch.randint(2**31, (SEEDS,)):
        torch.manual_seed(int(seed))
        torch.randn(3)  # half of a pair of draws waits in the state
        states.append(torch.get_rng_state())
    return models, blocks, states


@pytest.mark.parametrize("name", choices("model"))
def test_each_model_of_a_stack_becomes_what_it_is_alone(name: str, tmp_path: Any) -> None:
    models, blocks, states = stackable(name)
    if name in ALONE:
        with pytest.raises(CannotStack):
            together(models, blocks, states, tmp_path)
        return
    stacked = together(models, blocks, states, tmp_path)
    for lane, model in enumerate(models):
        expected = alone(model, blocks[lane], states[lane], tmp_path)
        assert stacked[lane].steps == expected.steps
        assert (stacked[lane].images, stacked[lane].minibatches) == (expected.images, expected.minibatches)
        assert stacked[lane].losses() == pytest.approx(expected.losses(), rel=1e-8, abs=1e-10)
        wanted = expected.state_dict()
        moved = 0.0
        for key, value in stacked[lane].state_dict().items():
            torch.testing.assert_close(value, wanted[key], rtol=1e-7, atol=1e-9, msg=lambda m, key=key: f"{key}: {m}")
            if key in dict(model.named_parameters()):
                moved += float((value - model.state_dict()[key]).abs().sum())
        assert moved > 0


def test_a_model_that_reads_what_is_no_weight_is_no_lane(tmp_path: Any) -> None:
    """A stack would read it from the first model, for every model."""
    models: list[Any] = [made("vae") for _ in range(2)]
    models[1].beta = 2 * models[0].beta
    with pytest.raises(CannotStack, match=r"the autoencoder's losses are .* in a stack and .* alone"):
        together(models, torch.rand(2, 1, 1, BATCH, 1, 2, 2), [torch.get_rng_state()] * 2, tmp_path)


def test_losses_that_torch_cannot_map_are_refused(tmp_path: Any) -> None:
    stack = Stack([made("ae") for _ in range(2)])
    with pytest.raises(CannotStack, match=r"trainer\.precision is bf16-mixed"):
        trainer_in(tmp_path, precision="bf16-mixed").fit(stack, Loader(torch.rand(1, 1, 2, BATCH, 1, 2, 2)))


@pytest.mark.parametrize("name", ["vae", "wgan_gp", "infogan"])
def test_a_captured_stack_plays_as_an_eager_one(name: str, tmp_path: Path) -> None:
    """Its random numbers are drawn outside of the graph: to the bit."""
    models, blocks, states = stackable(name)
    eager = together(models, blocks, states, tmp_path)
    recorders: list[Replays] = []

    def capture(stack: Stack) -> None:
        def tensors() -> list[Tensor]:
            kept = [value for o in stack.trainer.optimizers for state in o.state.values() for value in state.values()]
            return [*stack.parameters(), *stack.buffers(), *kept, *stack._sums.values()]

        def start(*_: Any) -> None:
            recorders.append(Replays(tensors, stack._counts))
            stack.lanes[0].turns._recorder = recorders[-1]

        stack.lanes[0].turns = Turns("graphs")
        stack.lanes[0].turns.start = start  # type: ignore[method-assign]

    captured = together(models, blocks, states, tmp_path, capture)
    assert recorders[0].records == len(models[0].players())
    for one, other in zip(captured, eager, strict=True):
        assert (one.losses(), one.steps) == (other.losses(), other.steps)
        wanted = other.state_dict()
        assert all(torch.equal(value, wanted[key]) for key, value in one.state_dict().items())


def test_a_compiled_stack_plays_as_an_eager_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the last stage of compilation, which takes seconds."""
    compile_: Callable[..., Any] = torch.compile
    monkeypatch.setattr(torch, "compile", lambda turn, **_: compile_(turn, dynamic=False, backend="aot_eager"))
    models, blocks, states = stackable("wgan_gp")

    def compiled(stack: Stack) -> None:
        for model in stack.lanes:
            model.turns = Turns("compiled")

    eager, other = together(models, blocks, states, tmp_path), together(models, blocks, states, tmp_path, compiled)
    for one, wanted in zip(other, eager, strict=True):
        for key, value in one.state_dict().items():
            torch.testing.assert_close(value, wanted.state_dict()[key], rtol=1e-7, atol=1e-9)


def test_a_loss_that_changes_with_the_training_is_refused(tmp_path: Any) -> None:
    """What is recorded once would keep its first weight of the KL."""
    models: list[Any] = [made("vae") for _ in range(2)]
    for model in models:
        del model.beta
        model.__class__ = type("Warm", (type(model),), {"beta": property(lambda own: min(1.0, own.minibatches / 10))})
    with pytest.raises(CannotStack, match="its loss reads minibatches, which changes as the training goes on"):
        together(models, torch.rand(2, 1, 1, BATCH, 1, 2, 2), [torch.get_rng_state()] * 2, tmp_path)


def _reassign(model: Any) -> None:
    for weight in model.critic.parameters():
        weight.data = weight.data.clamp(-1, 1)


def _count(model: Any) -> None:
    model.rounds = getattr(model, "rounds", 0) + 1


def _shake(model: Any) -> None:
    with torch.no_grad():
        for weight in model.critic.parameters():
            weight.add_(torch.randn_like(weight))


@pytest.mark.parametrize(
    ("name", "own", "reason"),
    [
        ("project_critic", _reassign, "its projection assigns tensors in place of changing them"),
        ("project_critic", _count, "its projection leaves rounds on the model"),
        ("project_critic", _shake, "its projection draws random numbers"),
        (
            "on_train_batch_end",
            lambda *_: None,
            "the model has its own on_train_batch_end, which a stack does not call",
        ),
    ],
)
def test_a_model_that_does_more_between_losses_is_refused(
    name: str, own: Callable[[Any], None], reason: str, tmp_path: Path
) -> None:
    """A stack would go on with weights that are no longer those of the model, or with a loss of the first turn."""
    models: list[Any] = [made("wgan") for _ in range(2)]
    for model in models:
        model.__class__ = type("Own", (type(model),), {name: own})
    with pytest.raises(CannotStack, match=reason):
        together(models, torch.rand(2, 1, 1, BATCH, 1, 2, 2), [torch.get_rng_state()] * 2, tmp_path)
