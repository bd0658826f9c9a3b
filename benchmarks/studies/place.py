"""Where the steps of a study run: the device, the folder of results, the words of runs."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra import initialize_config_module

from benchmarks.scoring.restore import use_float32
from benchmarks.training.record import environment
from benchmarks.training.run import silence_lightning

FAMILIES = ("ae", "vae", "gan", "wgan", "wgan_gp")
# every column, at sizes that a CPU scores in seconds too
CHEAP = (
    *("protocol=quick", "protocol.samples=300", "protocol.examples=300", "protocol.second_encoder=null"),
    *("protocol.metrics.ais.temperatures=12", "protocol.metrics.ais.examples=4", "protocol.metrics.ais.chains=4"),
    *("protocol.metrics.inversion.examples=16", "protocol.metrics.inversion.steps=12"),
    *("protocol.metrics.iwae.examples=16", "protocol.metrics.iwae.k=8"),
)
# four blocks, a checkpoint after each
SHORT = ("budget.amount=5120", "checkpoint_seconds=0", "curve_points=2")
NETWORKS: Mapping[str, Sequence[str]] = {
    "dcgan": (),
    "mlp": (),
    # a quarter of the paper's width, because the CPU scores it too
    "resnet": ("model.trunk.width=32", "model.decoder.width=32"),
}
TINY = (
    *("datamodule=digits", "network=mlp_narrow", "budget.amount=640", "datamodule.block_size=5", "curve_points=2"),
    *(*CHEAP, "protocol.samples=100", "protocol.metrics.fitted_fid.components=2", "checkpoint_seconds=0"),
)


@dataclass(frozen=True)
class Place:
    """Where a study runs.

    Args:
        folder: of results.
        device: "cuda" or "cpu".
        machine: its name, for the tables.
        is_tiny: whether steps are as small as they can be.
    """

    folder: Path
    device: str
    machine: str
    is_tiny: bool

    @property
    def trainer(self) -> str:
        return "trainer=gpu_graphs" if self.device == "cuda" else "trainer=cpu"

    def is_usable(self) -> bool:
        """Whether the device still works for this process. An error inside of a kernel ends that until the process ends."""
        try:
            if self.device == "cuda":
                torch.cuda.synchronize()
        except RuntimeError:
            return False
        return True

    def words(self, *words: str) -> list[str]:
        """The words of a run: those of tiny runs replace data, networks and budgets."""
        groups = ("datamodule", "network", "budget", "protocol", "checkpoint_seconds", "curve_points", "shape")
        if self.is_tiny:
            words = tuple(w for w in words if not w.startswith((*groups, "model.trunk", "model.decoder")))
        return [*words, *(TINY if self.is_tiny else ())]

    def images(self, name: str = "mnist") -> list[str]:
        """The words of a data set if it is at hand, or of noise of the same size."""
        part = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[name]
        if (Path(os.environ.get("DATA_DIR") or "data") / part / "raw").is_dir():
            return [f"datamodule={name}"]
        return ["datamodule=noise", "shape=[1,28,28]", "datamodule.size=60000"]


@dataclass(frozen=True)
class Target:
    """What a step measures: a family under a network, each by its name in `conf/`."""

    model: str
    network: str

    @property
    def words(self) -> tuple[str, str]:
        return f"model={self.model}", f"network={self.network}"

    @property
    def row(self) -> Mapping[str, str]:
        """The first cells of a row of a table."""
        return {"model": self.model, "network": self.network}


@contextmanager
def prepared(is_tiny: bool, name: str, device: str | None = None) -> Iterator[Place]:
    """The place of the study of a name, inside Hydra: on the GPU if there is one, if no device is given."""
    silence_lightning()
    use_float32()
    # cuBLAS is asked once in a process whether it is deterministic: at its first product, long before a step that wants it to be
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    machine = f"{torch.cuda.get_device_name() if device == 'cuda' else _processor()}, torch {torch.__version__}"
    with initialize_config_module("conf", version_base="1.3"):
        yield Place(Path("reports", name), device, machine, is_tiny)


def _processor() -> str:
    facts = environment(torch.device("cpu"))
    threads = facts["threads"]
    return f"{facts['processor']} ({facts['cpu_capability']}), {threads} thread{'s' if threads > 1 else ''}"
