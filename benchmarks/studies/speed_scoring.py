"""The steps that measure what scoring a run costs, metric by metric, and how a search of latents is shortened."""

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import pytorch_lightning as pl
import torch

from benchmarks.metrics.base import Ruler
from benchmarks.metrics.inversion import Inversion
from benchmarks.records.runs import ScoreSheet
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
# of the training before searches are compared: as many as in the published tables
SEARCHED = 200_000
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


def inversion(place: Place, targets: Sequence[Target]) -> list[Step]:
    """The search for the nearest decoded images under the protocol `standard`, beside one with three whole rounds."""
    return [
        Step(f"inversion-{t.network}-{t.model}", f"inversion {t.network}", 300.0, partial(_inversion, place, t))
        for t in targets
    ]


def _inversion(place: Place, target: Target) -> Tables:
    protocol, model, data = _trained(place, target, SEARCHED)
    standard = cast(Inversion, protocol.metrics["inversion"])
    whole = Inversion(standard.examples, standard.steps, standard.restarts, standard.learning_rate)
    mse, seconds, rounds = dict[str, float](), dict[str, float](), dict[str, int]()
    for name, ruler in {"standard": standard, "whole": whole}.items():
        spent, sheet = _scored(replace(protocol, metrics={"inversion": ruler}), model, data)
        scores = {score.name: score for score in sheet.scores}
        mse[name], seconds[name] = scores["inversion_mse"].value or math.nan, spent["inversion"]
        rounds[name] = scores["inversion_floor"].detail["rounds"]
    row = {
        "inversion MSE": mse["standard"],
        "times that of whole rounds": mse["standard"] / mse["whole"],
        "rounds": rounds["standard"],
        "whole rounds": rounds["whole"],
        "seconds": seconds["standard"],
        "times those of whole rounds": seconds["standard"] / seconds["whole"],
    }
    return {"Inversion": [{**target.row, **row}]}


def _scoring(place: Place, target: Target) -> Tables:
    protocol, model, data = _trained(place, target, IMAGES)
    few = replace(protocol, metrics={name: protocol.metrics[name] for name in CACHING if name in protocol.metrics})
    before = os.environ.get("GENBENCH_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GENBENCH_CACHE"] = folder
        try:
            cold, warm = (sum(_scored(few, model, data)[0].values()) for _ in range(2))
            by_metric, _ = _scored(protocol, model, data)
        finally:
            if before is None:
                del os.environ["GENBENCH_CACHE"]
            else:
                os.environ["GENBENCH_CACHE"] = before
    without = sum(seconds for name, seconds in by_metric.items() if name != "ais")
    row = {"features of the data": cold - warm, **by_metric, "all but ais": without}
    return {"Seconds of scoring": [{**target.row, **row}]}


def _trained(place: Place, target: Target, images: int) -> tuple[Protocol, GenerativeModel, DataModule]:
    """The protocol `standard`, and a model after some images, with its data."""
    config = configured(place, target, "protocol=standard")
    pl.seed_everything(0, verbose=False)
    model, data = load_model(config.parts.model), load_data(config.parts.datamodule)
    play, cycle = bare(model, data, torch.device("cpu"), "bare eager")
    for _ in range(1 if place.is_tiny else images // cycle):
        play()
    return Protocol.from_config(config.parts.protocol, config.feature_encoder), model, data


def _scored(protocol: Protocol, model: GenerativeModel, data: DataModule) -> tuple[Mapping[str, float], ScoreSheet]:
    """Seconds of each metric that applies, and the scores. The first metric that needs samples, or features of samples, makes
    them."""
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
    return {name: value for name, value in seconds.items() if _names(protocol.metrics[name]) & applies}, sheet


def _names(ruler: Ruler) -> set[str]:
    return {column.name for column in ruler.columns}
