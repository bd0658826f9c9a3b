"""Configurations on disk: what is in the id of a configuration, and what a damaged file gets."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from benchmarks.records.configurations import MOST_BYTES, config_id, flatten, read_config
from benchmarks.records.files import RecordError
from tests.conftest import ROOT, composed

CONFIG: dict[str, Any] = {
    "model": {"latent_dim": 2},
    "datamodule": {"name": "digits", "data_dir": "a", "batch_size": 4},
    "budget": {"unit": "images", "amount": 10},
    "trainer": {"precision": "32-true", "accelerator": "cpu", "enable_progress_bar": False},
    "seed": 0,
    "runs_dir": "runs",
    "logger": None,
}


def test_what_cannot_change_a_result_is_not_in_the_config_id() -> None:
    other = CONFIG | {"seed": 1, "runs_dir": "elsewhere", "logger": {"x": 1}}
    other["datamodule"] = CONFIG["datamodule"] | {"data_dir": "b", "folder": "images"}
    other["trainer"] = CONFIG["trainer"] | {"accelerator": "gpu", "enable_progress_bar": True}
    assert config_id(other) == config_id(CONFIG)


@pytest.mark.parametrize(
    ("group", "change"),
    [
        ("model", {"latent_dim": 3}),
        ("datamodule", {"batch_size": 8}),
        ("budget", {"amount": 11}),
        ("trainer", {"precision": "bf16-mixed"}),
    ],
)
def test_what_can_change_a_result_is_in_the_config_id(group: str, change: dict[str, Any]) -> None:
    assert config_id(CONFIG | {group: CONFIG[group] | change}) != config_id(CONFIG)


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"config\.yaml"):
        read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(RecordError, match=r"config\.yaml"):
        read_config(tmp_path)


def test_a_configuration_keeps_its_id_on_disk(tmp_path: Path) -> None:
    config = composed("model=wgan_gp", "datamodule=mnist", "network=dcgan", "model.optimizer.lr=3e-05")
    document: Any = OmegaConf.to_container(config, resolve=True)
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(document)))
    assert read_config(tmp_path) == document
    assert config_id(read_config(tmp_path)) == config_id(document)


@pytest.mark.parametrize(
    "content", [b"- 1\n- 2\n", b"", b"\xff\xfe", b"!!python/object/apply:os.mkdir [canary]", b"a: 1\na:\n  - b: [\n"]
)
def test_a_file_that_is_no_configuration_is_one_line(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(RecordError, match=r"config\.yaml") as caught:
        read_config(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "canary").exists(), "yaml never runs code"


def test_a_flat_configuration_has_a_dotted_key_for_every_value() -> None:
    nested = {"a": 1, "b": {"c": [1, 2], "d": {"e": None}}, "f": {}}
    assert dict(flatten(nested)) == {"a": 1, "b.c": [1, 2], "b.d.e": None}


def refusal(run: Path) -> str:
    """The one line that reading the configuration ends in."""
    with pytest.raises(RecordError, match=r"config\.yaml cannot be read") as caught:
        read_config(run)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_a_configuration_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    assert "it is not a regular file" in refusal(tmp_path)


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: 1\n" + "#" * (MOST_BYTES - 5))
    assert read_config(tmp_path) == {"a": 1}
    with path.open("ab") as file:
        file.truncate(2**40)  # sparse: a terabyte that takes no place
    assert "1,099,511,627,776 bytes" in refusal(tmp_path)


def test_an_alias_is_refused_so_that_none_can_stand_for_a_thousand_millions(tmp_path: Path) -> None:
    """Nine lines of ten aliases each are a tree of 10^9 leaves."""
    bomb = "a0: &a0 [0]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    (tmp_path / "config.yaml").write_text(bomb)
    assert "alias" in refusal(tmp_path)


@pytest.mark.parametrize("text", ["2001-99-99", "9" * 5000, "!!bool x", "!!timestamp x", "!!float x", '!!int ""'])
def test_a_value_that_is_none_of_its_kind_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"seed: {text}\n")
    refusal(tmp_path)


@pytest.mark.slow
def test_deep_nesting_ends_no_process(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: " + "[" * 400_000)
    code = f"from pathlib import Path; from {read_config.__module__} import read_config; read_config(Path({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "RecordError" in done.stderr


def test_a_configuration_of_empty_lines_is_read_at_once(tmp_path: Path) -> None:
    """The search for suspect lines once took twenty minutes for a megabyte of them."""
    (tmp_path / "config.yaml").write_text("a: 1\n" + "\n" * (MOST_BYTES - 10))
    assert read_config(tmp_path) == {"a": 1}
