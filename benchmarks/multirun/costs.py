"""Measures the speeds of rows in turns, so that other work on the machine slows each row alike.

Costs of jobs that trained side by side are not comparable: each job slows the others by as much as it uses of caches and of
memory. So new models of the same configurations train for some seconds each, one after another: first one run of each row, then a
second run of each row, and so on, data set by data set. One measurement has one id, and only speeds of one id are compared.
"""

import secrets
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch

from benchmarks.errors import UserError
from benchmarks.multirun.replay import recorded_config
from benchmarks.records.checks import check_data
from benchmarks.records.runs import Run
from benchmarks.records.schemas import Environment, MeasuredCosts
from benchmarks.scoring.restore import load_data, load_model, set_threads, use_float32
from benchmarks.training.configure import RunConfig
from benchmarks.training.neighbours import Others
from benchmarks.training.record import environment
from benchmarks.training.run import silence_lightning
from benchmarks.training.speed import clock, sampling_speed, training_speed


def in_turns(runs: Sequence[Run]) -> list[Run]:
    """One run of each row, then a second one of each row, and so on, of one data set after another.

    The runs of each row are spread evenly over the whole time of its data set: rows with more seeds than others do not come last
    alone, when the machine may be busier.
    """
    rows = defaultdict[tuple[str, str, str, str], list[Run]](list)
    for run in sorted(runs, key=lambda run: int(run.record["seed"])):
        names = run.record["names"]
        rows[names["datamodule"], str(run.record["data"].get("id")), names["model"], run.record["config_id"]].append(
            run
        )
    turns = [(key[:2], (2 * i + 1) / len(row), key, i) for key, row in rows.items() for i in range(len(row))]
    return [rows[key][i] for _, _, key, i in sorted(turns)]


class Meter:
    """Measures the speeds of runs, with one id for all of them.

    Args:
        seconds: of training and of sampling each, for each run.
        data_dir: the folder of the data; None for the default of the programs.
        folder: the folder of images, for runs on such a folder.
        trust: packages whose classes the user trusts besides genbench's own.
    """

    def __init__(self, seconds: float, data_dir: str | None, folder: str | None, trust: Sequence[str]) -> None:
        silence_lightning()
        use_float32()
        self.seconds, self.data_dir, self.folder, self.trust = seconds, data_dir, folder, trust
        self.id = secrets.token_hex(4)
        self._threads = torch.get_num_threads()
        self._data: tuple[str, Any] | None = None

    def measure(self, run: Run) -> MeasuredCosts:
        """Trains a new model of a run's configuration and draws from it, for some seconds.

        Raises:
            UserError: for a run of several devices, a record that names untrusted classes, or a device that is not here.
            RecordError: for data that differ from the record's.
        """
        with TemporaryDirectory() as scratch:
            config = recorded_config(run, Path(scratch), self.data_dir, None, self.trust, self.folder)
            if not config.has_one_process:
                raise UserError(f"{run.path} was trained on several devices; costs are measured on one")
            set_threads(config.threads or self._threads)  # not the number of the run before
            data = self._load(run, config)
            others = Others()
            others.start()
            start = time.perf_counter()
            training = training_speed(config, data, self.seconds)
            model = load_model(config.parts.model).to(config.device)
            sampling = sampling_speed(model, seconds=self.seconds, clock=clock)
            others.stop()
        busy = None if others.seconds is None else others.seconds / (time.perf_counter() - start)
        return {
            "schema": 1,
            "config_id": run.record["config_id"],
            "seed": run.record["seed"],
            "together": self.id,
            "images_per_second": training,
            "sampling_images_per_second": sampling,
            "seconds": self.seconds,
            "neighbours": None if busy is None else round(busy, 3),
            "environment": cast(Environment, environment(torch.device(config.device))),
            "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def _load(self, run: Run, config: RunConfig) -> Any:
        """The data of a run; those of the run before it, if they are the same."""
        key = repr(config.parts.datamodule)
        if self._data is None or self._data[0] != key:
            self._data = key, load_data(config.parts.datamodule)
        check_data(run, self._data[1].info.id)
        return self._data[1]
