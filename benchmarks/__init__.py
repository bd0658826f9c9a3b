"""What is measured: the programs, the records they write, and the metrics; and a small interface for Python and notebooks.

    import benchmarks

    run = benchmarks.load("runs/digits/vae/4c8104c8/seed=0")
    run.model.sample(16)                  # a tensor in the data's range
    run.scores["fid"]                     # a number, or None; run.why("ais") says why
    run.data.splits["test"]               # the examples, uint8 (N, C, H, W)
    run.show("traversals")                # a PIL image
    benchmarks.score(model, "mnist")      # the sheet of a model of your own
    benchmarks.leaderboard("runs")        # a pandas frame

Importing benchmarks imports neither torch nor pandas: each function imports what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.signals import guard_imports

if TYPE_CHECKING:
    import pandas
    from PIL import Image
    from torch import Tensor

    from benchmarks.notebook.loaded import LoadedRun
    from benchmarks.records.runs import ScoreSheet
    from datamodules.base import DataModule
    from models.contracts import Prior

# here, because every program imports this file first
guard_imports()

__all__ = ["data", "leaderboard", "load", "score", "show", "verdicts"]


def load(
    run: str | Path, data_dir: str | None = None, trust: Sequence[str] = (), folder: str | Path | None = None
) -> LoadedRun:
    """A run with its model, its data, its scores and its pictures, each read when it is asked for.

    Args:
        run: the run's folder, or a folder or glob with a single run.
        data_dir: the folder of the data; None for `DATA_DIR`, or `data`.
        trust: packages of your own whose classes the run's configuration may name.
        folder: the folder of images that `run.data` reads, for a run on such a folder.

    Raises:
        UserError: for no run, or several.
    """
    from benchmarks.notebook.loaded import load_run

    return load_run(run, data_dir, trust, folder)


def score(
    model: Any,
    datamodule: str,
    protocol: str = "quick",
    *,
    name: str | None = None,
    record: str | Path | None = None,
    about: Mapping[str, Any] | str | Path | None = None,
    seed: int = 0,
    prior: str | Prior = "normal",
    latent_dim: int | None = None,
    layout: str | None = None,
    range: tuple[float, float] | None = None,
    accelerator: str = "auto",
    overrides: Sequence[str] = (),
) -> ScoreSheet:
    """Scores an object that has some of sample, decode, encode, reconstruct and log_prob.

    sample(n) or sample(n, generator) -> (n, ...); decode(z), (B, Z) -> (B, ...), differentiable for latent inversion and AIS;
    encode(x), (B, ...) -> (B, Z); reconstruct(x), (B, ...) -> (B, ...), the decoded code if it is missing; log_prob(x),
    (B, ...) -> (B,), in nats. The x that the object gets is float32 in [0, 1], (B, C, H, W), or (B, D) for points.

    Args:
        model: the object. A torch module is scored in evaluation mode, where it is.
        datamodule: the name of the data, as in conf/datamodule.
        protocol: the name of the protocol, as in conf/protocol.
        name: of the row in leaderboards; needed with `record`.
        record: the folder of runs where a record is written; None writes nothing.
        about: what is known of its training: a mapping, or the path of a yaml; docs/own_models.md has the keys.
        seed: of its training, if a row has several.
        prior: of its latents: "normal", "uniform" (on [-1, 1]), or an object of `models.contracts.Prior`.
        latent_dim: of its latents, if neither the object nor its codes tell.
        layout: of its images, NCHW, NHWC or NHW; None finds it.
        range: its values of black and white; None finds them among (0, 1), (-1, 1) and (0, 255).
        accelerator: where features are computed: auto, cpu or gpu.
        overrides: further words of the evaluate program, such as "protocol.samples=500".

    Returns:
        The sheet; `sheet.values` has the numbers by name, None where there is none.

    Raises:
        UserError: for an object without any of the methods, or whose outputs do not fit the data.
    """
    from benchmarks.external.scoring import score_object
    from benchmarks.notebook.configs import compose_config

    config = compose_config(datamodule, protocol, [f"accelerator={accelerator}", *overrides])
    folder = None if record is None else Path(record)
    return score_object(model, config, name, folder, about, seed, prior, latent_dim, layout, range)


def leaderboard(
    runs: str | Path | Sequence[str] = "runs", *, min_seeds: int = 5, long: bool = False
) -> pandas.DataFrame:
    """The leaderboard of the runs at or below a folder: one line for each row of each table.

    Args:
        runs: a run, a folder, a glob, or a list of them.
        min_seeds: rows with fewer finished seeds get no interval and no rank.
        long: one line for each row and column instead, with mean, deviation, interval, rank and reason.

    Returns:
        A frame with the columns datamodule, network, protocol, row, seeds, and the mean of each score over seeds, NaN where there
        is none.

    Raises:
        UserError: without pandas, or without runs.
    """
    from benchmarks.notebook.frames import leaderboard_frame

    return leaderboard_frame(runs, min_seeds, long)


def verdicts(
    runs: str | Path | Sequence[str] = "runs", *, claims: str | Path | None = None, min_seeds: int = 5
) -> pandas.DataFrame:
    """The verdict on each claim: claim, where, verdict, effect, reason.

    Args:
        runs: a run, a folder, a glob, or a list of them.
        claims: a folder of claims, one yaml each; None for genbench's own.
        min_seeds: rows with fewer finished seeds get no verdict.

    Raises:
        UserError: without pandas, without runs, or for files that are not claims.
    """
    from benchmarks.notebook.frames import verdicts_frame

    return verdicts_frame(runs, claims, min_seeds)


def data(datamodule: str, overrides: Sequence[str] = ()) -> DataModule:
    """A data set as models are scored on it: `splits` has uint8 (N, C, H, W) or float32 (N, D) by train, val and test.

    Args:
        datamodule: its name, as in conf/datamodule.
        overrides: such as "datamodule.binarize=fixed".

    Raises:
        DataError: for data that are missing or damaged.
    """
    from benchmarks.notebook.configs import compose_config
    from benchmarks.scoring.restore import load_data

    return load_data(compose_config(datamodule, "quick", overrides)["datamodule"])


def show(images: Tensor, columns: int = 8) -> Image.Image:
    """A grid of images in [0, 1], (N, C, H, W), with `columns` images per row, enlarged without smoothing."""
    from benchmarks.training.pictures import image_grid

    return image_grid(images.detach().float().cpu(), columns)
