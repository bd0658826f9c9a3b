"""A run from disk for Python and notebooks: what it holds is read when it is asked for."""

import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from types import MappingProxyType

import torch
from PIL import Image

from benchmarks.errors import UserError, one_line
from benchmarks.records.checks import check_data
from benchmarks.records.files import RecordError, read_bytes
from benchmarks.records.paths import PICTURES
from benchmarks.records.roots import folders_of, runs_below
from benchmarks.records.runs import Run, ScoreSheet, read_curve, sha256_of
from benchmarks.reporting.gallery import MOST_BYTES, MOST_PIXELS
from benchmarks.reporting.numbers import number
from benchmarks.scoring.restore import TrainedConfig, at_folders, load_data, load_trained, read_trained_config
from datamodules.base import DataModule
from models.game import GenerativeModel


class LoadedRun:
    """A run, or a row from elsewhere, which has scores and pictures alone.

    Args:
        run: with its record and sheets.
        data_dir: the folder of the data; None for the default of the programs.
        trust: packages whose classes the user trusts besides genbench's own.
        folder: the folder of images to read, for runs on such a folder.
    """

    def __init__(
        self, run: Run, data_dir: str | None = None, trust: Sequence[str] = (), folder: str | Path | None = None
    ) -> None:
        self.path, self.record = run.path, run.record
        self._run, self._data_dir, self._trust = run, data_dir, tuple(trust)
        self._folder = None if folder is None else str(folder)

    @property
    def sheets(self) -> list[ScoreSheet]:
        """The score sheets, one for each protocol."""
        return self._run.sheets

    @cached_property
    def scores(self) -> Mapping[str, float | None]:
        """The scores by name, of the protocol with the most samples; None where there is no number.

        Raises:
            UserError: for a run without scores.
        """
        return MappingProxyType(self._sheet.values)

    def why(self, score: str) -> str | None:
        """Why a score has no number; None for one that has.

        Raises:
            UserError: for a name that is no score of the run.
        """
        if score not in self.scores:
            raise UserError(f"{self.path} has no score {score!r}; it has {', '.join(self.scores)}")
        return next((s.detail.get("reason") for s in self._sheet.scores if s.name == score and s.value is None), None)

    @cached_property
    def data(self) -> DataModule:
        """The data of the run.

        Raises:
            RecordError: for other data than those of the record.
            UserError: for a run on a folder of images, if the run was loaded without a folder.
        """
        data = load_data(at_folders(self._config.datamodule, self._data_dir, folder=self._folder))
        check_data(self._run, data.info.id)
        return data

    @cached_property
    def model(self) -> GenerativeModel:
        """The trained model on the CPU, as it is scored: evaluation mode, averaged weights if there are any, frozen.

        Raises:
            UserError: for a row from elsewhere, or a checkpoint that is missing or damaged.
        """
        if self._run.is_external:
            raise UserError(f"{self.path} is a row from elsewhere: its scores are here, and its model is not")
        model = load_trained(self.path, self._config.model, torch.device("cpu"), sha256_of(self.record))
        return model.settled()

    @property
    def curve(self) -> list[dict[str, float]]:
        """Validation scores along the training: one dictionary for each point."""
        return read_curve(self.path)

    @property
    def pictures(self) -> list[str]:
        """The kinds of pictures that `show` has."""
        return [kind for kind, file in PICTURES.items() if (self.path / file).is_file()]

    def show(self, kind: str = "samples") -> Image.Image:
        """A picture of the run: samples, reconstructions, interpolations, code interpolations or traversals.

        Raises:
            UserError: for a picture that the run does not have.
        """
        if kind not in self.pictures:
            raise UserError(f"{self.path} has no picture {kind!r}; it has {', '.join(self.pictures) or 'none'}")
        path = self.path / PICTURES[kind]
        try:
            with Image.open(io.BytesIO(read_bytes(path, MOST_BYTES)), formats=("PNG",)) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise ValueError(f"it has {image.width} x {image.height} pixels")
                return image.convert("RGB")
        except Exception as error:  # a damaged picture raises many kinds of errors
            raise RecordError(f"{path} cannot be read ({one_line(error)}); restore it or move it away") from error

    def __repr__(self) -> str:
        return f"LoadedRun({self.path.as_posix()!r}, {self._run.status}, {len(self.sheets)} sheets)"

    def _repr_html_(self) -> str:
        """A table of the scores that have a number, for notebooks."""
        head = f"<b>{escape(self.path.as_posix())}</b>, {escape(self._run.status)}"
        if not self.sheets:
            return head
        cells = "".join(
            f"<tr><td>{escape(score.name)}</td><td>{number(score.value)}</td><td>{escape(score.unit)}</td></tr>"
            for score in self._sheet.scores
            if score.value is not None
        )
        return f"{head}<table><tr><th>{escape(str(self._sheet.protocol['name']))}</th><th></th><th></th></tr>{cells}</table>"

    @property
    def _sheet(self) -> ScoreSheet:
        if not self.sheets:
            raise UserError(f"{self.path} has no scores; python -m benchmarks.evaluate runs={self.path} makes some")
        return max(self.sheets, key=lambda sheet: sheet.protocol.get("samples") or 0)

    @cached_property
    def _config(self) -> TrainedConfig:
        if self._run.is_external:
            raise UserError(f"{self.path} is a row from elsewhere; benchmarks.data(NAME) has its data")
        return read_trained_config(self.path, self._trust)


def load_run(
    run: str | Path, data_dir: str | None = None, trust: Sequence[str] = (), folder: str | Path | None = None
) -> LoadedRun:
    """As `benchmarks.load`."""

    def refuse(error: RecordError) -> None:
        raise error

    # a folder of a glob may hold a run that was interrupted
    runs = runs_below(folders_of(str(run)), refuse)
    if len(runs) > 1:
        shown = ", ".join(str(found.path) for found in runs[:4])
        raise UserError(f"{run} holds {len(runs)} runs; name one of them: {shown}{', ...' * (len(runs) > 4)}")
    return LoadedRun(runs[0], data_dir, trust, folder)
