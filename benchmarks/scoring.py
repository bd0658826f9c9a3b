"""Scores a run directory under a protocol. Nothing here trains."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from benchmarks.calibration import calibration_subjects
from benchmarks.encoders.base import FeatureEncoder, load_encoder, names
from benchmarks.errors import UserError, one_line, warn
from benchmarks.feature_cache import cached_features
from benchmarks.metrics.base import Column, NonFinite, Ruler, Subject, Value, seeded
from benchmarks.runs import (
    Score,
    ScoreSheet,
    calibration_path,
    digest,
    finite_or_none,
    read_config,
    read_sheets,
    write_sheet,
)
from datamodules.base import DataModule
from models.game import GenerativeModel

# what a run's configuration may name: a results folder is data, and must not be able to run what it likes
TRUSTED_PACKAGES = ("models.", "datamodules.", "torch.nn.", "torch.optim.")
# and, where it is trained and scored again, the rulers and Lightning's trainer
REPLAYED_PACKAGES = (
    *TRUSTED_PACKAGES,
    "benchmarks.metrics.",
    "pytorch_lightning.trainer.",
    "pytorch_lightning.Trainer",
)


@dataclass(frozen=True)
class Protocol:
    """How a run is scored. Two numbers are comparable if and only if their protocols' ids are equal.

    Args:
        name: its file's, in conf/protocol.
        split: the reference: test for reports, val for choosing.
        samples: drawn of each model for sample scores, exactly.
        examples: of the split that are read; None for all.
        batch_size: of every pass.
        seed: of every draw.
        encoder: the feature encoder's name; None where the data has none.
        encoder_weights: a local file of Inception's weights.
        metrics: the rulers, by name.
        described: the configuration all this came from.

    Raises:
        UserError: for numbers out of range, an unknown encoder, or weights with the wrong checksum.
    """

    name: str
    split: str
    samples: int
    examples: int | None
    batch_size: int
    seed: int
    encoder: str | None
    encoder_weights: str | None
    metrics: Mapping[str, Ruler]
    described: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.split not in ("train", "val", "test"):
            raise UserError(f"protocol.split is {self.split!r}; expected train, val or test")
        for key in ("samples", "examples", "batch_size"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"protocol.{key} is {value}; expected 1 or more")
        if self.encoder is not None and self.encoder not in names():
            raise UserError(f"protocol.encoder is {self.encoder!r}; expected auto or one of {', '.join(names())}")

    @classmethod
    def from_config(cls, config: Mapping[str, Any], feature_encoder: str | None) -> "Protocol":
        """From a composed `protocol` group; an encoder of "auto" is the data's own, `feature_encoder`."""
        described = {**config, "encoder": feature_encoder if config["encoder"] == "auto" else config["encoder"]}
        rulers = instantiate(OmegaConf.create({"metrics": described["metrics"]}), _convert_="all")["metrics"]
        return cls(**{**described, "metrics": rulers}, described=described)


class Scorer:
    """A protocol on a device, with its encoder.

    Args:
        protocol: how to score.
        device: where.
        strict: whether an encoder that cannot be had is an error, or a reason in the cells that needed it.

    Raises:
        UserError: in strict mode, where the encoder cannot be had.
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
        """Whether the run has this protocol's scores; a sheet in which a metric broke down is to be made again."""
        whole = [sheet for sheet in read_sheets(run) if not any("broke_down" in score.detail for score in sheet.scores)]
        return any(sheet.protocol_id == self.id for sheet in whole)

    def score(
        self, model: Any, data: DataModule, on_measured: Callable[[str, float], None] | None = None
    ) -> ScoreSheet:
        """Every column of the protocol. A metric that fails leaves its reason in its cells and the others alone.

        `on_measured` is told each metric's name and the seconds that it took.
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
            except (UserError, ValueError) as error:  # what the metric itself says of these inputs
                reason = one_line(error)
            except Exception as error:  # whatever went wrong in one metric, the others' numbers are still good
                reason, broke_down = f"{type(error).__name__}: {one_line(error)}", True
            scores += [_score(column, values.get(column.name), reason, broke_down) for column in ruler.columns]
            if on_measured is not None:
                on_measured(name, time.perf_counter() - start)
        return ScoreSheet(self.described, self.id, "diverged" if diverged else "scored", scores)

    def _get_encoder(self) -> FeatureEncoder:
        if self._encoder is None:
            raise UserError(self._why_no_encoder)
        return self._encoder


def make_scorer(protocol: Mapping[str, Any], config: Mapping[str, Any], device: torch.device) -> Scorer:
    """The protocol on a device; an encoder that was asked for by name must be there, the data's own may be missing."""
    return Scorer(
        Protocol.from_config(protocol, config["feature_encoder"]), device, strict=protocol["encoder"] != "auto"
    )


def choose_device(accelerator: str) -> str:
    """ "cuda" or "cpu" for Lightning's name of an accelerator.

    Raises:
        UserError: for a GPU where there is none.
    """
    has_gpu = torch.cuda.is_available()
    if accelerator in ("gpu", "cuda") and not has_gpu:
        raise UserError(
            f"trainer.accelerator is {accelerator} and no GPU is to be seen here: use trainer=cpu or trainer=auto"
        )
    return "cuda" if accelerator in ("gpu", "cuda", "auto") and has_gpu else "cpu"


def set_threads(config: Mapping[str, Any]) -> None:
    """As many CPU threads as a run's configuration asks for: how a sum is split between threads shows in its last bit."""
    if config.get("threads") is not None:
        torch.set_num_threads(int(config["threads"]))


def score_run(
    run: Path,
    model: GenerativeModel,
    data: DataModule,
    scorer: Scorer,
    on_measured: Callable[[str, float], None] | None = None,
) -> ScoreSheet:
    """Scores a trained model and writes the sheet into its run."""
    with model.scoring():
        sheet = scorer.score(model, data, on_measured)
    write_sheet(run, sheet)
    return sheet


def score_calibration(runs_dir: Path, data: DataModule, scorer: Scorer) -> None:
    """Scores the rows that calibrate a table (real training data, noise), once for each data set and protocol."""
    for row, make in calibration_subjects(data).items():
        path = calibration_path(runs_dir, data.name, data.info.id, row)
        if not scorer.is_done(path):
            try:
                subject = make()
            except (RuntimeError, MemoryError) as error:  # too large for this machine: a table is good without it
                warn(f"the row {row!r} could not be made ({one_line(error)[:160]}); the table will be without it")
                continue
            write_sheet(path, scorer.score(subject, data))


def load_data(config: Mapping[str, Any], data_dir: str | None = None) -> DataModule:
    """The data module of a run's configuration, reading from `data_dir` where that is given.

    Raises:
        UserError: for a configuration that names something that is not genbench's or torch's.
        DataError: where the data cannot be had.
    """
    node = dict(config["datamodule"])
    if data_dir is not None and "data_dir" in node:
        node["data_dir"] = data_dir
    data: DataModule = _instantiate(node)
    data.splits  # noqa: B018 - read now, so that what is wrong with the data is said first
    return data


def load_model(config: Mapping[str, Any]) -> GenerativeModel:
    """The model of a run's configuration, untrained.

    Raises:
        UserError: for a configuration that names something that is not genbench's or torch's.
    """
    model: GenerativeModel = _instantiate(config["model"])
    model.configure_model()
    return model


def load_trained(run: Path, device: torch.device) -> GenerativeModel:
    """The trained model of a run, on a device, in training mode: score it inside `model.scoring()`.

    Raises:
        UserError: where the checkpoint is missing, damaged or of another model.
        RecordError: where the configuration cannot be read.
    """
    model = load_model(read_config(run))
    path = run / "checkpoints" / "last.ckpt"
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(checkpoint["state_dict"])
    except FileNotFoundError:
        raise UserError(f"{path} is missing; train the run again") from None
    except Exception as error:  # torch raises several kinds for a damaged file
        raise UserError(
            f"{path} cannot be loaded ({one_line(error)[:160]}); move it away and train the run again"
        ) from error
    return model.to(device)


def sampling_speed(model: GenerativeModel, batch_size: int = 256, seconds: float = 0.3) -> float:
    """Samples a second, drawn and decoded, after a warm-up."""
    generator = torch.Generator().manual_seed(0)

    def one_batch() -> float:
        start = time.perf_counter()
        model.sample(batch_size, generator).sum().item()  # reading a number waits for the device
        return time.perf_counter() - start

    with model.scoring():
        one_batch()
        spent = [one_batch()]
        while sum(spent) < seconds:
            spent.append(one_batch())
    return batch_size * len(spent) / sum(spent)


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
    """The same without numbers that strict JSON does not have."""
    if isinstance(node, Mapping):
        return {key: _strict(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_strict(value) for value in node]
    return finite_or_none(node) if isinstance(node, float) else node


def check_record(config: Mapping[str, Any], sheets: Sequence[ScoreSheet]) -> None:
    """Before a record is trained again: that its configuration and protocols name nothing but what may be run, and that
    what becomes a folder's or a file's name is one.

    Raises:
        UserError: for a class or function that is not genbench's, torch's or Lightning's own trainer, or such a name.
    """
    for name in [*config.get("names", {}).values(), *(sheet.protocol.get("name") for sheet in sheets)]:
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
            raise UserError(f"the record has the name {name!r}; expected letters, digits, dots, dashes and underscores")
    _check_targets(
        [{k: v for k, v in config.items() if k != "logger"}, *(s.protocol for s in sheets)], REPLAYED_PACKAGES
    )


def _instantiate(node: Mapping[str, Any]) -> Any:
    _check_targets(node, TRUSTED_PACKAGES)
    return instantiate(OmegaConf.create(dict(node)), _convert_="all")


def _check_targets(node: Any, packages: tuple[str, ...]) -> None:
    # records are written resolved: what is still to be resolved could become a name after it was looked at
    if "${" in json.dumps(node, default=str):
        raise UserError("the run's configuration has an interpolation, ${...}; a record may only hold plain values")
    for target in _targets(node):
        if not _is_trusted(target, packages):
            raise UserError(
                f"the run's configuration names {target}, which is not in {', '.join(p.rstrip('.') for p in packages)}; "
                "a record may only name these"
            )


def _is_trusted(target: str, packages: tuple[str, ...] = TRUSTED_PACKAGES) -> bool:
    """Whether a dotted name is a class or function that a trusted package defines itself: a name can also reach through
    one to what it has imported."""
    if not target.startswith(packages):
        return False
    try:
        found = get_object(target)
    except Exception:  # whatever importing it raises; instantiating it will say so
        return True
    return callable(found) and f"{getattr(found, '__module__', '')}.".startswith(packages)


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for child in node.values():
            yield from _targets(child)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _targets(child)
