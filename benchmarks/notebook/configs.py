"""Configurations of the evaluate program, composed from Python."""

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from benchmarks.cli import quoted
from benchmarks.cli.words import check_words


def compose_config(datamodule: str, protocol: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The resolved configuration of `python -m benchmarks.evaluate datamodule=... protocol=... overrides...`.

    Raises:
        UserError: for an unknown name or key. The message names the nearest known words.
    """
    words = [quoted(word, "=,") for word in (f"datamodule={datamodule}", f"protocol={protocol}", *overrides)]
    check_words("evaluate", words)
    with initialize_config_module("conf", version_base="1.3"):
        config: Any = OmegaConf.to_container(compose("evaluate", overrides=words), resolve=True)
    return {"feature_encoder": None, **config}
