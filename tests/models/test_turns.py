"""How turns run: captured turns play as eager turns do, and what cannot be captured is told."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from models.game import GenerativeModel
from models.losses import gradient_penalty
from models.turns import MOST_CAPTURES, WARM_UPS, CudaRecorder, Turns, make_capturable
from tests.conftest import SMALL, choices, composed
from tests.models.test_game import Random, Recorder, fit
from tests.unread import UNREAD, Copied, unread_device

WIDTHS = ("model.trunk.widths=[8]", "model.decoder.widths=[8]")


class Replays:
    """A recorder on the CPU. As a graph, a record does its work without Python's part: what it counts is put back."""

    def __init__(self, tensors: Callable[[], list[Tensor]], counts: Counter[str]) -> None:
        self.tensors, self.counts, self.records = tensors, counts, 0

    def warm_up(self, work: Callable[[], None]) -> None:
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.records += 1
        before, state = [t.detach().clone() for t in self.tensors()], torch.get_rng_state()
        work()
        with torch.no_grad():
            for tensor, value in zip(self.tensors(), before, strict=True):
                tensor.copy_(value)
        torch.set_rng_state(state)
        return lambda: self._replay(work)

    def _replay(self, work: Callable[[], None]) -> None:
        counts = self.counts.copy()
        work()
        self.counts.clear()
        self.counts.update(counts)


def with_replays(model: GenerativeModel) -> Callable[[], Replays]:
    """Lets the turns of a model be recorded on the CPU; returns the recorder once training has started."""
    recorders: list[Replays] = []

    def tensors() -> list[Tensor]:
        states = [value for o in model.trainer.optimizers for state in o.state.values() for value in state.values()]
        return [*model.parameters(), *model.buffers(), *filter(torch.is_tensor, states), *model._loss_sums.values()]

    def start(*_: Any) -> None:
        recorders.append(Replays(tensors, model._loss_counts))
        model.turns._recorder = recorders[-1]

    model.turns = Turns("graphs")
    model.turns.start = start  # type: ignore[method-assign]
    return lambda: recorders[-1]


def made(name: str, *more: str) -> GenerativeModel:
    latents = 12 if name == "infogan" else 3  # its code takes twelve
    words = (*more, f"model={name}", f"latent_dim={latents}", "shape=[1,2,2]", "model.ema_decay=0.9")
    model: GenerativeModel = instantiate(composed(*words, *SMALL.get(name, WIDTHS)).model, _convert_="all")
    return model


def trained(name: str, folder: Path, seed: int, replays: bool) -> tuple[GenerativeModel, int]:
    pl.seed_everything(seed, verbose=False)
    model = made(name)
    model.configure_model()
    recorder = with_replays(model) if replays else None
    fit(model, Random(), 31, folder)
    return model, recorder().records if recorder else 0


@pytest.mark.parametrize("name", choices("model"))
def test_captured_turns_play_as_eager_turns(name: str, tmp_path: Path) -> None:
    """With fresh noise, every n-th turn, projections and averages: to the bit, and each player's turn is captured once."""
    seed = int(torch.randint(2**31, ()))
    (eager, _), (captured, records) = (trained(name, tmp_path, seed, replays) for replays in (False, True))
    assert records == len(eager.steps), "a player that has no turn is not captured"
    assert (captured.steps, captured.images, captured.losses()) == (eager.steps, eager.images, eager.losses())
    state = eager.state_dict()
    for key, value in captured.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert captured.turns.ran == "graphs"
    assert captured.turns._captured == {}


def test_what_waits_for_a_device_is_found() -> None:
    with unread_device():
        x = torch.rand(4, 3, device=UNREAD)
        assert x.mul(2).sum().device == UNREAD
        copies = (
            lambda: torch.tensor(1.0, device=UNREAD),
            lambda: x * torch.tensor(2.0),
            x.cpu,
            lambda: x[torch.ones(1).long()],
        )
        for copy in copies:
            with pytest.raises(Copied):
                copy()
        for wait in (lambda: x.sum().item(), lambda: bool((x > 0).all()), lambda: x[x > 0], x.nonzero):
            with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
                wait()


@pytest.mark.parametrize("name", choices("model"))
def test_no_turn_waits_for_the_device(name: str) -> None:
    """A turn that read a number or copied one from the CPU could not be captured."""
    model = made(name)
    # the one process of a run
    model._trainer = SimpleNamespace(strategy=SimpleNamespace(reduce=lambda x, reduce_op: x))  # type: ignore[assignment]
    model.configure_model()
    with unread_device(model):
        model._device = UNREAD
        x = torch.rand(4, 1, 2, 2, device=UNREAD)
        for player in model.players():
            loss = player.loss(x)
            assert loss.device == UNREAD
            loss.backward()
            if player.project is not None:
                player.project()
            model.note(player.name, loss)
            if player.samples:
                model._average(player)


def play(turns: Turns, times: int, lr: Callable[[int], float], recorder: Any) -> tuple[nn.Linear, Counter[str]]:
    weight, counts = nn.Linear(1, 1), Counter[str]()
    optimizer = torch.optim.SGD(weight.parameters(), lr=0.1)
    turns._recorder = recorder(lambda: list(weight.parameters()), counts)

    def turn(x: Tensor) -> None:
        optimizer.zero_grad()
        weight(x).sum().backward()
        optimizer.step()
        counts["critic"] += 1

    for i in range(times):
        optimizer.param_groups[0]["lr"] = lr(i)
        turns.play("critic", turn, (torch.ones(2, 1),), optimizer, counts)
    return weight, counts


def test_another_step_size_is_captured_again_and_one_that_always_changes_runs_eagerly() -> None:
    lines: list[str] = []
    recorders: list[Replays] = []

    def recorder(*given: Any) -> Replays:
        recorders.append(Replays(*given))
        return recorders[-1]

    turns = Turns("graphs", lines.append)
    _, counts = play(turns, 10, lambda i: 0.1 if i < 7 else 0.01, recorder)
    assert (recorders[0].records, counts["critic"], lines) == (2, 10, [])
    turns = Turns("graphs", lines.append)
    times = WARM_UPS + MOST_CAPTURES + 5
    torch.manual_seed(0)
    ours, counts = play(turns, times, lambda i: 0.1 / (i + 1), recorder)
    assert (counts["critic"], turns.ran) == (times, "eager")
    assert lines == [
        f"a setting of the critic's optimiser or its batch changed {MOST_CAPTURES} times: turns run without CUDA graphs"
    ]
    torch.manual_seed(0)
    plain, _ = play(Turns(), times, lambda i: 0.1 / (i + 1), lambda *_: None)
    assert torch.equal(ours.weight, plain.weight)


def test_a_turn_that_cannot_be_captured_runs_eagerly_and_says_so() -> None:
    class Refuses(Replays):
        def record(self, work: Callable[[], None]) -> Callable[[], None]:
            super().record(work)
            raise RuntimeError("operation not permitted\nwhen stream is capturing")

    lines: list[str] = []
    turns = Turns("graphs", lines.append)
    _, counts = play(turns, 6, lambda i: 0.1, Refuses)
    assert (counts["critic"], turns.ran) == (6, "eager")
    assert lines == [
        "the critic's turn cannot be captured (operation not permitted when stream is capturing): "
        "turns run without CUDA graphs"
    ]


def test_after_a_capture_that_failed_cuda_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CUDA that is pretended: torch leaves its stream, its generator and its allocator in the state of a capture."""
    left: set[str] = set()
    lines, now = list[str](), ["the default stream"]
    generator = SimpleNamespace(
        clone_state=lambda: "a copy", graphsafe_set_state=lambda state: left.discard("generator")
    )

    @contextmanager
    def on(stream: str) -> Iterator[None]:
        before, now[0] = now[0], stream
        try:
            yield
        finally:
            now[0] = before

    @contextmanager
    def capture(*_: Any, **__: Any) -> Iterator[None]:
        now[0] = "another stream"
        left.update({"generator", "allocator"})
        try:
            yield
        except RuntimeError:
            raise RuntimeError("operation failed due to a previous error during capture") from None

    pretended = {
        "current_device": lambda: 0,
        "current_stream": lambda: now[0],
        "stream": on,
        "graph_pool_handle": lambda: (0, 1),
        "CUDAGraph": object,
        "graph": capture,
        "default_generators": (generator,),
    }
    for name, value in pretended.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr("models.turns._side_stream", lambda device: "another stream")
    monkeypatch.setattr(
        torch._C, "_cuda_endAllocateToPool", lambda device, pool: left.remove("allocator"), raising=False
    )

    def turn(x: Tensor) -> None:
        if now[0] == "another stream":
            assert not gc.isenabled(), "a graph of an earlier run could be destroyed"
            raise RuntimeError("operation not permitted when stream is capturing")

    turns = Turns("graphs", lines.append)
    turns._recorder = CudaRecorder()
    turns._warm["critic"] = WARM_UPS
    turns.play("critic", turn, (torch.ones(2, 1),), torch.optim.SGD([torch.ones(1)], lr=0.1), Counter())
    assert (now, left, turns.ran, gc.isenabled()) == (["the default stream"], set(), "eager", True)
    assert lines == [
        "the critic's turn cannot be captured (operation not permitted when stream is capturing): "
        "turns run without CUDA graphs"
    ]


def test_without_a_gpu_graphs_are_one_line_and_an_eager_run(tmp_path: Path) -> None:
    lines: list[str] = []
    model = Recorder()
    model.turns = Turns("graphs", lines.append)
    fit(model, Random(), 2, tmp_path)
    assert lines == ["CUDA graphs need a GPU: turns run without CUDA graphs"]
    assert model.turns.ran == "eager"
    with pytest.raises(ValueError, match=r"trainer\.loop is 'fast'; expected one of eager, graphs"):
        Turns("fast")


def test_an_optimiser_that_was_captured_goes_on_without_capture() -> None:
    """A checkpoint of a GPU keeps the setting; a CPU refuses to step with it."""
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.RMSprop([weight])
    weight.grad = torch.ones(2)
    optimizer.step()
    saved = deepcopy(optimizer.state_dict())
    saved["param_groups"][0]["capturable"] = True
    optimizer.load_state_dict(saved)
    with pytest.raises(AssertionError, match="capturable"):
        optimizer.step()
    make_capturable(optimizer, False)
    optimizer.step()
    assert float(optimizer.state[weight]["step"]) == 2


def test_the_penalty_is_float32_forwards_and_backwards(tmp_path: Path) -> None:
    """Under bf16 a turn on the penalty alone moves the weights as under float32, to the bit."""

    class Penalised(Recorder):
        def _write(self, name: str, x: Tensor) -> Tensor:
            return gradient_penalty(lambda x: self.critic(x.flatten(1)[:, :1]).tanh().flatten(), x, 1 - x)

    weights = []
    for precision in ("32-true", "bf16-mixed"):
        pl.seed_everything(3, verbose=False)
        model = Penalised(every=100)
        before = model.critic.weight.detach().clone()
        fit(model, Random(), 3, tmp_path, precision=precision)
        assert not torch.equal(model.critic.weight, before)
        weights.append(model.critic.weight.detach())
    assert torch.equal(*weights)


@pytest.mark.parametrize("name", choices("model"))
def test_every_family_trains_in_float64(name: str, tmp_path: Path) -> None:
    model = made(name)
    model.configure_model()
    fit(model, Random(), 4, tmp_path, precision="64-true")
    assert {weight.dtype for weight in model.parameters()} == {torch.float64}
    assert all(loss.dtype == torch.float64 for loss in model._loss_sums.values())
    assert all(weight.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("name", choices("model"))
def test_the_losses_of_a_model_that_diverged_are_no_numbers_and_no_error(name: str, tmp_path: Path) -> None:
    """Once, a posterior that was no number ended a run as failed, and the run counted as one without a result."""
    model = made(name)
    model.configure_model()
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(torch.nan)
    x = torch.rand(4, 1, 2, 2)
    for player in model.players():
        assert not player.loss(x).isfinite(), player.name
