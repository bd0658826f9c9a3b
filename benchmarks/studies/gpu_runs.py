"""The steps that train and score runs on this machine: whether everything works, what scoring costs, the published table."""

import contextlib
import io
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.errors import UserError
from benchmarks.multirun.replay import replay
from benchmarks.records.checkpoints import previous_path
from benchmarks.records.paths import RECORD, checkpoint_path
from benchmarks.records.runs import Score, ScoreSheet, read_record, read_run, sha256_of
from benchmarks.scoring.restore import load_data, load_trained
from benchmarks.scoring.scorer import make_scorer
from benchmarks.studies.gpu_busy import watched
from benchmarks.studies.ledger import Row, Step, Tables
from benchmarks.studies.place import CHEAP, FAMILIES, NETWORKS, SHORT, Place
from benchmarks.training.configure import RunConfig, configure_words
from benchmarks.training.run import train_and_score

TINY_METRICS = ("reconstruction", "fid")
# 15,625 steps of the critic on minibatches of 64 (Lucic et al. 2018, as /docs/gpu.md quotes it)
PUBLISHED_IMAGES = 15_625 * 64
# scores with random draws on the device, or with a search: another device draws and rounds otherwise
DRAWN = ("elbo", "iwae", "ais", "bits", "posterior", "fid_fitted", "moments", "shape", "inversion", "auroc")


def works(place: Place) -> list[Step]:
    """Every family trains, resumes, scores and replays, under each network and precision; determinism."""
    families = ("vae", "wgan_gp") if place.is_tiny else FAMILIES
    networks = ("mlp",) if place.is_tiny else tuple(NETWORKS)
    steps = [
        Step(f"works-{network}-{family}-{precision}", "works", 20.0, partial(_works, place, family, network, precision))
        for precision in ("32-true", "bf16-mixed")
        for network in networks
        for family in families
    ]
    determinism = [
        Step(f"determinism-{family}", "determinism", 8.0, partial(_determinism, place, family))
        for family in families[::2]
    ]
    # of the tiny steps, one of each kind
    return [*steps[2:3], *determinism[:1]] if place.is_tiny else [*steps, *determinism]


def _works(place: Place, family: str, network: str, precision: str) -> Tables:
    work = empty(place.folder / "work" / f"{network}-{family}-{precision}")
    words = [f"model={family}", "datamodule=noise", f"network={network}", *NETWORKS[network], *SHORT, *CHEAP]
    words += [place.trainer, f"trainer.precision={precision}"]
    config = _train(place.words(*words), work / "whole")
    record = read_record(config.path) or {}
    with contextlib.redirect_stdout(io.StringIO()):
        run = read_run(config.path)
        assert run is not None
        is_reproduced = replay(run, work / "again", os.environ.get("DATA_DIR"))
    replayed = read_run(work / "again" / config.path.relative_to(work / "whole"))
    at_hand, on_cpu = run.sheets[0], _score(config, torch.device("cpu"))
    labels = {"model": family, "network": network, "precision": precision}
    row = {
        **labels,
        "loop": record.get("loop"),
        "images/s": record["cost"]["images_per_second"],
        "peak memory, MiB": record["cost"]["peak_memory_bytes"] / 2**20,
        "largest weight difference after resuming": difference(config.path, _resumed(config, work / "cut")),
        "after a replay": difference(config.path, work / "again" / config.path.relative_to(work / "whole")),
        # a row of one seed has no spread that a replay could be judged by
        "scores equal after a replay": _equal(at_hand, replayed.sheets[0] if replayed is not None else None),
        "replay says reproduced": is_reproduced,
    }
    tables: Tables = {
        "It works": [row],
        "The same checkpoint scored on this device and on its CPU": _agreement(labels, at_hand, on_cpu),
    }
    shutil.rmtree(work)
    return tables


def _determinism(place: Place, family: str) -> Tables:
    """Two runs of one seed, with deterministic algorithms and without."""
    try:
        return _determinism_rows(place, family)
    finally:
        torch.use_deterministic_algorithms(False)


def _determinism_rows(place: Place, family: str) -> Tables:
    rows = []
    for is_deterministic in (False, True):
        work = empty(place.folder / "work" / f"determinism-{family}")
        words = [f"model={family}", "datamodule=noise", "network=dcgan", *SHORT, *CHEAP, place.trainer]
        words = place.words(*words, f"+trainer.deterministic={str(is_deterministic).lower()}")
        one, other = (_train(words, work / name) for name in ("one", "other"))
        record = read_record(one.path) or {}
        row = {"model": family, "deterministic": is_deterministic, "images/s": record["cost"]["images_per_second"]}
        rows.append({**row, "largest weight difference of two runs": difference(one.path, other.path)})
        shutil.rmtree(work)
    return {"What trainer.deterministic=true buys": rows}


def scoring(place: Place) -> list[Step]:
    """The time of each metric of `full` for one model with an encoder and one without."""
    with contextlib.suppress(UserError):
        names = TINY_METRICS if place.is_tiny else tuple(_full(place, "vae").parts.protocol["metrics"])
        families = ("vae",) if place.is_tiny else ("vae", "gan")
        slow = ("ais", "inversion", "iwae", "fitted_fid", "neighbours")
        return [
            Step(
                f"scoring-{f}-{name}",
                f"scoring {name}",
                60.0 if name in slow else 10.0,
                partial(_metric, place, f, name),
            )
            for f in families
            for name in names
        ]
    return []


def _full(place: Place, family: str) -> RunConfig:
    words = [
        *place.images(),
        f"model={family}",
        "network=dcgan",
        "budget.amount=128000",
        "protocol=full",
        place.trainer,
    ]
    return configure_words([*place.words(*words), f"runs_dir={place.folder / 'work' / 'scored'}"])


def _metric(place: Place, family: str, name: str) -> Tables:
    config = _full(place, family)
    protocol = config.parts.protocol
    one = {**protocol, "metrics": {name: protocol["metrics"][name]}}
    config = config.changed(protocol={**protocol, "metrics": {}})  # trained and not scored
    train_and_score(config)
    device, seconds = torch.device(place.device), dict[str, float]()
    model, data = load_trained(config.path, config.parts.model, device), load_data(config.parts.datamodule)
    with model.scoring():
        sheet = make_scorer(one, config.feature_encoder, device).score(model, data, seconds.__setitem__)
    reasons = {str(score.detail["reason"]) for score in sheet.scores if score.value is None}
    row = {"model": family, "data": data.name, "metric": name, "samples": protocol["samples"], "seconds": seconds[name]}
    return {
        "Scoring under protocol=full": [{**row, "cells without a number": "; ".join(sorted(reasons))[:200] or None}]
    }


def published(place: Place) -> list[Step]:
    """Lucic's protocol: every family, five seeds, MNIST and then Fashion-MNIST. Runs that are cut off go on next time."""
    seeds, data = (range(1), ("mnist",)) if place.is_tiny else (range(5), ("mnist", "fashion_mnist"))
    return [
        Step(
            f"published-{name}-{family}-{seed}",
            f"published {family}",
            40.0,
            partial(_published, place, name, family, seed),
            goes_on=True,
        )
        for name in data
        for seed in seeds
        for family in (FAMILIES[-1:] if place.is_tiny else FAMILIES)
    ]


def _published(place: Place, name: str, family: str, seed: int) -> Tables:
    words = [
        *place.images(name),
        f"model={family}",
        f"seed={seed}",
        "network=dcgan",
        f"budget.amount={PUBLISHED_IMAGES}",
    ]
    with watched() as busy:
        record, scores = recorded(place.words(*words, "protocol=standard", place.trainer), place.folder / "runs")
    row = {
        "data": record["names"]["datamodule"],
        "model": family,
        "seed": seed,
        "FID": scores.get("fid"),
        "loop": record["loop"],
    }
    row |= {"seconds": record["cost"]["train_seconds"], "images/s": record["cost"]["images_per_second"]}
    return {"Lucic's protocol": [{**row, "GPU busy, %": busy.percent}]}


def recorded(words: Sequence[str], runs_dir: Path) -> tuple[dict[str, Any], dict[str, float | None]]:
    """The record of a run that is trained and scored unless it is done, and its scores by name; none if it diverged.

    The checkpoint, which is large, is removed: the record alone replays the run.
    """
    config = configure_words([*words, f"runs_dir={runs_dir}"])
    outcome = train_and_score(config)
    record, run = read_record(config.path), read_run(config.path)
    if outcome.status == "failed" or record is None or run is None:
        raise RuntimeError(outcome.message)
    shutil.rmtree(checkpoint_path(config.path).parent, ignore_errors=True)
    return record, {score.name: score.value for sheet in run.sheets for score in sheet.scores}


def empty(folder: Path) -> Path:
    """The folder, without what a step left there that failed or was stopped."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _train(words: Sequence[str], runs_dir: Path) -> RunConfig:
    config = configure_words([*words, f"runs_dir={runs_dir}"])
    outcome = train_and_score(config)
    if outcome.status != "finished":
        raise RuntimeError(outcome.message)
    return config


def _resumed(config: RunConfig, runs_dir: Path) -> Path:
    """The run again, from the checkpoint before its last one."""
    run = runs_dir / config.path.relative_to(config.runs_dir)
    shutil.rmtree(runs_dir, ignore_errors=True)
    shutil.copytree(config.path, run)
    (run / RECORD).unlink()
    checkpoint_path(run).unlink()
    assert previous_path(checkpoint_path(run)).is_file()
    train_and_score(config.changed(runs_dir=str(runs_dir)))
    return run


def _score(config: RunConfig, device: torch.device) -> ScoreSheet:
    record = read_record(config.path) or {}
    model, data = (
        load_trained(config.path, config.parts.model, device, sha256_of(record)),
        load_data(config.parts.datamodule),
    )
    protocol: Any = OmegaConf.to_container(OmegaConf.create(dict(config.parts.protocol)))
    with model.scoring():
        return make_scorer(protocol, config.feature_encoder, device).score(model, data)


def difference(run: Path, other: Path) -> float:
    """The largest difference of a weight between two runs' final checkpoints; 0 if they are equal to the bit."""
    a, b = (torch.load(checkpoint_path(r), map_location="cpu", weights_only=True)["state_dict"] for r in (run, other))
    pairs: list[tuple[Tensor, Tensor]] = [(value.double(), b[name].double()) for name, value in a.items()]
    return max(float((x - y).abs().max()) for x, y in pairs if x.numel())


def _equal(sheet: ScoreSheet, other: ScoreSheet | None) -> str:
    """How many scores of a sheet are equal to the bit in another."""
    others = {} if other is None else {score.name: score.value for score in other.scores}
    return f"{sum(others.get(s.name, 'none') == s.value for s in sheet.scores)} of {len(sheet.scores)}"


def _agreement(labels: Row, sheet: ScoreSheet, other: ScoreSheet) -> list[Row]:
    """One row for the score that differs most in units of its tolerance, and one for each score beyond it."""
    others = {score.name: score for score in other.scores}
    rows = []
    for score in sheet.scores:
        a, b = score.value, others[score.name].value
        if a is None or b is None:
            difference, allowed = float((a is None) != (b is None)), 0.5
        else:
            difference, allowed = abs(a - b), tolerance(score, others[score.name])
        row = {"score": score.name, "here": a, "on the CPU": b, "difference": difference, "tolerance": allowed}
        rows.append({**labels, "scores": len(sheet.scores), **row, "is within": difference <= allowed})
    rows.sort(key=lambda row: -row["difference"] / row["tolerance"])
    return [row for i, row in enumerate(rows) if i == 0 or not row["is within"]]


def tolerance(a: Score, b: Score) -> float:
    """A hundredth and 0.001 for scores of equal draws; for others six standard errors, or a fifth where there is none."""
    size = max(abs(a.value or 0.0), abs(b.value or 0.0))
    if not a.name.startswith(DRAWN):
        return 0.01 * size + 1e-3
    errors = [score.detail.get("standard_error") for score in (a, b)]
    known = [error for error in errors if error]
    return 6 * sum(error**2 for error in known) ** 0.5 + 0.01 * size if len(known) == 2 else 0.2 * size + 0.02
