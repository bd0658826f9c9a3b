"""The configuration of a run on disk, and the id that it has."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.errors import one_line
from benchmarks.records.files import RecordError, digest, read_bytes
from benchmarks.records.paths import CONFIG

# the parts of a configuration that decide a run's result; paths, loggers, protocols, launchers and progress do not
RESULT_KEYS = ("model", "datamodule", "budget", "trainer")
PATH_KEYS = {"data_dir", "cache_dir"}
TRAINER_RESULT_KEYS = {"precision", "devices", "num_nodes", "sync_batchnorm", "deterministic"}

# a configuration of genbench has some kilobytes
MOST_BYTES = 2**20


class _YamlLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C loader is ten times as fast
    """A safe loader without aliases: a few lines of aliases of aliases expand to any size."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has a YAML alias, which a configuration of genbench has not")
        return super().compose_node(parent, index)


def config_id(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of the parts of a resolved configuration that decide the result. The seed is left out."""
    decisive = {key: config[key] for key in RESULT_KEYS if key in config}
    decisive["trainer"] = {k: v for k, v in decisive.get("trainer", {}).items() if k in TRAINER_RESULT_KEYS}
    decisive["datamodule"] = {k: v for k, v in decisive.get("datamodule", {}).items() if k not in PATH_KEYS}
    return digest(decisive)


def read_config(run: Path) -> dict[str, Any]:
    """Reads `config.yaml` of a run.

    Raises:
        RecordError: for a missing or damaged file.
    """
    path = run / CONFIG
    try:
        config = yaml.load(read_bytes(path, MOST_BYTES).decode("utf-8"), Loader=_YamlLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecordError(f"{path} cannot be read ({one_line(error)}); restore it or move the run away") from error
    if not isinstance(config, dict):
        raise RecordError(f"{path} is not a configuration; restore it or move the run away")
    return config


def flatten(node: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The dotted keys of a nested configuration, each with its value."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from flatten(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], node
