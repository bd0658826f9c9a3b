"""An exported generator as a subject: a decoder from latents to images, from a torch.export archive that the user trusts."""

import hashlib
import io
import logging
from collections.abc import Callable, Iterator
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
# grey values, of 0 to 1: above what float16 rounds
LEAST_DEPENDENCE = 0.01


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
    latents_of = _example(check_archive(path, content), path)
    dim = latents_of.shape[1]
    if latent_dim not in (None, dim):
        raise UserError(f"latent_dim is {latent_dim}, and {path} was exported with {dim} latents; leave latent_dim out")
    try:
        with _quiet():
            program = torch.export.load(io.BytesIO(content))
            network = program.module()
    except Exception as error:  # torch raises errors of many kinds
        raise UserError(
            f"{path} cannot be loaded ({one_line(error)[:160]}); export it with the torch that is installed, {torch.__version__}"
        ) from error
    network.requires_grad_(False)
    latents, batch = prior_of(prior, dim), _fixed_batch(program)

    def raw(z: Tensor) -> Tensor:
        return torch.cat([one_batch(part) for part in z.split(batch or len(z))])

    def one_batch(z: Tensor) -> Tensor:
        # graphs are often exported for batches of 2 or more, or of one size
        rows = torch.arange(batch or max(2, len(z))) % len(z)
        x = network(z[rows].to(latents_of.dtype).view(len(rows), *latents_of.shape[1:]))
        if not isinstance(x, Tensor):
            raise ValueError(f"the generator gives a {type(x).__name__}; expected a tensor")
        return x[: len(z)]

    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        form = Form(probe_of(lambda n: raw(latents.sample(n, generator))), data.shape, layout, stated)
        form.remarks += _remarks(lambda z: form(raw(z)), latents.sample(4, generator))

    def decode(z: Tensor) -> Tensor:
        return form(raw(z))

    no_encoder = "a generator was submitted, and no encoder"
    lacking: dict[type, str] = {
        Encodes: no_encoder,
        Reconstructs: no_encoder,
        Bounds: "a generator was submitted, and no bound on log p(x)",
    }
    subject = External(
        lacking,
        decode=decode,
        prior=latents,
        sample=lambda n, generator=None: form.unclipped(raw(latents.sample(n, generator))),
    )
    return subject, form, hashlib.sha256(content).hexdigest(), dim


def _example(inputs: bytes, path: Path) -> Tensor:
    """The example latents of the archive, (B, Z) or (B, Z, 1, 1), read without unpickling classes."""
    try:
        example: Any = torch.load(io.BytesIO(inputs), weights_only=True)
    except Exception as error:  # torch would unpickle what it refuses here
        raise UserError(
            f"{path} has example inputs that only pickle could read ({one_line(error)[:120]}); export it with a tensor as its "
            "input"
        ) from error
    if isinstance(example, tuple) and len(example) == 2 and isinstance(example[0], tuple) and not example[1]:
        tensors = [x for x in example[0] if isinstance(x, Tensor) and x.is_floating_point()]
        if len(example[0]) == len(tensors) == 1 and (tensors[0].dim() == 2 or tensors[0].shape[2:] == (1, 1)):
            return tensors[0]
    raise UserError(
        f"{path} does not take one batch of latents, (B, Z) or (B, Z, 1, 1), as its only positional input; export such a map to "
        "images"
    )


def _fixed_batch(program: torch.export.ExportedProgram) -> int | None:
    """The size of the only batches that a program takes; None for one that takes batches of several sizes."""
    (name,) = program.graph_signature.user_inputs
    shape = next(node.meta["val"].shape for node in program.graph.nodes if node.name == name)
    return shape[0] if isinstance(shape[0], int) else None


def _remarks(decode: Callable[[Tensor], Tensor], z: Tensor) -> tuple[str, ...]:
    """What a reader should know of a network that was exported in training mode. z: (B, Z), an even number of latents."""
    images, half = decode(z), decode(z[: len(z) // 2])
    if not torch.equal(images, decode(z)):
        return ("equal latents give other images each time: dropout in training mode, or noise of its own",)
    if not torch.allclose(images[: len(half)], half, atol=LEAST_DEPENDENCE):
        return ("an image depends on the others of its batch, as with batch norm in training mode",)
    return ()


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
