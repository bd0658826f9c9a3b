"""Signals that ask a process to end: a run saves a checkpoint, says how it resumes, and ends as if nothing had come."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from benchmarks.signals import ENDING, Interrupted, handlers, interruptible, raise_interrupted
from benchmarks.training.callbacks import Watch
from tests.conftest import TINY, one_run, run
from tests.training.fakes import train_until
from tests.training.test_resume import ends_of

# no checkpoint but those of signals and of the end
WORDS = ("model=gan", *TINY, "checkpoint_seconds=1e9")


def signalled(*numbers: int, folder: Path, monkeypatch: pytest.MonkeyPatch, at: int = 5) -> Any:
    """A training to which signals come at a block."""
    look = Watch.on_train_batch_end

    def signal_at(self: Watch, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        look(self, trainer, model, outputs, batch, batch_idx)
        if batch_idx == at:
            for number in numbers:
                signal.raise_signal(number)

    with monkeypatch.context() as patched:
        patched.setattr(Watch, "on_train_batch_end", signal_at)
        return run("train", *WORDS, cwd=folder)


@pytest.mark.parametrize("number", ENDING, ids=lambda number: signal.Signals(number).name)
def test_a_signal_saves_the_run_and_the_same_command_resumes_it(
    number: int, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {each: signal.getsignal(each) for each in ENDING}
    cut = signalled(number, folder=tmp_path, monkeypatch=monkeypatch)
    assert cut.returncode == 128 + number
    (line,) = [line for line in cut.stderr.splitlines() if line]
    assert line.startswith(f"error: interrupted by {signal.Signals(number).name}; the run is saved after 1,536 images")
    assert "python -m benchmarks.train model=gan" in line
    assert {each: signal.getsignal(each) for each in ENDING} == before
    (path,) = tmp_path.glob("runs/digits/gan/*/seed=0")
    assert not (path / "run.json").exists()
    assert (path / "checkpoints" / "last.ckpt").is_file()

    resumed = run("train", *WORDS, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert ends_of(path) == ends_of(one_run(sweep, "gan"))


def test_the_handler_of_a_scheduler_gets_the_signal_after_the_checkpoint_and_may_go_on(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As submitit's handlers do: one queues the job again, one ignores SIGTERM."""
    saved = list[bool]()

    def handler(number: int, frame: Any) -> None:
        (path,) = tmp_path.glob("runs/digits/gan/*/seed=0")
        saved.append((path / "checkpoints" / "last.ckpt").is_file())

    with handlers({signal.SIGUSR2: handler}):
        result = signalled(signal.SIGUSR2, folder=tmp_path, monkeypatch=monkeypatch)
        assert signal.getsignal(signal.SIGUSR2) is handler
    assert saved == [True]
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("runs/digits/gan/*/seed=0")
    assert ends_of(path) == ends_of(one_run(sweep, "gan"))


def test_a_job_that_its_scheduler_queues_again_leaves_with_the_schedulers_status_and_resumes(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """submitit's handler writes the job anew and exits with a status that queues it again."""

    def queue_again(number: int, frame: Any) -> None:
        raise SystemExit(122)

    with handlers({signal.SIGUSR2: queue_again}):
        result = signalled(signal.SIGUSR2, folder=tmp_path, monkeypatch=monkeypatch)
    assert result.returncode == 122
    (path,) = tmp_path.glob("runs/digits/gan/*/seed=0")
    assert (path / "checkpoints" / "last.ckpt").is_file()
    assert not (path / "run.json").exists()
    assert run("train", *WORDS, cwd=tmp_path).returncode == 0
    assert ends_of(path) == ends_of(one_run(sweep, "gan"))


def test_a_signal_to_a_run_that_cannot_save_ends_the_sweep_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's folder is gone when the signal comes: the run fails, and no other job may begin."""
    look = Watch.on_train_batch_end

    def lose(self: Watch, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        look(self, trainer, model, outputs, batch, batch_idx)
        (path,) = tmp_path.glob("runs/digits/gan/*/seed=0")
        shutil.rmtree(path)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Watch, "on_train_batch_end", lose)
    cut = run("train", "-m", *WORDS, "seed=0,1", "sweep_name=cut", "launcher=local", cwd=tmp_path)
    assert cut.returncode == 128 + signal.SIGTERM
    assert "error: interrupted by SIGTERM; the training ended with an error (" in cut.stderr
    assert "moved away" in cut.stderr
    assert "[2/2]" not in cut.stdout
    assert not list(tmp_path.glob("runs/digits/gan/*/seed=1"))


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = signalled(signal.SIGINT, signal.SIGINT, folder=tmp_path, monkeypatch=monkeypatch)
    assert cut.returncode == 130
    assert "the run is saved" not in cut.stderr
    assert not list(tmp_path.rglob("last.ckpt"))


def test_ignored_signals_and_handlers_of_others_stay() -> None:
    def other(number: int, frame: Any) -> None:
        pass

    with handlers({signal.SIGTERM: other, signal.SIGUSR1: signal.SIG_IGN}):  # type: ignore[dict-item]
        with interruptible():
            assert signal.getsignal(signal.SIGTERM) is other
            assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGINT) is raise_interrupted
            with pytest.raises(Interrupted, match="SIGINT"):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_process_that_a_scheduler_ends_says_so_by_its_status(number: int, tmp_path: Path) -> None:
    """Measured once: SIGTERM ended a run with exit status 0, and a scheduler saw success."""
    words = ["model=ae", *TINY, "budget.amount=1e9", "checkpoint_seconds=0.1"]
    result = train_until(lambda: bool(list(tmp_path.rglob("last.ckpt"))), number, *words, cwd=tmp_path)
    assert result.returncode == 128 + number, result
    assert result.stderr.startswith(f"error: interrupted by {signal.Signals(number).name}; the run is saved after")
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("run.json"))
