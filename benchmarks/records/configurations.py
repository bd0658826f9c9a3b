"""The configuration of a run on disk, and the id that it has."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

import yaml

from benchmarks.errors import one_line
from benchmarks.records.files import LARGEST, RecordError, digest, read_bytes
from benchmarks.records.paths import CONFIG

# the parts of a configuration that decide a run's result; paths, loggers, protocols, launchers and progress do not
RESULT_KEYS = ("model", "datamodule", "budget", "trainer")
# the key of a data module that names a folder of images; the checksum of the data in the record says which images they are
IMAGES = "folder"
PATH_KEYS = {"data_dir", "cache_dir", IMAGES}
DEFAULT_FOLDERS = {"runs_dir": "runs", "reports_dir": "reports", "data_dir": "data"}
TRAINER_RESULT_KEYS = {"precision", "devices", "num_nodes", "sync_batchnorm", "deterministic", "loop"}

MOST_BYTES = LARGEST[".yaml"]


# deeper than any configuration of genbench
MOST_LEVELS = 40
# what may be an alias, an anchor or deep nesting. A text without it is read at once; another is first read event by event
_SUSPECT = re.compile(r"(?:^|[\s\[{,])[*&]|^ {80}|-\s+-\s|^[ \t]*\?", re.MULTILINE)
MOST_BRACKETS = 400
# Python needs minutes for a whole number of a megabyte; checksums have 64 digits
_LONG_NUMBER = re.compile(r"[0-9a-fA-F_:]{100}")

# both loaders are safe; the C loader is ten times as fast
_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
        config = load_yaml(path)
    except Exception as error:  # yaml raises errors of many kinds for values that are none of theirs
        raise RecordError(f"{path} cannot be read ({one_line(error)}); restore it or move the run away") from error
    if not isinstance(config, dict):
        raise RecordError(f"{path} is not a configuration; restore it or move the run away")
    return config


def with_default_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the default folders in place of those of a machine, which decide no result.

    Of a folder of images the last name stays, as in commands. The order of keys stays.
    """
    public = {key: DEFAULT_FOLDERS.get(key, value) for key, value in config.items()}
    if isinstance(datamodule := public.get("datamodule"), Mapping):
        folders = {key: DEFAULT_FOLDERS.get(key) for key in PATH_KEYS if key in datamodule}
        if isinstance(folder := datamodule.get(IMAGES), str):
            folders[IMAGES] = PurePath(folder).name
        public["datamodule"] = {**datamodule, **folders}
    for name in ("protocol", "curve"):
        if isinstance(protocol := public.get(name), Mapping) and "encoder_weights" in protocol:
            public[name] = {**protocol, "encoder_weights": None}
    return public


def reads_images(run: Path) -> bool:
    """Whether a run read a folder of images, which a reader has to name again: a record does not say where it lies."""
    path = run / CONFIG
    try:
        if f"{IMAGES}:".encode() not in read_bytes(path, MOST_BYTES):  # parsing every configuration would take seconds
            return False
        datamodule = read_config(run).get("datamodule")
    except (OSError, RecordError):  # the row can still be read, and a replay names the damage
        return False
    return isinstance(datamodule, dict) and IMAGES in datamodule


def load_yaml(path: Path) -> Any:
    """The value of a YAML file of plain values, bounded in size and depth.

    Raises:
        Exception: of many kinds, for a file that is missing, damaged, too large, or has an alias.
    """
    text = read_bytes(path, MOST_BYTES).decode("utf-8")
    _refuse_bombs(text)
    return yaml.load(text, Loader=_YamlLoader)


def _refuse_bombs(text: str) -> None:
    """Refuses what a few lines expand to any size or depth: aliases of aliases, and nesting that overflows the stack.

    Raises:
        YAMLError: for an alias, or for nesting of more than `MOST_LEVELS` levels, or a number of more than 100 digits.
    """
    if _LONG_NUMBER.search(text):
        raise yaml.YAMLError("it has a number of more than 100 digits")
    if not _SUSPECT.search(text) and text.count("[") + text.count("{") <= MOST_BRACKETS:
        return
    level = 0
    for event in yaml.parse(text, Loader=_YamlLoader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("it has a YAML alias, and configurations of genbench have none")
        level += isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent)
        level -= isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent)
        if level > MOST_LEVELS:
            raise yaml.YAMLError(f"it is nested deeper than {MOST_LEVELS} levels")


def flatten(node: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The dotted keys of a nested configuration, each with its value."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from flatten(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], node
