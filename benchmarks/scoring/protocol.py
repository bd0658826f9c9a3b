"""A protocol: how a run is scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from benchmarks.encoders.base import names
from benchmarks.errors import UserError
from benchmarks.metrics.base import Ruler
from benchmarks.records.runs import ScoreSheet
from datamodules.contracts import Split

# what a scorer adds to the group of a protocol, so that the protocol's id depends on it
ADDED = ("encoder_checksum", "second_encoder_checksum", "versions")


@dataclass(frozen=True)
class Protocol:
    """How a run is scored. Two numbers are comparable if and only if the ids of their protocols are equal.

    Args:
        name: of the file in conf/protocol.
        split: the reference: test for reports, val for choosing.
        samples: drawn from each model for sample scores, exactly.
        examples: of the split that are read; None for all.
        batch_size: of every pass.
        seed: of every draw.
        encoder: name of the feature encoder; None if the data have none.
        encoder_weights: a local file of the weights of Inception or DINOv2.
        second_encoder: the name of an encoder under which the metrics of features are measured again; None for none.
        metrics: the rulers, by name.
        described: the configuration that the protocol comes from.

    Raises:
        UserError: for numbers out of range or an unknown encoder.
    """

    name: str
    split: Split
    samples: int
    examples: int | None
    batch_size: int
    seed: int
    encoder: str | None
    encoder_weights: str | None
    metrics: Mapping[str, Ruler]
    described: Mapping[str, Any]
    second_encoder: str | None = None

    def __post_init__(self) -> None:
        if self.split not in ("train", "val", "test"):
            raise UserError(f"protocol.split is {self.split!r}; expected train, val or test")
        for key in ("samples", "examples", "batch_size"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"protocol.{key} is {value}; expected 1 or more")
        for key in ("encoder", "second_encoder"):
            value = getattr(self, key)
            if value is not None and value not in names():
                raise UserError(
                    f"protocol.{key} is {value!r}; expected {'auto or ' * (key == 'encoder')}one of {', '.join(names())}"
                )

    @classmethod
    def from_config(cls, config: Mapping[str, Any], feature_encoder: str | None) -> "Protocol":
        """Makes a protocol from a composed `protocol` group.

        Args:
            config: the group.
            feature_encoder: the data's own encoder, which the encoder "auto" stands for.

        Raises:
            UserError: for metrics that are no mapping.
        """
        if not isinstance(config["metrics"], Mapping):
            raise UserError(
                f"protocol.metrics is {config['metrics']!r}; expected a mapping; ~protocol.metrics.ais leaves out one metric"
            )
        described = {**config, "encoder": feature_encoder if config["encoder"] == "auto" else config["encoder"]}
        rulers = instantiate(OmegaConf.create({"metrics": described["metrics"]}), _convert_="all")["metrics"]
        return cls(**{**described, "metrics": rulers}, described=described)


def protocol_of(sheet: ScoreSheet) -> dict[str, Any]:
    """The `protocol` group that makes the protocol of a score sheet again."""
    described = {key: value for key, value in sheet.protocol.items() if key not in ADDED}
    return {**described, "encoder_weights": None}
