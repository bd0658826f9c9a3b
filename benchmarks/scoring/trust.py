"""What a record may name: runs folders are shared, so a configuration on disk must not be able to run code of its choice."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.utils import get_object

from benchmarks.errors import UserError
from benchmarks.records.runs import ScoreSheet

# packages whose own classes and functions a run's configuration may name
TRUSTED_PACKAGES = ("models.", "datamodules.", "torch.nn.", "torch.optim.")
# a replay also makes the rulers and Lightning's trainer
REPLAYED_PACKAGES = (
    *TRUSTED_PACKAGES,
    "benchmarks.metrics.",
    "pytorch_lightning.trainer.",
    "pytorch_lightning.Trainer",
)


def check_record(config: Mapping[str, Any], sheets: Sequence[ScoreSheet]) -> None:
    """Checks that a record names only trusted classes and safe file names, before the record is trained again.

    Raises:
        UserError: for any other class or function, or a name that is not one folder's or file's name.
    """
    for name in [*config.get("names", {}).values(), *(sheet.protocol.get("name") for sheet in sheets)]:
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
            raise UserError(f"the record has the name {name!r}; expected letters, digits, dots, dashes and underscores")
    nodes = [{k: v for k, v in config.items() if k != "logger"}, *(sheet.protocol for sheet in sheets)]
    check_targets(nodes, REPLAYED_PACKAGES)


def check_targets(node: Any, packages: tuple[str, ...] = TRUSTED_PACKAGES) -> None:
    """Checks that every `_target_` in a configuration is defined by one of the packages.

    Raises:
        UserError: for another target, or for an interpolation, which could become a target after the check.
    """
    if "${" in json.dumps(node, default=str):
        raise UserError("the run's configuration has an interpolation, ${...}; a record may only hold plain values")
    for target in _targets(node):
        if not _is_trusted(target, packages):
            raise UserError(
                f"the run's configuration names {target}, which is not in {', '.join(p.rstrip('.') for p in packages)}; "
                "a record may only name these"
            )


def _is_trusted(target: str, packages: tuple[str, ...]) -> bool:
    """Whether a trusted package defines the class or function itself: a dotted name can also reach what it imports."""
    if not target.startswith(packages):
        return False
    try:
        value = get_object(target)
    except Exception:  # instantiating the target raises the same error, with its message
        return True
    return callable(value) and f"{getattr(value, '__module__', '')}.".startswith(packages)


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for child in node.values():
            yield from _targets(child)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _targets(child)
