"""A Python object as a subject: it has what it has of sample, decode, encode, reconstruct and log_prob."""

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.errors import UserError
from benchmarks.external.shapes import Range
from benchmarks.external.subjects import PROBE, External, Form, prior_of, probe_of, users_code
from benchmarks.metrics.base import seeded
from datamodules.base import DataModule
from models.contracts import Bounds, Decodes, Densities, Prior

METHODS = ("sample", "decode", "encode", "reconstruct", "log_prob")

# the methods that an object has, and a sampler of n examples that takes a generator
Methods = Mapping[str, Callable[..., Any]]
Sampler = Callable[[int, torch.Generator], Tensor]


def of_python(
    model: Any,
    data: DataModule,
    prior: str | Prior = "normal",
    latent_dim: int | None = None,
    layout: str | None = None,
    stated: Range | None = None,
) -> tuple[External, Form | None, list[str]]:
    """The subject of an object, the form of its outputs (None if it gives no examples), and remarks.

    sample(n) or sample(n, generator) -> (n, ...); decode(z), (B, Z) -> (B, ...), differentiable for latent inversion and AIS;
    encode(x), (B, ...) -> (B, Z), the code or the posterior's mean; draw_code(x), a draw of q(z|x); reconstruct(x), the decoded
    code if it is missing; log_prob(x), (B, ...) -> (B,), in nats, of images in [0, 1]. An object with elbo, log_weights and
    why_no_density of `models.contracts.Bounds` is bounded by these. x is float32 in the data's range, on the model's device.

    Args:
        model: the object. A torch module is scored in evaluation mode.
        data: the data that it is scored on.
        prior: of the latents: normal, uniform, or an object of `models.contracts.Prior`. The object's own prior counts first.
        latent_dim: of the prior; None finds it in `model.latent_dim` or in a code.
        layout: of its images; None finds it.
        stated: its values of black and white; None finds them.

    Raises:
        UserError: for an object without any of the methods, or whose outputs do not fit the data.
    """
    has = {name: getattr(model, name) for name in METHODS if callable(getattr(model, name, None))}
    if isinstance(model, str | Path):
        raise UserError(f"model is the path {str(model)[:100]!r}; give the object itself, loaded and in memory")
    if not has:
        raise UserError(f"{type(model).__name__} has none of {', '.join(METHODS)}; give it what it can do")
    device, context = _device(model), _context(model)
    x = next(data.batches("val", 4)).to(device)
    lacking: dict[type, str] = {}
    with context(), torch.no_grad():
        able = _encoding(model, has, x, prior, latent_dim)
        sample = _sampler(model, has, able, device)
        form = _form(has, sample, x, data, layout, stated)
        if form is not None:
            able |= _decoding(has, able, form, sample)
        if "decode" in able and not _is_differentiable(able["decode"], able["prior"], device):
            lacking[Decodes] = "its decode gives no gradients, which latent inversion and AIS need"
            del able["decode"]
    able |= _likelihood(model, has)
    return External(lacking, device, context, **able), form, list(form.remarks) if form is not None and sample else []


def _encoding(model: Any, has: Methods, x: Tensor, prior: str | Prior, latent_dim: int | None) -> dict[str, Any]:
    """encode, draw_code and prior, as far as the object has them."""
    able: dict[str, Any] = {}
    if "encode" in has:
        code = _called(has["encode"], x, "encode")
        if code.dim() != 2 or len(code) != len(x):
            raise UserError(f"encode gives {tuple(code.shape)} for {len(x)} examples; expected ({len(x)}, Z)")
        latent_dim = latent_dim or code.shape[1]
        able["encode"] = _floating(has["encode"])
        able["draw_code"] = _floating(getattr(model, "draw_code", has["encode"]))
    if "encode" in has or "decode" in has:
        able["prior"] = _prior(model, prior, latent_dim)
    return able


def _form(
    has: Methods, sample: Sampler | None, x: Tensor, data: DataModule, layout: str | None, stated: Range | None
) -> Form | None:
    """From the object's outputs to the form of the data; None for an object that gives no examples."""
    if sample is not None:
        generator = torch.Generator().manual_seed(0)
        return Form(probe_of(lambda n: sample(n, generator)), data.shape, layout, stated)
    if "reconstruct" in has:
        return Form(_called(has["reconstruct"], x, "reconstruct"), data.shape, layout, stated)
    return None


def _decoding(has: Methods, able: Mapping[str, Any], form: Form, sample: Sampler | None) -> dict[str, Any]:
    """sample, decode and reconstruct in the form of the data, as far as the object has them."""
    made: dict[str, Any] = {}
    if sample is not None:
        made["sample"] = lambda n, generator: form.unclipped(sample(n, generator))
    if "decode" in has:
        decode = _floating(has["decode"])
        made["decode"] = lambda z: form(decode(z))
    if "reconstruct" in has:
        reconstruct = _floating(has["reconstruct"])
        made["reconstruct"] = lambda x: form.unclipped(reconstruct(x))
    elif "encode" in able and "decode" in made:
        encode = able["encode"]
        made["reconstruct"] = lambda x: form.unclipped(decode(encode(x)))
    return made


def _likelihood(model: Any, has: Methods) -> dict[str, Any]:
    """elbo and log_weights, log_prob, and why_no_density, as far as the object has them."""
    able: dict[str, Any] = {}
    if isinstance(model, Bounds):
        able |= {name: getattr(model, name) for name in ("elbo", "log_weights")}
    if "log_prob" in has:
        able["log_prob"] = _density(_floating(has["log_prob"]))
    if able:
        able["why_no_density"] = getattr(model, "why_no_density", lambda binary: None)
    return able


def _context(model: Any) -> Callable[[], AbstractContextManager[Any]]:
    """What the object is scored in: its own `scoring`, as models of genbench have; evaluation mode of a torch module."""
    own = getattr(model, "scoring", None)
    if callable(own):
        return own

    @contextmanager
    def evaluating() -> Iterator[None]:
        modes = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
        for module, _ in modes:
            module.training = False
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode

    return evaluating


def fingerprint(subject: External, data: DataModule) -> str:
    """The SHA-256 of what an object gives for pinned inputs, which tells two objects apart."""
    digest, x = hashlib.sha256(), next(data.batches("val", PROBE)).to(subject.device)
    with subject.scoring(), seeded(0, "fingerprint"):
        for name in ("sample", "encode", "reconstruct"):
            if hasattr(subject, name):
                method = getattr(subject, name)
                output = method(PROBE, torch.Generator().manual_seed(0)) if name == "sample" else method(x)
                digest.update(output.float().cpu().contiguous().numpy().tobytes())
        if isinstance(subject, Bounds):
            digest.update(subject.elbo(x).value.double().cpu().numpy().tobytes())
        if isinstance(subject, Densities):
            digest.update(subject.log_prob(x).double().cpu().numpy().tobytes())
    return digest.hexdigest()


def _sampler(model: Any, has: Methods, able: Mapping[str, Any], device: torch.device) -> Sampler | None:
    """The object's own sampler, or decoded draws of the prior; None without either."""
    if "sample" not in has:
        if "decode" not in has:
            return None
        prior: Prior = able["prior"]
        return lambda n, generator: _tensor(has["decode"](prior.sample(n, generator, device)), "decode")
    own = has["sample"]
    if _takes_generator(own):
        return lambda n, generator: _tensor(own(n, generator), "sample")

    def sample(n: int, generator: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**31, (), generator=generator))
        state = np.random.get_state()
        with seeded(seed, "sample"):
            np.random.seed(seed)
            try:
                return _tensor(own(n), "sample")
            finally:
                np.random.set_state(state)

    return sample


def _takes_generator(sample: Callable[..., Any]) -> bool:
    """Whether a sampler takes a generator as its second argument."""
    try:
        parameters = list(inspect.signature(sample).parameters.values())
    except (TypeError, ValueError):
        return False
    return len(parameters) > 1 and parameters[1].name in ("generator", "rng")


def _density(log_prob: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def checked(x: Tensor) -> Tensor:
        value = log_prob(x)
        if value.shape != (len(x),):
            raise ValueError(f"log_prob gives {tuple(value.shape)} for {len(x)} examples; expected ({len(x)},)")
        return value

    return checked


def _prior(model: Any, prior: str | Prior, latent_dim: int | None) -> Prior:
    own = getattr(model, "prior", None)
    if isinstance(own, Prior):
        return own
    if not isinstance(prior, str):
        return prior
    dim = latent_dim or getattr(model, "latent_dim", None)
    if not isinstance(dim, int) or dim < 1:
        raise UserError("the dimension of the latents is not known; state latent_dim=N, or give the model latent_dim")
    return prior_of(prior, dim)


def _device(model: Any) -> torch.device:
    if isinstance(model, nn.Module):
        return next((w.device for w in model.parameters()), torch.device("cpu"))
    own = getattr(model, "device", None)
    return own if isinstance(own, torch.device) else torch.device("cpu")


def _is_differentiable(decode: Callable[[Tensor], Tensor], prior: Prior, device: torch.device) -> bool:
    z = prior.sample(2, torch.Generator().manual_seed(0), device).requires_grad_()
    with torch.enable_grad():
        try:
            decoded = decode(z)
        except RuntimeError:  # numpy refuses tensors with gradients
            return False
    return decoded.requires_grad


def _called(function: Any, x: Tensor, name: str) -> Tensor:
    with users_code(f"{name} fails on {tuple(x.shape)}"):
        return _tensor(function(x), name)


def _floating(function: Callable[..., Any]) -> Callable[[Tensor], Tensor]:
    name = getattr(function, "__name__", "the model")
    return lambda x: _tensor(function(x), name).float()


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and value.dtype != object:
        return torch.from_numpy(np.ascontiguousarray(value))
    raise UserError(f"{name} gives a {type(value).__name__}; expected a tensor or an array")
