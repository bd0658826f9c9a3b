"""What tests share: composing configurations, tiny trained runs, and programs run as a user runs them."""

import contextlib
import importlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
import torch
import yaml
from filelock import FileLock
from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"

# small enough for seconds, large enough that every part of the loop is passed
TINY = (
    *("budget.amount=2600", "datamodule.block_size=4", "curve_points=3", "trainer=cpu", "model.trunk.widths=[32]"),
    *("protocol.metrics.ais.temperatures=12", "protocol.metrics.ais.examples=4", "protocol.metrics.inversion.steps=12"),
    # an estimate of seconds has not converged; in tests it has a number all the same
    *("protocol.metrics.ais.tolerance=1000", "protocol.metrics.ais.tuning_tolerance=1000"),
)

# the part of it that scoring has too
CHEAP_PROTOCOL = tuple(word for word in TINY if word.startswith("protocol."))

# a shell starts a job in the background with Ctrl-C ignored, and what is ignored stays ignored in genbench
signal.signal(signal.SIGINT, signal.default_int_handler)

# tests run side by side, one on each core: a sweep of a test runs its jobs in one process, unless it says how many
os.environ["LOKY_MAX_CPU_COUNT"] = "1"

# fixtures that start a process
STARTS_PROCESS = {"sweep", "tracked"}


class Result(NamedTuple):
    """What a program left behind on its two streams, and how it ended."""

    returncode: int
    stdout: str
    stderr: str


def choices(group: str) -> list[str]:
    """What conf/<group>/ offers: tests find new models, data sets and metrics by themselves."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@lru_cache
def quickstart() -> list[str]:
    """The families of `make run`."""
    sweep = yaml.safe_load((CONF / "sweep" / "quickstart.yaml").read_text())
    return str(sweep["hydra"]["sweeper"]["params"]["model"]).split(",")


def composed(*overrides: str, program: str = "train") -> DictConfig:
    return _composed(overrides, program).copy()


# families with networks of their own, made small
SMALL = {
    "real_nvp": ["model.flow.width=4", "model.flow.blocks=1"],
    "flow_matching": ["model.field.width=8", "model.steps=2"],
    "ddpm": ["model.field.width=8", "model.steps=2", "model.diffusion_steps=3"],
}


def composed_model(*overrides: str) -> DictConfig:
    """What `composed` gives of data, network and model alone, in a third of its time: for tests of every family."""
    train = yaml.safe_load((CONF / "train.yaml").read_text())
    groups = ("datamodule", "network", "model")
    defaults = [entry for entry in train["defaults"] if entry == "_self_" or set(entry) & set(groups)]
    kept = {key: train[key] for key in ("latent_dim", "squash", "data_dir", "field_width")}
    ConfigStore.instance().store("model_alone", {"defaults": defaults, **kept})
    return composed(*overrides, program="model_alone")


@lru_cache(maxsize=256)
def _composed(overrides: tuple[str, ...], program: str) -> DictConfig:
    with initialize_config_module("conf", version_base="1.3"):
        return compose(program, overrides=list(overrides))


def run(name: str, *words: str, cwd: Path, **environment: str) -> Result:
    """`python -m benchmarks.<name> words...` in a folder, inside this process: importing torch anew takes seconds."""
    module = importlib.import_module(f"benchmarks.{name}")
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", [f"benchmarks/{name}.py", *words]),
        mock.patch.dict(os.environ, {"COLUMNS": "200"} | environment),
    ):
        try:
            module.main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Result(code, out.getvalue(), err.getvalue())


def run_process(name: str, *words: str, cwd: Path) -> Result:
    """The same as a process of its own."""
    # wandb writes into the environment where it was used before
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *words],
        cwd=cwd,
        env=inherited | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that uses a fixture that starts a process."""
    for item in items:
        if STARTS_PROCESS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def said(result: Result) -> str:
    """The one line of a failed program, with no traceback."""
    assert result.returncode != 0, result.stdout
    assert "Traceback" not in result.stderr, result.stderr
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def one_run(sweep: Path, model: str, seed: int = 0) -> Path:
    (path,) = (sweep / "runs" / "digits" / model).glob(f"*/seed={seed}")
    return path


@pytest.fixture(autouse=True, scope="session")
def _threads_of_session() -> None:
    """Before the first fixture of a module trains a run: the number of threads changes the last bits."""
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")  # two workers share two cores


@pytest.fixture(autouse=True)
def _threads() -> None:
    torch.set_num_threads(1)  # a test may have set another number


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Fresh random inputs on every run; the seed is printed with a failure, and GENBENCH_TEST_SEED repeats it."""
    seed = int(os.environ.get("GENBENCH_TEST_SEED", int.from_bytes(os.urandom(4))))
    print(f"GENBENCH_TEST_SEED={seed}")
    torch.manual_seed(seed)


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Reference features and encoders are kept here and not in the user's own folders; processes inherit it."""
    folder = tmp_path_factory.mktemp("cache")
    own = {"GENBENCH_CACHE": str(folder), "GENBENCH_ENCODERS": str(folder / "encoders")}
    with mock.patch.dict(os.environ, own):
        yield folder


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished multirun: autoencoder, VAE and GAN on digits, two seeds each, and its report.

    The processes of a test run share the folder, so a test works on a copy if it writes.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "sweep"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "stdout.txt").is_file():
            folder.mkdir()
            result = run_process("train", "-m", "model=ae,vae,gan", "seed=0,1", *TINY, cwd=folder)
            assert result.returncode == 0, result.stderr
            (folder / "stdout.txt").write_text(result.stdout)
    return folder
