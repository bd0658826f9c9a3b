"""The record of a run: its budget and cost, its environment, its packages, its commit."""

import gc
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks.records.facts import facts_of
from benchmarks.records.runs import Status
from benchmarks.training.clock import Clock
from benchmarks.training.task import Training
from models.game import GenerativeModel

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "numpy", "scikit-learn", "wandb")


def describe_run(
    training: Training, status: Status, error: str | None, more_cost: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What `run.json` holds besides its schema.

    Args:
        training: the run.
        status: how it ended.
        error: why it diverged or failed.
        more_cost: entries of `cost` that are measured after training.
    """
    config, model, clock, data = training.config, training.model, training.clock, training.data
    budget = asdict(config.budget)
    cost = training_cost(model, clock, training.device) | dict(more_cost or {})
    if clock.runs > 1:
        cost |= _shared(cost, clock.runs)
    facts = {"budget": budget, "cost": cost, "weights_scored": model.weights_scored}
    return {
        "status": status,
        "error": error,
        "names": config.names._asdict(),
        "seed": config.seed,
        "config_id": config.id,
        "nickname": config.document.get("nickname"),
        "command": config.command,
        "search": config.search,
        "budget": budget,
        "spent": {"images": model.images, "seconds": round(clock.seconds, 3), "updates": model.updates},
        "steps": dict(model.steps),
        "weights_scored": model.weights_scored,
        "batch_norm": "running statistics",
        "loop": loop_of(model.turns.ran, clock.runs),
        "data": asdict(data.info) | {"id": data.info.id},
        "cost": cost,
        "environment": environment(training.device, clock.runs),
        "packages": packages(),
        "git": commit(),
        "facts": facts_of(config.document, facts),
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def loop_of(ran: str, runs: int) -> str:
    """The path that the turns of a run took, alone or in a stack: "eager", "graphs", "stacked", "stacked_graphs", ..."""
    if runs == 1:
        return ran
    return "stacked" if ran == "eager" else f"stacked_{ran}"


def training_cost(model: GenerativeModel, clock: Clock, device: torch.device) -> dict[str, Any]:
    """Parameters, seconds, examples a second, processors that others kept busy, and the peak memory in bytes since
    `reset_peak_memory`."""
    return {
        "parameters": sum(w.numel() for p in model.players() for w in p.modules.parameters()),
        "decoder_parameters": sum(w.numel() for w in model.decoder.parameters()),
        "train_seconds": round(clock.seconds, 3),
        "images_per_second": model.images / clock.seconds if clock.seconds else None,
        "neighbours": None if clock.neighbours is None else round(clock.neighbours, 3),
        "peak_memory_bytes": _peak_memory(device),
    }


def _shared(cost: Mapping[str, Any], seeds: int) -> dict[str, Any]:
    """What is different in the cost of a run that was trained in a stack: the other seeds are work beside the run, and nobody
    knows which part of the memory is the run's."""
    return {"neighbours": round((cost["neighbours"] or 0.0) + seeds - 1, 3), "peak_memory_bytes": None}


def environment(device: torch.device, seeds_together: int = 1) -> dict[str, Any]:
    """What a result may depend on besides its configuration and its packages: the machine, and the number of seeds that were
    trained together, which changes the last bits of a result as a machine does."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        # the libraries that choose the kernels of a GPU
        **({"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())} if device.type == "cuda" else {}),
        "threads": torch.get_num_threads(),
        # another processor of the same instruction set may give other last bits too
        "processor": _processor(),
        # the instruction set changes the last bits of sums
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **({} if seeds_together == 1 else {"seeds_together": seeds_together}),
    }


def _processor() -> str:
    """The model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def packages() -> dict[str, str | None]:
    """The versions of the packages that results depend on; None for a package that is not installed."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> dict[str, Any]:
    """The commit of the running code, and whether tracked files differ from it; None outside of a clone."""

    def git(*words: str) -> str:
        folder = Path(__file__).parent
        return subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        ).stdout

    try:
        return {"sha": git("rev-parse", "HEAD").strip(), "dirty": bool(git("status", "--porcelain", "-uno").strip())}
    except (OSError, subprocess.SubprocessError):
        return {"sha": None, "dirty": None}


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement of peak memory."""
    if device.type == "cuda":
        gc.collect()  # what earlier runs of the process had on the device: their objects point at each other
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of this run, not of the whole sweep


def _peak_memory(device: torch.device) -> int:
    """In bytes: of the GPU if there is one, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
