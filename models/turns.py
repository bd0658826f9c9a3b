"""How a player's turn runs: operation by operation, with a compiled loss and gradients, or as a CUDA graph that is replayed.

A turn of a small network is a hundred small kernels, and Python starts them more slowly than a GPU runs them. A CUDA graph
starts all of them at once. A turn is captured by itself, so that a round of any players is a sequence of replays.
"""

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, cast, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from models.recorded import Gradients

Kind = Literal["eager", "graphs", "compiled", "compiled_graphs"]

# turns of a player that run before its turn is captured: they make the optimiser's state, and libraries choose their kernels
WARM_UPS = 3
# captures of one player's turn, because a setting of its optimiser changed; each takes as long as many turns
MOST_CAPTURES = 10


class Recorder(Protocol):
    """Records what is done on a device, to be done again."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Does work where it can be recorded later."""
        ...

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Records work without doing it; returns the function that does it, each time with fresh random numbers."""
        ...


class CudaRecorder:
    """CUDA graphs of one memory pool: turns run one after another, and nothing in the pool outlives a turn."""

    def __init__(self) -> None:
        self._stream = _side_stream(torch.cuda.current_device())
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], None]) -> None:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # torch stays on the stream of a capture that fails; the outer block goes back to the stream of before
        with torch.cuda.stream(torch.cuda.current_stream()), _no_collection():
            try:
                # of this thread only: another thread may read the next block to the device meanwhile
                with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                    work()
            except BaseException:
                _abandon_capture(self._pool)
                raise
        return graph.replay


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps garbage meanwhile: among what earlier runs left may be graphs and events, and CUDA destroys none during a capture."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """One stream for all runs of a process: cuBLAS keeps a workspace, of 32 MiB on an H100, for each stream that it has seen."""
    return torch.cuda.Stream(device)


def _abandon_capture(pool: tuple[int, int]) -> None:
    """Ends what torch 2.11 does not end after a capture that failed.

    The generator still counts the draws of a graph and refuses every other draw on the device ("Offset increment outside graph
    capture"): a copy of its state, which does not count, takes the state's place. The allocator still serves the graph's pool.
    """
    device = torch.cuda.current_device()
    generator = torch.cuda.default_generators[device]
    generator.graphsafe_set_state(generator.clone_state())
    with suppress(AttributeError, RuntimeError):  # it is private; a capture that ended has ended this too
        torch._C._cuda_endAllocateToPool(device, pool)


@dataclass(frozen=True)
class Captured:
    """A captured turn: the tensors that it reads, the optimiser's settings in it, what it adds to the counts of losses."""

    replay: Callable[[], None]
    inputs: Sequence[Tensor]
    settings: Sequence[Mapping[str, Any]]
    counts: Counter[str]


class Turns:
    """Runs the turns of players.

    Args:
        kind: "eager"; "graphs" (CUDA graphs, on a single GPU); "compiled" (losses and gradients by torch.compile, random
            numbers as in eager runs, in a single process); "compiled_graphs" (both).
        tell: called with one line if turns run otherwise than asked for.

    Raises:
        ValueError: for another kind.
    """

    def __init__(self, kind: str = "eager", tell: Callable[[str], None] = lambda line: None) -> None:
        if kind not in get_args(Kind):
            raise ValueError(f"trainer.loop is {kind!r}; expected one of {', '.join(get_args(Kind))}")
        self.tell = tell
        self.is_compiled, self.wants_graphs = kind.startswith("compiled"), kind.endswith("graphs")
        self._recorder: Recorder | None = None
        self._captured: dict[str, Captured] = {}
        self._warm, self._captures = Counter[str](), Counter[str]()

    @property
    def ran(self) -> Kind:
        """The path that turns take now; after training, the path that they took."""
        path = ("compiled_graphs" if self.is_compiled else "graphs") if self._recorder is not None else "eager"
        return cast(Kind, "compiled" if self.is_compiled and self._recorder is None else path)

    def compiled(self, recorded: Gradients) -> Gradients:
        """Recorded operations as they are run."""
        if not self.is_compiled:
            return recorded
        # eager random numbers, so that a compiled run differs from an eager run by rounding only
        return cast(Gradients, torch.compile(recorded, dynamic=False, options={"fallback_random": True}))

    def go_uncompiled(self, reason: str) -> None:
        """Runs turns operation by operation from now on, after a line."""
        self.is_compiled = False
        self.tell(f"{reason}: turns run without compiled losses")

    def start(self, device: torch.device, optimizers: Sequence[Optimizer], processes: int) -> None:
        """Decides whether turns are captured, once the states of optimisers are on their devices."""
        if self.wants_graphs:
            if device.type != "cuda":
                self._go_eager("CUDA graphs need a GPU")
            elif processes > 1:
                self._go_eager("CUDA graphs need a single process")
            else:
                self._recorder = CudaRecorder()
        if self.is_compiled and processes > 1:
            self.go_uncompiled("compiled losses need a single process")
        for optimizer in optimizers:
            make_capturable(optimizer, self._recorder is not None)

    def play(
        self,
        name: str,
        turn: Callable[..., None],
        inputs: Sequence[Tensor],
        optimizer: Optimizer,
        counts: Counter[str],
    ) -> None:
        """Runs a turn of a player on a minibatch.

        Args:
            name: of the player.
            turn: the function that plays it; the same work on each call, but for its random numbers.
            inputs: the arguments of `turn`: the minibatch, and random numbers that are drawn before the turn.
            optimizer: the player's. After a change of a number among its settings, the turn is captured again.
            counts: what `turn` counts on the CPU.
        """
        if self._recorder is None:
            turn(*inputs)
            return
        if self._warm[name] < WARM_UPS:
            self._warm[name] += 1
            self._recorder.warm_up(lambda: turn(*inputs))
            return
        settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        captured = self._captured.get(name)
        shapes = [x.shape for x in inputs]
        if (
            captured is None
            or [x.shape for x in captured.inputs] != shapes
            or not _are_equal(captured.settings, settings)
        ):
            captured = self._capture(name, turn, inputs, settings, counts)
        if captured is None:
            turn(*inputs)
            return
        for place, x in zip(captured.inputs, inputs, strict=True):
            place.copy_(x)
        captured.replay()
        counts.update(captured.counts)

    def end(self) -> None:
        """Frees captured turns: they hold addresses of weights that may move."""
        self._captured.clear()
        self._warm.clear()

    def _capture(
        self,
        name: str,
        turn: Callable[..., None],
        inputs: Sequence[Tensor],
        settings: Sequence[Mapping[str, Any]],
        counts: Counter[str],
    ) -> Captured | None:
        self._captures[name] += 1
        if self._captures[name] > MOST_CAPTURES:
            self._go_eager(f"a setting of the {name}'s optimiser or its batch changed {MOST_CAPTURES} times")
            return None
        assert self._recorder is not None
        places, before = [x.clone() for x in inputs], counts.copy()
        try:
            replay = self._recorder.record(lambda: turn(*places))
        except RuntimeError as error:
            self._go_eager(f"the {name}'s turn cannot be captured ({' '.join(str(_first(error)).split())[:160]})")
            replay = None
        added = Counter({key: counts[key] - before[key] for key in counts if counts[key] != before[key]})
        counts.subtract(added)
        if replay is None:
            return None
        self._captured[name] = Captured(replay, places, settings, added)
        return self._captured[name]

    def _go_eager(self, reason: str) -> None:
        self._recorder = None
        self._captured.clear()
        self.tell(f"{reason}: turns run without CUDA graphs")


def make_capturable(optimizer: Optimizer, wanted: bool) -> None:
    """Makes an optimiser's step one that a graph can hold, or one that it need not hold, whatever a checkpoint said."""
    for group in optimizer.param_groups:
        if "capturable" not in group:
            continue
        group["capturable"] = wanted
        for weight in group["params"]:
            step = optimizer.state.get(weight, {}).get("step")
            if isinstance(step, Tensor):  # the count lives where the step is computed
                on_device = wanted or bool(group.get("fused"))
                optimizer.state[weight]["step"] = step.to(weight.device if on_device else "cpu")


def _first(error: BaseException) -> BaseException:
    """The error that was raised first. The end of a capture that failed raises one more, which does not say why."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _are_equal(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> bool:
    """Whether settings are equal. A tensor among them is read by the graph itself: it has to be the same object."""

    def is_equal(x: Any, y: Any) -> bool:
        return x is y if isinstance(x, Tensor) or isinstance(y, Tensor) else bool(x == y)

    return all(
        x.keys() == y.keys() and all(is_equal(value, y[key]) for key, value in x.items())
        for x, y in zip(a, b, strict=True)
    )
