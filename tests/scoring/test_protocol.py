"""Protocols: made from a configuration, refused where a number is out of range, and made again from a sheet."""

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from benchmarks.errors import UserError
from benchmarks.records.runs import ScoreSheet
from benchmarks.scoring.protocol import Protocol, protocol_of
from benchmarks.scoring.scorer import make_scorer
from tests.conftest import choices, composed


def described(*overrides: str) -> dict[str, Any]:
    """A `protocol` group as a run gets it."""
    node: Any = OmegaConf.to_container(composed(*overrides).protocol, resolve=True)
    return dict(node)


def test_a_protocol_is_made_again_from_its_sheet() -> None:
    made = protocol_of(ScoreSheet({"name": "q", "encoder": "x", "encoder_checksum": "1"}, "p", "scored", []))
    assert made == {"name": "q", "encoder": "x", "encoder_weights": None}


@pytest.mark.parametrize("name", choices("protocol"))
def test_the_protocol_of_a_sheet_has_the_id_of_the_sheet(name: str) -> None:
    device = torch.device("cpu")
    first = make_scorer(described(f"protocol={name}"), "digits-cnn", device)
    sheet = ScoreSheet(first.described, first.id, "scored", [])
    again = make_scorer(protocol_of(sheet), None, device)
    assert again.id == first.id
    assert list(again.protocol.metrics) == list(first.protocol.metrics)
    assert [ruler.columns for ruler in again.protocol.metrics.values()] == [
        ruler.columns for ruler in first.protocol.metrics.values()
    ]


@pytest.mark.parametrize("own", ["digits-cnn", None])
def test_auto_is_the_encoder_of_the_data(own: str | None) -> None:
    made = Protocol.from_config(described(), own)
    assert made.encoder == made.described["encoder"] == own
    chosen = Protocol.from_config(described("protocol.encoder=inception"), own)
    assert chosen.encoder == chosen.described["encoder"] == "inception"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("protocol.split=validation", "protocol.split is 'validation'; expected train, val or test"),
        ("protocol.samples=0", "protocol.samples is 0; expected 1 or more"),
        ("protocol.metrics=null", "protocol.metrics is None; expected a mapping"),
        ("protocol.examples=-1", "protocol.examples is -1; expected 1 or more"),
        ("protocol.batch_size=0", "protocol.batch_size is 0; expected 1 or more"),
        ("protocol.encoder=resnet50", "protocol.encoder is 'resnet50'; expected auto or one of "),
        ("protocol.encoder='../mine/digits-cnn'", "protocol.encoder is '../mine/digits-cnn'; expected auto or one of "),
    ],
)
def test_a_number_out_of_range_is_named(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Protocol.from_config(described(override), "digits-cnn")
    assert message in str(caught.value)


def test_all_examples_of_a_split_may_be_read() -> None:
    assert Protocol.from_config(described("protocol.examples=null"), None).examples is None


def test_a_protocol_leaves_the_configuration_as_it_was() -> None:
    node = described()
    before = described()
    Protocol.from_config(node, "digits-cnn")
    assert node == before
