"""As many jobs of a sweep run at a time as pay. `test_launching.py` checks that they have the scores of one process."""

from pathlib import Path
from typing import Any

import joblib
import pytest
import torch
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from omegaconf import OmegaConf

from benchmarks.multirun import width
from benchmarks.multirun.launching import AsManyAsPay, Persistent, persistent
from benchmarks.multirun.width import free_memory, has_gpu, processes_that_pay
from tests.conftest import composed
from tests.multirun.fakes import DyingLauncher
from tests.multirun.test_launchers import with_launcher

JOBS = [[f"seed={seed}"] for seed in range(8)]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the cores, the gigabytes of free memory and the GPU of the machine."""

    def pretend(cores: int, memory: int = 64, gpu: bool = False) -> None:
        monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
        monkeypatch.setattr(width, "free_memory", lambda: [memory * 2**30])
        monkeypatch.setattr(width, "has_gpu", lambda: gpu)

    return pretend


def test_a_sweep_takes_every_core_that_it_can_feed(machine: Any) -> None:
    for cores, memory, jobs, expected in ((1, 64, 8, 1), (4, 64, 8, 4), (4, 3, 8, 3), (16, 64, 8, 8), (2, 0, 8, 1)):
        machine(cores, memory)
        assert processes_that_pay(composed(), JOBS[:jobs]) == expected
    assert processes_that_pay(composed(), JOBS[:1]) == 1


def test_jobs_that_would_wait_for_each_other_run_one_after_another(machine: Any) -> None:
    machine(4, gpu=True)
    assert processes_that_pay(composed(), JOBS) == 1
    assert processes_that_pay(composed("trainer=cpu"), JOBS) == 4, "a GPU that is not used"
    machine(4)
    assert processes_that_pay(composed("trainer=ddp"), JOBS) == 1
    assert processes_that_pay(composed("budget=seconds"), JOBS) == 1
    assert processes_that_pay(composed(), [*JOBS, ["budget=seconds"]]) == 1


def test_torch_is_asked_for_a_gpu_where_a_driver_left_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(width.sys, "platform", "linux")
    device = tmp_path / "nvidiactl"
    monkeypatch.setattr(width, "DEVICES", (str(device),))
    assert not has_gpu()
    device.touch()
    assert has_gpu()


def test_memory_is_what_is_available_and_the_limit_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(width, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(width, "LIMITS", (tmp_path / "max",))
    assert free_memory() == []
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 7 kB\n")
    (tmp_path / "max").write_text("max\n")
    assert free_memory() == [7168]
    (tmp_path / "max").write_text("512\n")
    assert free_memory() == [7168, 512]


class JoblibLauncher(DyingLauncher):
    """Takes the words of the jobs that it is given."""

    def __init__(self, folder: Path, n_jobs: int) -> None:
        super().__init__(folder, lambda number, before: False)
        self.joblib = {"n_jobs": n_jobs}
        self.words = list[list[str]]()

    def launch(self, job_overrides: Any, initial_job_idx: int) -> Any:
        self.words += job_overrides
        return super().launch(job_overrides, initial_job_idx)


def parts(folder: Path, threads: int | None = None) -> dict[str, Any]:
    trainer, budget = {"accelerator": "cpu", "devices": 1}, {"unit": "images"}
    hydra = {"sweep": {"dir": str(folder)}}
    keys = {"trainer": trainer, "budget": budget, "hydra": hydra, "retries": 0, "threads": threads}
    return {"hydra_context": None, "task_function": None, "config": OmegaConf.create(keys)}


@pytest.mark.parametrize(("chosen", "more"), [(None, ["threads=1"]), (3, [])])
def test_jobs_side_by_side_have_one_thread_each_unless_the_user_chose(
    chosen: int | None, more: list[str], tmp_path: Path, machine: Any
) -> None:
    machine(3)
    launcher = JoblibLauncher(tmp_path, 0)
    persistent(launcher, **parts(tmp_path, chosen)).launch(JOBS, initial_job_idx=0)
    assert launcher.joblib["n_jobs"] == 3
    assert launcher.words == [[*job, *more, f"hydra.sweep.subdir={n}"] for n, job in enumerate(JOBS)]


def test_one_process_is_the_process_of_the_command(
    tmp_path: Path, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(1)
    calls = list[Any]()
    monkeypatch.setattr(BasicLauncher, "launch", lambda self, words, initial_job_idx: calls.append(words))
    persistent(launcher := JoblibLauncher(tmp_path, 0), **parts(tmp_path)).launch(JOBS, initial_job_idx=0)
    assert calls == [JOBS], "no thread is chosen: the number of a single run stays"
    assert not launcher.words
    chosen = persistent(JoblibLauncher(tmp_path, -1), **parts(tmp_path))
    assert isinstance(chosen, Persistent)
    assert not isinstance(chosen, AsManyAsPay), "launcher=cores takes all cores"


def test_the_default_leaves_the_threads_of_a_single_run_alone() -> None:
    config = with_launcher()[1]
    assert (config.threads, config.hydra.runtime.choices["launcher"]) == (None, "auto")
