"""What a run's record says of it: what was spent, what it cost, and where it ran."""

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

from benchmarks.budget import Budget
from benchmarks.callbacks import Clock
from benchmarks.runs import Status, config_id
from datamodules.base import DataModule
from models.game import GenerativeModel

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "numpy", "scikit-learn", "wandb")


def describe_run(
    status: Status,
    error: str | None,
    config: Mapping[str, Any],
    budget: Budget,
    clock: Clock,
    data: DataModule,
    model: GenerativeModel,
    device: torch.device,
    more_cost: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What `run.json` holds besides its schema."""
    return {
        "status": status,
        "error": error,
        "names": config["names"],
        "seed": config["seed"],
        "config_id": config_id(config),
        "command": config["command"],
        "search": config.get("search"),
        "budget": asdict(budget),
        "spent": {"images": model.images, "seconds": round(clock.seconds, 3), "updates": model.updates},
        "steps": dict(model.steps),
        "weights_scored": model.weights_scored,
        "batch_norm": "running statistics",
        "data": asdict(data.info) | {"id": data.info.id},
        "cost": training_cost(model, clock, device) | dict(more_cost or {}),
        "environment": environment(device),
        "packages": packages(),
        "git": commit(),
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def training_cost(model: GenerativeModel, clock: Clock, device: torch.device) -> dict[str, Any]:
    """Parameters, seconds, examples a second, and the most memory held since `reset_peak_memory`, in bytes."""
    return {
        "parameters": sum(w.numel() for p in model.players() for w in p.modules.parameters()),
        "decoder_parameters": sum(w.numel() for w in model.decoder.parameters()),
        "train_seconds": round(clock.seconds, 3),
        "images_per_second": model.images / clock.seconds if clock.seconds else None,
        "peak_memory_bytes": _peak_memory(device),
    }


def environment(device: torch.device) -> dict[str, Any]:
    """What a result may depend on besides its configuration and its packages."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        # which instructions sums are made with shows in their last bits
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def packages() -> dict[str, str | None]:
    """Their versions; None for one that is not installed."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> dict[str, Any]:
    """The commit of the code that ran, where it runs from a clone."""

    def git(*words: str) -> str:
        folder = Path(__file__).parent
        return subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        ).stdout

    try:
        return {"sha": git("rev-parse", "HEAD").strip(), "dirty": bool(git("status", "--porcelain", "-uno").strip())}
    except (OSError, subprocess.SubprocessError):
        return {"sha": None, "dirty": None}


def reset_peak_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is this run's, not the whole sweep's


def _peak_memory(device: torch.device) -> int:
    """Of the device where there is one, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
