"""The words of a command about a model from elsewhere, checked before torch is imported."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from benchmarks.errors import UserError
from benchmarks.external.about import About, read_about
from benchmarks.external.shapes import LAYOUTS, Range
from benchmarks.external.submission import SUFFIXES
from benchmarks.records.paths import NO_RUNS
from benchmarks.records.schemas import NAME

Kind = Literal["samples", "generator"]
KINDS: tuple[Kind, ...] = ("samples", "generator")
PRIORS = ("normal", "uniform")
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Words:
    """What a command says of a model from elsewhere.

    Args:
        kind: samples, or an exported generator.
        paths: one for each seed.
        name: of the row.
        about: what the user says of its training.
        first_seed: of the first path.
        layout, range: of the samples; None to find them.
        latent_dim: of a generator; None to find it.
        prior: of the latents.
        is_trusted: whether the user vouches for the generators.
    """

    kind: Kind
    paths: tuple[Path, ...]
    name: str
    about: About
    first_seed: int = 0
    layout: str | None = None
    range: Range | None = None
    latent_dim: int | None = None
    prior: str = "normal"
    is_trusted: bool = False


def read_words(cfg: Mapping[str, Any]) -> Words | None:
    """What the keys of conf/evaluate.yaml say of a model from elsewhere; None if they name none.

    Raises:
        UserError: for a key that is missing or wrong.
    """
    kinds = [kind for kind in KINDS if cfg[kind] is not None]
    if not kinds:
        if cfg["name"] is not None:
            raise UserError("name is of a model from elsewhere; add samples=PATH or generator=PATH")
        return None
    if len(kinds) > 1:
        raise UserError("samples and generator exclude each other: a row is scored from one of them")
    (kind,) = kinds
    paths = paths_of(cfg[kind], kind)
    if cfg.get("datamodule") is None:
        raise UserError(f"{kind}={paths[0]} needs datamodule=NAME, the data that the model is scored on")
    if cfg["name"] is None:
        raise UserError(f"{kind}={paths[0]} needs name=NAME, the name of its row")
    about = About() if cfg["about"] is None else read_about(Path(str(cfg["about"])))
    seed = _whole("seed", cfg["seed"], 0, 2**32 - 1 - len(paths))
    latent_dim = None if cfg["latent_dim"] is None else _whole("latent_dim", cfg["latent_dim"], 1, 2**16)
    if cfg["prior"] not in PRIORS:
        raise UserError(f"prior is {cfg['prior']!r}; expected {' or '.join(PRIORS)}")
    if cfg["layout"] not in (None, *LAYOUTS):
        raise UserError(f"layout is {cfg['layout']!r}; expected {', '.join(LAYOUTS)}, or null to find it")
    if kind == "generator" and cfg["trust"] is not True:
        raise UserError(
            f"generator={paths[0]} is a program: torch.export.load may run code of whoever wrote the file. If you trust the "
            "file, add trust=true; samples=PATH needs no trust"
        )
    return Words(
        kind=kind,
        paths=paths,
        name=check_name(cfg["name"]),
        about=about,
        first_seed=seed,
        layout=cfg["layout"],
        range=check_range(cfg["range"]),
        latent_dim=latent_dim,
        prior=cfg["prior"],
        is_trusted=cfg["trust"] is True,
    )


def paths_of(value: Any, kind: Kind) -> tuple[Path, ...]:
    """The files or folders that a key names, one for each seed, in the order of the command; those of a glob by name.

    Raises:
        UserError: for a path that does not exist, a glob that matches nothing, or a file of another kind.
    """
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, Sequence) or not words or not all(isinstance(word, str) and word for word in words):
        raise UserError(f"{kind} is {value!r}; expected a path, a glob, or a list of them, as in {kind}=[A,B]")
    paths: dict[Path, None] = {}
    for word in words:
        matches = [word] if Path(word).exists() else sorted(glob.glob(word))
        if not matches:
            hint = f"; a list has brackets, as in {kind}=[A,B]" if "," in word else ""
            raise UserError(f"{kind}={word} does not exist; expected {_expected(kind)}{hint}")
        paths |= dict.fromkeys(Path(match) for match in matches)
    for path in paths:
        is_right = path.suffix.lower() == ".pt2" if kind == "generator" else _may_hold_samples(path)
        if not is_right:
            raise UserError(f"{kind}={path} is of another kind; expected {_expected(kind)}")
    if len(paths) > MOST_SEEDS:
        raise UserError(f"{kind} names {len(paths):,} files, and each is a seed; expected at most {MOST_SEEDS:,}")
    return tuple(paths)


def check_name(name: Any) -> str:
    """The name of a row from elsewhere.

    Raises:
        UserError: for the name of a model of genbench, or a name that is none of a folder.
    """
    text = str(name)
    if not NAME.fullmatch(text) or text in NO_RUNS or text.startswith("_"):
        raise UserError(
            f"name is {text[:100]!r}; expected letters, digits, dots, dashes and underscores, a letter first"
        )
    ours = {entry.name.removesuffix(".yaml") for entry in resources.files("conf").joinpath("model").iterdir()}
    if text in ours:
        raise UserError(f"name={text} is a model of genbench, and a row from elsewhere is not one; choose another name")
    return text


def check_range(value: Any) -> Range | None:
    """The stated range, as two numbers.

    Raises:
        UserError: for another value.
    """
    if value is None:
        return None
    numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    is_range = len(numbers) == 2 and all(isinstance(n, int | float) and abs(n) < 1e6 for n in numbers)
    if not is_range or not numbers[0] < numbers[1]:
        raise UserError(f"range is {value!r}; expected two numbers, the values of black and white, as in range=[-1,1]")
    return float(numbers[0]), float(numbers[1])


def _may_hold_samples(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in SUFFIXES


def _expected(kind: str) -> str:
    return "an exported generator, .pt2" if kind == "generator" else "a folder of images, a .npz or a .npy"


def _whole(key: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UserError(f"{key} is {value!r}; expected a whole number from {least} to {most:,}")
    return value
