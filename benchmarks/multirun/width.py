"""How many jobs of a sweep run at a time on this machine."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# of a process that trains and scores small networks, in bytes: 0.95 GB at most on the digits, and some room
MEMORY = 2**30
# on Linux, what drivers of GPUs leave: NVIDIA's, those of its small computers, AMD's, and Windows' below Linux
DEVICES = ("/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg")
MEMINFO = Path("/proc/meminfo")
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def processes_that_pay(config: Any, jobs: Sequence[Iterable[str]]) -> int:
    """The number of processes, at least 1: no more than jobs, than cores that this process may use, and than its memory allows.

    It is 1 on a GPU, where processes wait for each other, and for a budget of seconds, of which a job beside others makes less.

    Args:
        config: of the sweep.
        jobs: the words of each job.
    """
    trainer, words = config.trainer, {word for job in jobs for word in job}
    if config.budget.unit == "seconds" or "budget=seconds" in words or trainer.devices != 1:
        return 1
    if trainer.accelerator != "cpu" and has_gpu():
        return 1
    from joblib import cpu_count

    return max(1, min(len(jobs), cpu_count(), *(size // MEMORY for size in free_memory())))


def has_gpu() -> bool:
    """Whether torch finds a GPU. Torch, which takes seconds to load, is not asked on a machine without the device of a driver."""
    if sys.platform == "linux" and not any(Path(device).exists() for device in DEVICES):
        return False
    import torch

    return torch.cuda.is_available()


def free_memory() -> list[int]:
    """The bytes that are available on Linux, and the limit of a container; empty where the system does not tell."""
    sizes = list[int]()
    if MEMINFO.is_file():
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        sizes += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    texts = [path.read_text(encoding="ascii").strip() for path in LIMITS if path.is_file()]
    return sizes + [int(text) for text in texts if text.isdigit()]  # "max" is no limit
