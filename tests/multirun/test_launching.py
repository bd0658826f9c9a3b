"""How a sweep's jobs are started: again if their process died, in bounded numbers, and with the resources of their family."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from benchmarks.multirun.launching import Persistent, persistent
from benchmarks.records.sweeps import Plan, write_plan
from tests.conftest import ROOT, TINY, run
from tests.multirun.fakes import DyingLauncher


def launched(folder: Path, dies: Callable[[int, int], bool], jobs: int = 6, retries: int = 2) -> DyingLauncher:
    """A sweep whose jobs died so."""
    launcher = DyingLauncher(folder, dies)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}, "retries": retries})
    context: Any = None
    words = [[f"seed={n}"] for n in range(jobs)]
    Persistent(launcher, context, context, config).launch(words, initial_job_idx=0)
    return launcher


def outcomes(folder: Path) -> set[int]:
    return {int(path.parent.name) for path in folder.glob("*/outcome.json")}


def test_a_job_whose_process_died_is_started_again_and_no_job_that_has_an_outcome(tmp_path: Path, capsys: Any) -> None:
    launcher = launched(tmp_path, lambda number, before: number == 2 and before == 0)
    assert outcomes(tmp_path) == set(range(6))
    assert launcher.calls == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5]]
    text = capsys.readouterr()
    assert text.err == "warning: the process of a job died; jobs without an outcome are started again: 3, 4, 5, 6\n"
    assert text.out.count("finished") == 6
    assert "[6/6] job 5 · finished" in text.out


def test_a_job_that_always_dies_is_given_up_and_takes_no_other_with_it(tmp_path: Path) -> None:
    launcher = launched(tmp_path, lambda number, before: number == 0)
    assert outcomes(tmp_path) == {1, 2, 3, 4, 5}
    assert Counter(launcher.starts) == {0: 3, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
    assert launcher.calls[-1] == [0], "its last attempt is alone"


def test_nothing_is_started_again_without_retries(tmp_path: Path) -> None:
    launcher = launched(tmp_path, lambda number, before: number == 5, retries=0)
    assert launcher.calls == [[0, 1, 2, 3, 4, 5]]
    assert outcomes(tmp_path) == {0, 1, 2, 3, 4}


def test_a_launcher_that_starts_nothing_is_one_error_and_no_loop(tmp_path: Path, capsys: Any) -> None:
    with (
        mock.patch.object(DyingLauncher, "launch", side_effect=FileNotFoundError("sbatch")),
        pytest.raises(SystemExit),
    ):
        launched(tmp_path, lambda number, before: False)
    assert capsys.readouterr().err == "error: the launcher started none of 6 jobs (FileNotFoundError: sbatch)\n"


def test_a_process_that_dies_before_its_job_has_begun_counts_and_costs_no_other_job(tmp_path: Path) -> None:
    launch = DyingLauncher.launch

    def dies_early(self: DyingLauncher, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
        if job_overrides[-1][0] == "seed=5":
            launch(self, job_overrides[:-1], initial_job_idx)
            raise RuntimeError("out of memory while torch was imported")
        return launch(self, job_overrides, initial_job_idx)

    with mock.patch.object(DyingLauncher, "launch", dies_early):
        launched(tmp_path, lambda number, before: False)
    assert outcomes(tmp_path) == {0, 1, 2, 3, 4}


def test_wrong_retries_are_one_line(tmp_path: Path, capsys: Any) -> None:
    retries: Any = "many"
    with pytest.raises(SystemExit):
        launched(tmp_path, lambda number, before: False, retries=retries)
    assert capsys.readouterr().err == "error: retries is 'many'; expected a whole number of 0 or more\n"


def test_jobs_in_the_process_of_the_command_are_left_to_hydra() -> None:
    class BasicLauncher(DyingLauncher):
        pass

    launcher = BasicLauncher(Path(), lambda number, before: False)
    nothing: Any = None
    assert persistent(launcher, hydra_context=nothing, task_function=nothing, config=nothing) is launcher


def test_each_family_asks_the_cluster_for_its_own_resources(tmp_path: Path) -> None:
    asked: dict[int, Any] = {}

    class SlurmLauncher(DyingLauncher):
        def __init__(self, config: DictConfig) -> None:
            super().__init__(tmp_path, lambda number, before: False)
            self.resources = OmegaConf.to_container(config.resources, resolve=True)

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Any:
            super().launch(job_overrides, initial_job_idx)
            asked.update(dict.fromkeys(self.starts, self.resources))

    pytest.importorskip("submitit")
    words = [["model=vae", "seed=0"], ["model=wgan_gp", "seed=0"], ["model=vae", "seed=1"], ["row=wgan", "seed=0"]]
    words.append(["model=vae", "trainer=gpu", "resources.memory_gb=16"])
    with initialize_config_module("conf", version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = compose("train", overrides=[f"hydra.sweep.dir={tmp_path}"], return_hydra_config=True)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=mock.Mock())
        task: Any = None
        make = mock.patch.object(
            Plugins.instance(), "instantiate_launcher", side_effect=lambda context, task, config: SlurmLauncher(config)
        )
        with make as made:
            Persistent(SlurmLauncher(config), context, task, config).launch(words, initial_job_idx=0)
    assert [asked[n]["minutes"] for n in range(5)] == [60, 180, 60, 120, 60]
    assert [asked[n]["gpus"] for n in range(5)] == [0, 0, 0, 0, 1]
    assert [asked[n]["memory_gb"] for n in range(5)] == [4, 4, 4, 4, 16]
    assert made.call_count == 4, "jobs with equal resources are one array"


def scores(folder: Path) -> dict[str, Any]:
    found = {path.parts[-5:]: json.loads(path.read_text()) for path in folder.rglob("scores/*.json")}
    return {"/".join(parts): [(s["name"], s["value"]) for s in sheet["scores"]] for parts, sheet in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "words", "package"),
    [
        ("auto", ("model=ae", "seed=0,1"), "hydra_plugins.hydra_joblib_launcher"),
        ("slurm_local", ("model=gan", "seed=0"), "submitit"),
    ],
)
def test_a_launcher_gives_the_scores_of_one_process_to_the_bit_though_a_worker_was_killed(
    launcher: str, words: tuple[str, ...], package: str, sweep: Path, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    killer = ("+hydra.callbacks.killer._target_=tests.multirun.fakes.KillsOnce", "+hydra.callbacks.killer.flag=killed")
    command = ("-m", f"launcher={launcher}", *words, *TINY, *killer)
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "2"}
    result = run("train", *command, cwd=tmp_path, **environment)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "killed").is_file()
    assert "the process of a job died; jobs without an outcome are started again: 1" in result.stderr
    theirs = scores(sweep / "runs")
    ours = scores(tmp_path / "runs")
    assert len(ours) >= 1 + len(words) // 3
    assert ours == {name: theirs[name] for name in ours}
    lines = [line for line in result.stdout.splitlines() if " · finished" in line]
    assert len(lines) == len(list(tmp_path.rglob("run.json")))
    assert not list((tmp_path / "runs").rglob("plan.json"))


def test_batches_of_a_sweep_are_counted_together(tmp_path: Path, capsys: Any) -> None:
    write_plan(tmp_path, Plan.of("mine", "", [[f"seed={n}"] for n in range(5)]))
    launcher = DyingLauncher(tmp_path, lambda number, before: False)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}, "retries": 0})
    nothing: Any = None
    sweep = Persistent(launcher, nothing, nothing, config)
    for first, count in ((0, 3), (3, 2)):
        sweep.launch([[f"seed={first + n}"] for n in range(count)], initial_job_idx=first)
    numbers = [line.split("]")[0] for line in capsys.readouterr().out.splitlines()]
    assert numbers == ["[1/5", "[2/5", "[3/5", "[4/5", "[5/5"]
