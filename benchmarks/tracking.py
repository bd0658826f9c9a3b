"""A run's loggers: Weights & Biases, TensorBoard, CSV. What goes wrong in one costs a warning and that logger, never a run."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from benchmarks.errors import one_line, warn
from benchmarks.gallery import KINDS
from benchmarks.runs import ScoreSheet
from benchmarks.wandb_tables import is_disabled, is_wandb


class Tracker:
    """Says of a run what its logger is to keep: its configuration, curves, pictures, final scores.

    Args:
        config: resolved; `logger` is one of conf/logger, or empty for no logger.
        run: the run's folder, where loggers write.
    """

    def __init__(self, config: Mapping[str, Any], run: Path) -> None:
        self.run = run
        self._logger: Logger | None = None
        node = dict(config.get("logger") or {})
        if node:
            self._logger = self._open(node, config)
            self._do(lambda logger: logger.log_hyperparams(_described(config)))

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.close(failed=error is not None)

    def log(self, row: Mapping[str, float | None]) -> None:
        """A row of the curve, at so many images shown."""
        known = {key: value for key, value in row.items() if value is not None}
        self._do(lambda logger: logger.log_metrics(known, step=int(known["images"])))

    def log_pictures(self, step: int) -> None:
        """Those that the run left beside its record."""

        def send(logger: Logger) -> None:
            for file, _ in KINDS.values():
                path = self.run / file
                name = path.stem
                if not path.is_file():
                    continue
                if isinstance(logger, WandbLogger):
                    logger.log_image(f"pictures/{name}", [str(path)], step=step)
                elif isinstance(logger, TensorBoardLogger):
                    pixels = np.asarray(Image.open(path).convert("RGB"))
                    logger.experiment.add_image(f"pictures/{name}", pixels, step, dataformats="HWC")

        self._do(send)

    def log_scores(self, sheet: ScoreSheet, step: int) -> None:
        """The final scores, under their protocol's name: a summary where the logger has one."""
        values = {f"{sheet.protocol['name']}/{s.name}": s.value for s in sheet.scores if s.value is not None}

        def send(logger: Logger) -> None:
            if isinstance(logger, WandbLogger):
                logger.experiment.summary.update({**values, f"{sheet.protocol['name']}/protocol_id": sheet.protocol_id})
            else:
                logger.log_metrics(values, step=step)

        self._do(send)

    def close(self, failed: bool = False) -> None:
        """Ends the logger's run: one of wandb's that is left open would take in the next job of a sweep as well."""

        def end(logger: Logger) -> None:
            logger.finalize("failed" if failed else "success")
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=1 if failed else 0)

        self._do(end)
        self._logger = None

    def _open(self, node: dict[str, Any], config: Mapping[str, Any]) -> Logger | None:
        if is_wandb(node):
            if is_disabled(node):
                return None
            names = config["names"]
            group = config.get("group")
            role = (config.get("search") or {}).get("role")
            node |= {
                "name": "-".join([*names.values(), f"seed{config['seed']}"]),
                "group": group,
                "tags": [*names.values(), *([group] if group else []), *([role] if role else [])],
                "job_type": role or "train",
                "settings": {"silent": True, "init_timeout": 30},
            }
        try:
            return self._made(node)
        except Exception as error:  # no network, no account, no such package: whatever it is, the run goes on
            if not is_wandb(node) or node.get("mode") == "offline":
                warn(f"logger {node['_target_']} is left out: {one_line(error)[:200]}")
                return None
            warn(
                f"wandb cannot go online ({one_line(error)[:200]}); this run is kept offline: wandb sync sends it later"
            )
            return self._open_offline(node)

    def _open_offline(self, node: Mapping[str, Any]) -> Logger | None:
        try:
            return self._made({**node, "mode": "offline"})
        except Exception as error:
            warn(f"wandb is left out: {one_line(error)[:200]}")
            return None

    def _made(self, node: Mapping[str, Any]) -> Logger:
        logger: Logger = instantiate(OmegaConf.create(dict(node)), save_dir=str(self.run.resolve()), _convert_="all")
        _ = getattr(logger, "experiment", None)  # what is wrong with it shows here
        return logger

    def _do(self, what: Callable[[Logger], None]) -> None:
        if self._logger is None:
            return
        try:
            what(self._logger)
        except Exception as error:
            warn(f"logger {type(self._logger).__name__} failed and is left out from here: {one_line(error)[:200]}")
            left, self._logger = self._logger, None
            if isinstance(left, WandbLogger):  # left open, it would take in the next job of a sweep
                with suppress(Exception):
                    left.experiment.finish(exit_code=1)


def _described(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without what says nothing of the run."""
    return {key: value for key, value in config.items() if key not in ("logger", "hydra")}
