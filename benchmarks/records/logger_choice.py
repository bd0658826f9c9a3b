"""Facts about the choice of conf/logger/wandb that training and reports share. Imports no wandb."""

import os
from collections.abc import Mapping
from typing import Any


def is_wandb(node: Mapping[str, Any] | None) -> bool:
    """Whether a choice of conf/logger is Weights & Biases."""
    return bool(node) and str((node or {}).get("_target_", "")).endswith(".WandbLogger")


def is_disabled(node: Mapping[str, Any]) -> bool:
    """Whether wandb is switched off. Then nothing of wandb is imported, made or written."""
    return node.get("mode") == "disabled" or os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1")
