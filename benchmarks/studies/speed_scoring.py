"""The step that measures what scoring a run costs, metric by metric."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import pytorch_lightning as pl
import torch

from benchmarks.metrics.base import Ruler
from benchmarks.scoring.protocol import Protocol
from benchmarks.scoring.restore import load_data, load_model
from benchmarks.scoring.scorer import Scorer
from benchmarks.studies.ledger import Step, Tables
from benchmarks.studies.loops import bare
from benchmarks.studies.place import Place, Target
from benchmarks.studies.speed_loops import configured
from benchmarks.training.speed import clock
from datamodules.base import DataModule
from models.game import GenerativeModel

# of the training before: what scoring costs hardly depends on it
IMAGES = 30_000
# metrics that ask for everything that the cache keeps of the data
CACHING = ("fid", "memorisation")


def scoring(place: Place, targets: Sequence[Target]) -> list[Step]:
    """Every metric of the protocol `standard`, after a short training."""
    seconds = {"mlp": 300.0}
    return [
        Step(
            f"scoring-{t.network}-{t.model}",
            f"scoring {t.network}",
            seconds.get(t.network, 900.0),
            partial(_scoring, place, t),
        )
        for t in targets
    ]


def _scoring(place: Place, target: Target) -> Tables:
    config = configured(place, target, "protocol=standard")
    pl.seed_everything(0, verbose=False)
    model, data = load_model(config.parts.model), load_data(config.parts.datamodule)
    play, cycle = bare(model, data, torch.device("cpu"), "bare eager")
    for _ in range(1 if place.is_tiny else IMAGES // cycle):
        play()
    protocol = Protocol.from_config(config.parts.protocol, config.feature_encoder)
    few = replace(protocol, metrics={name: protocol.metrics[name] for name in CACHING if name in protocol.metrics})
    before = os.environ.get("GENBENCH_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GENBENCH_CACHE"] = folder
        try:
            cold, warm = (sum(_seconds(few, model, data).values()) for _ in range(2))
            by_metric = _seconds(protocol, model, data)
        finally:
            if before is None:
                del os.environ["GENBENCH_CACHE"]
            else:
                os.environ["GENBENCH_CACHE"] = before
    without = sum(seconds for name, seconds in by_metric.items() if name != "ais")
    row = {"features of the data": cold - warm, **by_metric, "all but ais": without}
    return {"Seconds of scoring": [{**target.row, **row}]}


def _seconds(protocol: Protocol, model: GenerativeModel, data: DataModule) -> Mapping[str, float]:
    """Seconds of each metric that applies. The first metric that needs samples, or features of samples, makes them."""
    seconds, last = dict[str, float](), clock()

    def note(name: str, _: float) -> None:
        nonlocal last
        now = clock()
        seconds[name], last = now - last, now

    with model.scoring():
        scorer = Scorer(protocol, torch.device("cpu"))
        last = clock()
        sheet = scorer.score(model, data, note)
    applies = {score.name for score in sheet.scores if score.value is not None}
    return {name: value for name, value in seconds.items() if _names(protocol.metrics[name]) & applies}


def _names(ruler: Ruler) -> set[str]:
    return {column.name for column in ruler.columns}
