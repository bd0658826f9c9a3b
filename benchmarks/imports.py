"""Packages that take seconds to load, that do not fit each other, or that are not installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from benchmarks.errors import UserError, one_line
from benchmarks.garbage import without_collection

# the extra of genbench that has each launcher of Hydra; joblib's has none
EXTRAS = {"joblib": "", "submitit_slurm": "[slurm]", "submitit_local": "[slurm]", "ray": "[ray]"}


@contextmanager
def fast_imports() -> Iterator[None]:
    """Inside the block, Python does not search for cycles of garbage: the searches take a sixth of the time of loading torch and
    Lightning."""
    with without_collection():
        yield


def check_torchvision(by_version: bool = False) -> None:
    """Checks that torch and torchvision fit each other.

    Args:
        by_version: whether it is enough that torchvision accepts the version of torch that is installed. Otherwise, and if it
            does not accept that version, both are loaded, which takes seconds.

    Raises:
        UserError: if they do not. The message says what to install.
    """
    if by_version and _fit_by_version():
        return
    try:
        with fast_imports():
            import torchvision  # noqa: F401 - its compiled operators load, or fail, here
    except Exception as error:  # the kind of error depends on which of the two is older
        versions = {name: metadata.version(name) for name in ("torch", "torchvision")}
        needs = [word for word in metadata.requires("torchvision") or [] if word.startswith("torch")]
        raise UserError(
            f"torch {versions['torch']} and torchvision {versions['torchvision']} do not work together "
            f"({one_line(error)[:80]}): this torchvision is made for {needs[0] if needs else 'another torch'}; "
            "pip install --upgrade torch torchvision"
        ) from error


def _fit_by_version() -> bool:
    """Whether torchvision's package names the versions of torch that it works with, and the one that is installed is among them.

    A torchvision built from source may name none, and a torch built from source may have a version in a format of its own.
    """
    try:
        torch = Version(metadata.version("torch"))
        needs = [Requirement(text) for text in metadata.requires("torchvision") or []]
    except (InvalidVersion, InvalidRequirement):
        return False
    accepted = [need.specifier for need in needs if need.name == "torch"]
    return any(accepted) and all(torch.public in versions for versions in accepted)


def missing_launcher(error: Exception) -> str | None:
    """What to install, if the error is that a launcher of Hydra is not installed."""
    group, _, name = str(getattr(error, "missing_cfg_file", None) or "").rpartition("/")
    is_known = group == "hydra/launcher" and name in EXTRAS
    return f"{group}={name} is not installed; pip install 'genbench{EXTRAS[name]}'" if is_known else None
