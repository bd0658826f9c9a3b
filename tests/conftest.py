"""What tests share: composing configurations, tiny trained runs, and programs run as a user runs them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"

# small enough for seconds, large enough that every part of the loop is passed
TINY = ("budget.amount=2600", "datamodule.block_size=4", "curve_points=3", "trainer=cpu", "model.trunk.widths=[32]")


def choices(group: str) -> list[str]:
    """What conf/<group>/ offers: tests find new models, data sets and metrics by themselves."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def composed(*overrides: str, program: str = "train") -> DictConfig:
    with initialize_config_module("conf", version_base="1.3"):
        return compose(program, overrides=list(overrides))


@pytest.fixture(autouse=True)
def _threads() -> None:
    torch.set_num_threads(1)  # tiny tensors: more threads only wait for each other


@pytest.fixture(autouse=True)
def _seed(request: pytest.FixtureRequest) -> None:
    """Fresh random inputs on every run; the seed is printed with a failure, and GENBENCH_TEST_SEED repeats it."""
    seed = int(os.environ.get("GENBENCH_TEST_SEED", int.from_bytes(os.urandom(4))))
    request.node.user_properties.append(("seed", seed))
    print(f"GENBENCH_TEST_SEED={seed}")
    torch.manual_seed(seed)


@pytest.fixture(scope="session")
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m benchmarks.<name> words...` in a folder, as a user would."""

    def run(name: str, *words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *words],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"} | environment,
            capture_output=True,
            text=True,
            timeout=280,
        )

    return run


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory, program: Any) -> Path:
    """A folder with a finished multirun: autoencoder, VAE and GAN on digits, two seeds each, and its report."""
    folder = tmp_path_factory.mktemp("sweep")
    result = program("train", "-m", "model=ae,vae,gan", "seed=0,1", *TINY, cwd=folder)
    assert result.returncode == 0, result.stderr
    (folder / "stdout.txt").write_text(result.stdout)
    return folder


def one_run(sweep: Path, model: str, seed: int = 0) -> Path:
    (path,) = (sweep / "runs" / "digits" / model).glob(f"*/seed={seed}")
    return path
