"""The logger of a run: Weights & Biases, TensorBoard or CSV. A logger that fails costs a warning, never the run.

A run that is resumed goes on in the same run of Weights & Biases: `wandb.json` in the run's folder keeps the id of that run, and
the last row of the curve that was sent.
"""

import re
import secrets
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
from benchmarks.records.files import SCHEMA, RecordError, write_json
from benchmarks.records.json_files import read_json
from benchmarks.records.logger_choice import is_disabled, is_wandb
from benchmarks.records.paths import PICTURES
from benchmarks.records.runs import ScoreSheet
from benchmarks.records.schemas import WandbRun
from benchmarks.training.configure import RunConfig


class Tracker:
    """Sends a run's configuration, curve, pictures and final scores to the run's logger, which writes into its folder."""

    def __init__(self, config: RunConfig) -> None:
        self.run = config.path
        self._logger: Logger | None = None
        self._sent = _Sent(self.run)
        if config.parts.logger.get("_target_"):
            self._logger = self._open(dict(config.parts.logger), config)
            self._do(lambda logger: logger.log_hyperparams(_described(config)))

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.close(failed=error is not None)

    def log(self, row: Mapping[str, float | None]) -> None:
        """Logs a row of the curve, at the number of images shown. A resumed run of wandb has the rows from before already."""
        known = {key: value for key, value in row.items() if value is not None}
        images = int(known["images"])

        def send(logger: Logger) -> None:
            if not isinstance(logger, WandbLogger):
                logger.log_metrics(known, step=images)
            elif images > self._sent.images:
                logger.log_metrics(known, step=images)
                self._sent.note(images)

        self._do(send)

    def log_pictures(self, step: int) -> None:
        """Logs the pictures that lie beside the run's record."""

        def send(logger: Logger) -> None:
            for file in PICTURES.values():
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
        """Logs the final scores under the name of their protocol, in the logger's summary if it has one."""
        values = {f"{sheet.protocol['name']}/{s.name}": s.value for s in sheet.scores if s.value is not None}

        def send(logger: Logger) -> None:
            if isinstance(logger, WandbLogger):
                logger.experiment.summary.update({**values, f"{sheet.protocol['name']}/protocol_id": sheet.protocol_id})
            else:
                logger.log_metrics(values, step=step)

        self._do(send)

    def close(self, failed: bool = False) -> None:
        """Ends the logger's run. wandb would add the next job of a sweep to a run that is left open."""

        def end(logger: Logger) -> None:
            logger.finalize("failed" if failed else "success")
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=1 if failed else 0)

        self._do(end)
        self._logger = None

    def _open(self, node: dict[str, Any], config: RunConfig) -> Logger | None:
        if is_wandb(node):
            if is_disabled(node):
                return None
            group, role = config.group, (config.search or {}).get("role")
            node |= {
                "name": "-".join([*config.names, f"seed{config.seed}"]),
                "group": group,
                "tags": [*config.names, *([group] if group else []), *([role] if role else [])],
                "job_type": role or "train",
                "id": self._sent.id,
                "resume": "allow",
                "settings": {"silent": True, "init_timeout": 30},
            }
        try:
            return self._create(node)
        except Exception as error:  # no network, no account, no such package: the run goes on without the logger
            if not is_wandb(node) or node.get("mode") == "offline":
                warn(f"logger {node['_target_']} is left out: {one_line(error)[:200]}")
                return None
            warn(
                f"wandb cannot go online ({one_line(error)[:200]}); this run is kept offline: wandb sync sends it later"
            )
            return self._open_offline(node)

    def _open_offline(self, node: Mapping[str, Any]) -> Logger | None:
        try:
            return self._create({**node, "mode": "offline"})
        except Exception as error:
            warn(f"wandb is left out: {one_line(error)[:200]}")
            return None

    def _create(self, node: Mapping[str, Any]) -> Logger:
        logger: Logger = instantiate(OmegaConf.create(dict(node)), save_dir=str(self.run.resolve()), _convert_="all")
        _ = getattr(logger, "experiment", None)  # opens the logger now, so that its errors come now
        return logger

    def _do(self, what: Callable[[Logger], None]) -> None:
        if self._logger is None:
            return
        try:
            what(self._logger)
        except Exception as error:
            warn(f"logger {type(self._logger).__name__} failed; the run goes on without it: {one_line(error)[:200]}")
            failed, self._logger = self._logger, None
            if isinstance(failed, WandbLogger):  # wandb would add the next job of a sweep to an open run
                with suppress(Exception):
                    failed.experiment.finish(exit_code=1)


class _Sent:
    """What a run has sent to wandb.

    Args:
        run: the folder of the run.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / "wandb.json"
        self.id, self.images = secrets.token_hex(8), 0
        if not self.path.is_file():
            return
        try:
            kept = read_json(self.path, WandbRun)
        except RecordError as error:
            warn(f"{one_line(error)}; the run is a new run of wandb")
            return
        if re.fullmatch("[0-9a-f]{16}", str(kept["id"])) and isinstance(kept["images"], int):
            self.id, self.images = str(kept["id"]), kept["images"]

    def note(self, images: int) -> None:
        self.images = images
        write_json(self.path, {"schema": SCHEMA, "id": self.id, "images": images})


def _described(config: RunConfig) -> dict[str, Any]:
    """The configuration without the parts that do not describe the run."""
    return {key: value for key, value in config.document.items() if key not in ("logger", "hydra")}
