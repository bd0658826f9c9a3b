"""Scores a model under a protocol, and writes the scores of runs and of baseline rows."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.encoders.base import FeatureEncoder, load_encoder
from benchmarks.errors import UserError, one_line, warn
from benchmarks.metrics.base import Column, NonFinite, Subject, Value, seeded
from benchmarks.records.files import digest, finite_or_none
from benchmarks.records.paths import baselines_path
from benchmarks.records.runs import Score, ScoreSheet, read_sheets, write_sheet
from benchmarks.scoring.baselines import baseline_subjects
from benchmarks.scoring.feature_cache import cached_features
from benchmarks.scoring.protocol import Protocol
from datamodules.base import DataModule
from models.game import GenerativeModel

# told each metric's name and the seconds that it took
OnMeasured = Callable[[str, float], None]


class Scorer:
    """A protocol on a device, with its feature encoder.

    Args:
        protocol: how to score.
        device: where to score.
        strict: whether a missing encoder is an error. Otherwise the cells that need the encoder give the reason.

    Raises:
        UserError: in strict mode, for a missing encoder.
    """

    def __init__(self, protocol: Protocol, device: torch.device, strict: bool = False) -> None:
        self.protocol, self.device = protocol, device
        self._encoder: FeatureEncoder | None = None
        self._why_no_encoder = "the data has no feature encoder; set protocol.encoder"
        if protocol.encoder is not None:
            try:
                self._encoder = load_encoder(protocol.encoder, protocol.encoder_weights, device)
            except UserError as error:
                if strict:
                    raise
                self._why_no_encoder = one_line(error)
        described = {k: v for k, v in protocol.described.items() if k != "encoder_weights"}
        self.described = described | {"encoder_checksum": self._encoder.checksum[:16] if self._encoder else None}
        self.id = digest({k: v for k, v in self.described.items() if k != "name"})

    def is_done(self, run: Path) -> bool:
        """Whether the run has a complete sheet of this protocol. A sheet in which a metric broke down is incomplete."""
        whole = [sheet for sheet in read_sheets(run) if not any("broke_down" in score.detail for score in sheet.scores)]
        return any(sheet.protocol_id == self.id for sheet in whole)

    def score(self, model: Any, data: DataModule, on_measured: OnMeasured | None = None) -> ScoreSheet:
        """Measures every column of the protocol.

        A metric that fails leaves the reason in its own cells; the other metrics are still measured.
        """
        protocol = self.protocol
        subject = Subject(
            model,
            data,
            protocol.split,
            protocol.samples,
            protocol.examples,
            protocol.batch_size,
            protocol.seed,
            self.device,
            self._get_encoder,
            cached_features,
        )
        diverged = False
        scores: list[Score] = []
        for name, ruler in protocol.metrics.items():
            reason, broke_down = None, False
            values: Mapping[str, Value | str] = {}
            start = time.perf_counter()
            try:
                with seeded(protocol.seed, name):
                    reason = ruler.why_not(subject)
                    values = {} if reason else ruler.measure(subject)
            except NonFinite as error:
                diverged, reason = True, one_line(error)
            except (UserError, ValueError) as error:  # the metric's own words about these inputs
                reason = one_line(error)
            except Exception as error:  # an unforeseen fault of one metric does not spoil the others' numbers
                reason, broke_down = f"{type(error).__name__}: {one_line(error)}", True
            scores += [_score(column, values.get(column.name), reason, broke_down) for column in ruler.columns]
            if on_measured is not None:
                on_measured(name, time.perf_counter() - start)
        return ScoreSheet(self.described, self.id, "diverged" if diverged else "scored", scores)

    def _get_encoder(self) -> FeatureEncoder:
        if self._encoder is None:
            raise UserError(self._why_no_encoder)
        return self._encoder


def make_scorer(protocol: Mapping[str, Any], feature_encoder: str | None, device: torch.device) -> Scorer:
    """The scorer of a `protocol` group. An encoder that is asked for by name must exist; the data's own may be missing."""
    return Scorer(Protocol.from_config(protocol, feature_encoder), device, strict=protocol["encoder"] != "auto")


def score_run(
    run: Path, model: GenerativeModel, data: DataModule, scorer: Scorer, on_measured: OnMeasured | None = None
) -> ScoreSheet:
    """Scores a trained model and writes the sheet into the model's run."""
    with model.scoring():
        sheet = scorer.score(model, data, on_measured)
    write_sheet(run, sheet)
    return sheet


def score_baselines(runs_dir: Path, data: DataModule, scorer: Scorer) -> None:
    """Scores the baseline rows (real training data, noise) once for each data set and protocol."""
    folder = baselines_path(runs_dir, data.name, data.info.id)
    for row, make in baseline_subjects(data).items():
        if not scorer.is_done(folder / row):
            try:
                subject = make()
            except (RuntimeError, MemoryError) as error:  # too large for this machine; the table works without the row
                warn(f"the row {row!r} could not be made ({one_line(error)[:160]}); the table will be without it")
                continue
            write_sheet(folder / row, scorer.score(subject, data))


def _score(column: Column, value: Value | str | None, reason: str | None, broke_down: bool) -> Score:
    if value is None or isinstance(value, str):
        detail: dict[str, Any] = {"reason": value or reason or "does not apply"}
        if broke_down:
            detail["broke_down"] = True
        return Score(column.name, None, column.unit, column.higher_is_better, 0, detail)
    number = finite_or_none(value.value)
    detail = _strict(value.detail)
    if number is None:
        detail["reason"] = f"is {value.value}"
    return Score(column.name, number, column.unit, column.higher_is_better, value.n, detail)


def _strict(node: Any) -> Any:
    """The same value with None in place of NaN and infinities, which strict JSON does not have."""
    if isinstance(node, Mapping):
        return {key: _strict(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_strict(value) for value in node]
    return finite_or_none(node) if isinstance(node, float) else node
