"""A cache of reference features on disk: every run of a data set is scored against the same features."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.errors import one_line, warn
from benchmarks.records.files import digest, remove_dead_leftovers, replacing

VERSION = "2"

# features that this process has read or computed
_KEPT: dict[str, Tensor] = {}


def folder() -> Path:
    """The folder `GENBENCH_CACHE`, or genbench's folder in the user's cache."""
    chosen = os.environ.get("GENBENCH_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genbench"


def cached_features(depends_on: Mapping[str, Any], compute: Callable[[], Tensor]) -> Tensor:
    """The features (N, dim), from the cache or computed. A damaged or outdated cache file is computed again, with a warning.

    Args:
        depends_on: everything that decides the features: checksums of data and encoder, split, resizing.
        compute: the function that computes the features.
    """
    facts = {"version": VERSION, "torch": torch.__version__, "depends_on": json.dumps(depends_on, sort_keys=True)}
    name = digest(depends_on)
    key = f"{folder()}/{name}"
    if key not in _KEPT:
        path = folder() / "features" / f"{name}.safetensors"
        features = _read(path, facts)
        if features is None:
            features = compute()
            _write(path, features, facts)
        _KEPT[key] = features
    return _KEPT[key]


def _read(path: Path, facts: Mapping[str, str]) -> Tensor | None:
    try:
        if not os.path.lexists(path):
            return None
        if not path.is_file():
            raise OSError("it is not a regular file")
        with safe_open(path, framework="pt") as file:
            features, metadata = file.get_tensor("features"), file.metadata() or {}
        if metadata == {**facts, "sha256": _checksum(features)}:
            return features
        reason = "is damaged" if facts.items() <= metadata.items() else "is of another version"
    except Exception as error:  # a damaged file raises many kinds of errors
        reason = f"is truncated or damaged ({one_line(error)})"
    warn(f"the cache {path} {reason}; computing the reference features again")
    return None


def _write(path: Path, features: Tensor, facts: Mapping[str, str]) -> None:
    try:
        remove_dead_leftovers(path.parent)
        with replacing(path) as temporary:
            features = features.contiguous()
            save_file({"features": features}, temporary, metadata={**facts, "sha256": _checksum(features)})
    except (SafetensorError, OSError) as error:  # without the cache, scoring is slower and still right
        warn(
            f"reference features could not be kept in {path} ({one_line(error)}); set GENBENCH_CACHE to another folder"
        )


def _checksum(features: Tensor) -> str:
    """Of the shape, the type and the content."""
    head = f"{tuple(features.shape)} {features.dtype} "
    return hashlib.sha256(head.encode() + features.numpy().tobytes()).hexdigest()
