"""An exported generator as a subject: a decoder from latents to images, from a torch.export archive that the user trusts."""

import hashlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.errors import UserError, one_line
from benchmarks.external.archive import check_archive
from benchmarks.external.shapes import Range
from benchmarks.external.subjects import External, Form, prior_of, probe_of
from benchmarks.records.files import read_bytes
from datamodules.base import DataModule
from models.contracts import Bounds, Encodes, Reconstructs

MOST_BYTES = 2**32


def of_generator(
    path: Path,
    data: DataModule,
    latent_dim: int | None = None,
    prior: str = "normal",
    layout: str | None = None,
    stated: Range | None = None,
) -> tuple[External, Form, str, int]:
    """The subject of a .pt2, the form of its outputs, its SHA-256, and the dimension of its latents.

    Args:
        path: of the archive, which the user trusts: see `benchmarks.external.archive`.
        data: the data that it is scored on.
        latent_dim: of its latents; None finds it in the archive.
        prior: of the latents.
        layout: of its images; None finds it.
        stated: its values of black and white; None finds them.

    Raises:
        UserError: for a file that is refused or cannot be loaded, or a network with other inputs and outputs.
    """
    try:
        content = read_bytes(path, MOST_BYTES)  # once, so that what was checked is what is loaded
    except OSError as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}); name a .pt2 file") from error
    inputs = check_archive(path, content)
    dim = _latent_dim(inputs, path, latent_dim)
    try:
        with _quiet():
            network = torch.export.load(io.BytesIO(content)).module()
    except Exception as error:  # torch raises errors of many kinds
        raise UserError(
            f"{path} cannot be loaded ({one_line(error)[:160]}); export it with the torch that is installed, {torch.__version__}"
        ) from error
    network.requires_grad_(False)
    latents = prior_of(prior, dim)

    def raw(z: Tensor) -> Tensor:
        # graphs are often exported for batches of 2 or more
        x = network(z if len(z) > 1 else z.repeat(2, 1))
        if not isinstance(x, Tensor):
            raise ValueError(f"the generator gives a {type(x).__name__}; expected a tensor")
        return x[: len(z)]

    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        form = Form(probe_of(lambda n: raw(latents.sample(n, generator))), data.shape, layout, stated)

    def decode(z: Tensor) -> Tensor:
        return form(raw(z))

    no_encoder = "a generator was submitted, and no encoder"
    lacking: dict[type, str] = {
        Encodes: no_encoder,
        Reconstructs: no_encoder,
        Bounds: "a generator was submitted, and no bound on log p(x)",
    }
    subject = External(
        lacking, decode=decode, prior=latents, sample=lambda n, generator=None: decode(latents.sample(n, generator))
    )
    return subject, form, hashlib.sha256(content).hexdigest(), dim


def _latent_dim(inputs: bytes, path: Path, stated: int | None) -> int:
    """The dimension of the latents: of the example input of the archive, which is read without unpickling classes."""
    try:
        example: Any = torch.load(io.BytesIO(inputs), weights_only=True)
    except Exception as error:  # torch would unpickle what it refuses here
        raise UserError(
            f"{path} has example inputs that only pickle could read ({one_line(error)[:120]}); export it with a tensor as its "
            "input"
        ) from error
    found = None
    if isinstance(example, tuple) and len(example) == 2 and isinstance(example[0], tuple) and not example[1]:
        tensors = [x for x in example[0] if isinstance(x, Tensor)]
        if len(example[0]) == len(tensors) == 1 and tensors[0].dim() == 2:
            found = int(tensors[0].shape[1])
    if found is None:
        raise UserError(f"{path} does not take one batch of latents (B, Z) alone; export a map from latents to images")
    if stated not in (None, found):
        raise UserError(f"latent_dim is {stated}, and {path} was exported with {found} latents; leave latent_dim out")
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings about archives, whose errors are said in one line."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
