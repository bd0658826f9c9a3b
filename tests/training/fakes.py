"""A trainer without output and files, which the tests of training share."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl


def trainer_in(folder: Path, **options: Any) -> pl.Trainer:
    """One epoch on the CPU."""
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=str(folder),
        **options,
    )
