"""Scores a model under a protocol, and writes the scores of runs and of baseline rows."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.encoders.base import FeatureEncoder, load_encoder
from benchmarks.errors import UserError, one_line, warn
from benchmarks.metrics.base import Column, NonFinite, Ruler, Subject, Value, seeded
from benchmarks.records.columns import under_second
from benchmarks.records.examples import Examples, write_examples
from benchmarks.records.files import digest, finite_or_none
from benchmarks.records.paths import baselines_path
from benchmarks.records.runs import Score, ScoreSheet, read_sheets, write_sheet
from benchmarks.records.schemas import MOST_VALUE
from benchmarks.scoring.baselines import baseline_subjects
from benchmarks.scoring.feature_cache import cached_features
from benchmarks.scoring.protocol import Protocol as ScoringProtocol
from benchmarks.scoring.reuse import Earlier
from datamodules.base import DataModule

# called with the name of each metric and the seconds it took
OnMeasured = Callable[[str, float], None]


class Scorable(Protocol):
    """A model in whatever state; `scoring` holds it in the state in which it is scored."""

    def scoring(self) -> AbstractContextManager[None]: ...


class Scored(NamedTuple):
    """A score sheet, and the values by example, (n,), of its scores that are means over examples."""

    sheet: ScoreSheet
    examples: Mapping[str, NDArray[np.float64] | Examples]


class _Outcome(NamedTuple):
    """The values of a metric, or the reason why it has none."""

    values: Mapping[str, Value | str]
    reason: str | None
    diverged: bool = False
    broke_down: bool = False


class Scorer:
    """A protocol on a device, with its feature encoder.

    Args:
        protocol: how to score.
        device: where to score.
        strict: whether a missing encoder is an error. Otherwise the cells that need the encoder give the reason.

    Raises:
        UserError: in strict mode, for a missing encoder.
    """

    def __init__(self, protocol: ScoringProtocol, device: torch.device, strict: bool = False) -> None:
        self.protocol, self.device = protocol, device
        self._encoder: FeatureEncoder | None = None
        self._why_no_encoder = "the data have no feature encoder; set protocol.encoder"
        if protocol.encoder is not None:
            try:
                self._encoder = load_encoder(protocol.encoder, protocol.encoder_weights, device)
            except UserError as error:
                if strict:
                    raise
                self._why_no_encoder = one_line(error)
        second = protocol.second_encoder
        self._second = load_encoder(second, protocol.encoder_weights, device) if second is not None else None
        described = {k: v for k, v in protocol.described.items() if k != "encoder_weights"}
        checksums = {"encoder_checksum": self._encoder, "second_encoder_checksum": self._second}
        self.described = described | {
            **{name: encoder.checksum[:16] if encoder else None for name, encoder in checksums.items()},
            "versions": {name: ruler.version for name, ruler in protocol.metrics.items()},
        }
        self.id = digest({k: v for k, v in self.described.items() if k != "name"})

    def is_done(self, run: Path) -> bool:
        """Whether the run has a complete sheet of this protocol. A sheet in which a metric broke down is incomplete."""
        whole = [sheet for sheet in read_sheets(run) if not any("broke_down" in score.detail for score in sheet.scores)]
        return any(sheet.protocol_id == self.id for sheet in whole)

    def score(self, model: Any, data: DataModule, on_measured: OnMeasured | None = None) -> ScoreSheet:
        """Measures every column of the protocol.

        A metric that fails leaves the reason in its own cells; the other metrics are still measured.
        """
        return self.measure(model, data, on_measured).sheet

    def measure(
        self, model: Any, data: DataModule, on_measured: OnMeasured | None = None, scored_before: Path | None = None
    ) -> Scored:
        """As `score`, with the values by example of the scores that are means over examples.

        Args:
            model: scored.
            data: on which.
            on_measured: called after each metric that is measured.
            scored_before: the run of the model. Scores that its sheets have, by the same version of a metric with the same
                settings, are taken over. None measures everything.
        """
        protocol, earlier = self.protocol, Earlier(scored_before, self.described)
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
        second = subject.under(self._get_second)
        scores: list[Score] = []
        examples: dict[str, NDArray[np.float64] | Examples] = {}
        diverged = False
        for name, ruler in protocol.metrics.items():
            twice = ruler.needs_features and self._second is not None
            if known := earlier.known(name, [*ruler.columns, *(map(under_second, ruler.columns) if twice else ())]):
                scores += known.scores
                examples |= known.examples
                continue
            start = time.perf_counter()
            outcomes = [(_measure(name, ruler, subject), ruler.columns)]
            if twice:
                # an encoder that is its own second opinion has equal scores, which are not measured twice
                is_same = protocol.second_encoder == protocol.encoder
                outcome = outcomes[0][0] if is_same else _measure(name, ruler, second)
                outcomes.append((outcome, tuple(map(under_second, ruler.columns))))
            for outcome, columns in outcomes:
                diverged |= outcome.diverged
                for own, column in zip(ruler.columns, columns, strict=True):
                    value = outcome.values.get(own.name)
                    scores.append(_score(column, value, outcome.reason, outcome.broke_down))
                    if isinstance(value, Value) and value.by_example:
                        examples[column.name] = np.array(value.by_example)
            if on_measured is not None:
                on_measured(name, time.perf_counter() - start)
        return Scored(ScoreSheet(self.described, self.id, "diverged" if diverged else "scored", scores), examples)

    def _get_encoder(self) -> FeatureEncoder:
        if self._encoder is None:
            raise UserError(self._why_no_encoder)
        return self._encoder

    def _get_second(self) -> FeatureEncoder:
        assert self._second is not None
        return self._second


def make_scorer(protocol: Mapping[str, Any], feature_encoder: str | None, device: torch.device) -> Scorer:
    """The scorer of a `protocol` group.

    An encoder that is asked for by name must exist; the data set's own encoder may be missing.
    """
    return Scorer(ScoringProtocol.from_config(protocol, feature_encoder), device, strict=protocol["encoder"] != "auto")


def score_run(
    run: Path,
    model: Scorable,
    data: DataModule,
    scorer: Scorer,
    on_measured: OnMeasured | None = None,
    reuse: bool = False,
) -> ScoreSheet:
    """Scores a model and writes the sheet into the model's run. `reuse` takes over what the run's sheets have already."""
    with model.scoring():
        sheet, examples = scorer.measure(model, data, on_measured, run if reuse else None)
    # the sheet comes last: a run that has the sheet is scored
    write_examples(run / "scores" / sheet.filename, examples)
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


def _measure(name: str, ruler: Ruler, subject: Subject) -> _Outcome:
    """The values of a metric, or why it has none."""
    try:
        with seeded(subject.seed, name):
            reason = ruler.why_not(subject)
            return _Outcome({} if reason else ruler.measure(subject), reason)
    except NonFinite as error:
        return _Outcome({}, one_line(error), diverged=True)
    except (UserError, ValueError) as error:  # the metric's message about these inputs
        return _Outcome({}, one_line(error))
    except Exception as error:  # an unforeseen fault of one metric does not spoil the others' numbers
        return _Outcome({}, f"{type(error).__name__}: {one_line(error)}", broke_down=True)


def _score(column: Column, value: Value | str | None, reason: str | None, broke_down: bool) -> Score:
    if value is None or isinstance(value, str):
        detail: dict[str, Any] = {"reason": value or reason or "does not apply"}
        if broke_down:
            detail["broke_down"] = True
        return Score(column.name, None, column.unit, column.higher_is_better, 0, detail)
    number = finite_or_none(value.value)
    detail = _strict(value.detail)
    if number is None or abs(number) > MOST_VALUE:  # statistics could not square it
        number, detail["reason"] = None, f"is {value.value:g}"
    return Score(column.name, number, column.unit, column.higher_is_better, value.n, detail)


def _strict(node: Any) -> Any:
    """The same value with None in place of NaN and infinities, which strict JSON does not have."""
    if isinstance(node, Mapping):
        return {key: _strict(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_strict(value) for value in node]
    return finite_or_none(node) if isinstance(node, float) else node
