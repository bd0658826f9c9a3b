"""From what was submitted to a subject of rulers: an object with exactly the capabilities that there are."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.errors import UserError, one_line
from benchmarks.external.shapes import SLACK, Range, fit
from benchmarks.external.submission import Submission
from datamodules.base import DataModule
from datamodules.contracts import Split
from models.contracts import Bounds, Decodes, Encodes, Prior, Reconstructs
from models.priors import Normal, Uniform

# of which samples are scored, if more were submitted: files may be sorted by class
ORDER_SEED = 0
# samples whose layout and range stand for all samples of a model
PROBE = 256
CPU = torch.device("cpu")


class External:
    """A subject from elsewhere. Rulers ask an object for capabilities, so a missing one is no attribute at all.

    Args:
        lacking: why it has no capability, by the contract of the capability.
        device: of its inputs.
        context: entered while it is scored.
        **capabilities: methods of `models.contracts`, by name, and `prior`.
    """

    def __init__(
        self,
        lacking: Mapping[type, str],
        device: torch.device = CPU,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        **capabilities: Any,
    ) -> None:
        self.lacking, self.device, self._context = dict(lacking), device, context
        self.__dict__.update(capabilities)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """No gradients, and the mode in which it is scored."""
        with self._context(), torch.no_grad():
            yield


def prior_of(name: str, dim: int) -> Prior:
    """The prior of a name of `benchmarks.external.words.PRIORS`."""
    return Normal(dim) if name == "normal" else Uniform(dim)


def of_submission(
    submission: Submission, data: DataModule, split: Split, examples: int | None, prior: str = "normal"
) -> External:
    """The subject of submitted arrays.

    Args:
        submission: its arrays.
        data: the data that it is scored on.
        split: the split of its reconstructions and latents.
        examples: the number of examples of the split that are read; None for all.
        prior: of the latents.
    """
    n, capabilities = len(submission.samples), dict[str, Any]()

    def drawn(count: int) -> Tensor:
        if count > n:
            raise ValueError(f"{n:,} samples were submitted, and {count:,} are needed")
        order = np.arange(n) if count == n else np.random.default_rng(ORDER_SEED).permutation(n)[:count]
        return _floats(submission.samples[order])

    by_example = _ByExample(data, split, examples)
    if submission.reconstructions is not None:
        capabilities["reconstruct"] = by_example.reader(submission.reconstructions, "reconstruction")
    if submission.latents is not None:
        capabilities["encode"] = by_example.reader(submission.latents, "latent")
        draws = submission.latents if submission.latent_draws is None else submission.latent_draws
        capabilities["draw_code"] = by_example.reader(draws, "latent")
        capabilities["prior"] = prior_of(prior, submission.latents.shape[1])
    lacking: dict[type, str] = {
        Decodes: "samples were submitted, and no decoder",
        Encodes: "no latents were submitted",
        Reconstructs: "no reconstructions were submitted",
        Bounds: "samples were submitted, and no bound on log p(x)",
    }
    return External(lacking, drawn=drawn, sample=lambda count, generator=None: drawn(min(count, n)), **capabilities)


class Form:
    """From the outputs of a model to the form of the data.

    Args:
        probe: some of its samples, as it gives them.
        shape: of the data.
        layout: of the samples; None finds it.
        stated: the values that become 0 and 1; None finds them.

    Raises:
        UserError: for samples that do not fit the data.
    """

    def __init__(self, probe: Tensor, shape: Sequence[int], layout: str | None, stated: Range | None) -> None:
        fitted = fit(probe.detach().cpu().numpy(), "the output of the model", shape, layout, stated)
        self.layout, self.range, self.bounds, self.remarks = fitted.layout, fitted.range, fitted.bounds, fitted.remarks
        self._shape, self._is_stated = tuple(probe.shape[1:]), stated is not None

    def __call__(self, x: Tensor) -> Tensor:
        """(B, ...) as the model gives it -> (B, ...) as the data are; differentiable.

        Raises:
            ValueError: for another shape than that of the probe.
        """
        if tuple(x.shape[1:]) != self._shape:
            raise ValueError(f"the model gives the shape {tuple(x.shape[1:])} and gave {self._shape} before")
        if self.layout == "NHWC":
            x = x.permute(0, 3, 1, 2)
        elif self.layout == "NHW":
            x = x[:, None]
        if self.bounds is None:
            return x.float()
        low, high = self.bounds
        scaled = ((x.float() - low) / (high - low)).clamp(0, 1)
        return scaled.where(x.isfinite(), torch.nan)  # infinity would be clipped to a grey value

    def unclipped(self, x: Tensor) -> Tensor:
        """As a call, for samples and reconstructions. The search of latents may leave the range of samples, and is clipped.

        Raises:
            UserError: for values outside of the range that was found in the probe: a clipped score would be another model's.
        """
        if self.bounds is not None and not self._is_stated and x.isfinite().any():
            (low, high), finite = self.bounds, x[x.isfinite()]
            least, most, slack = float(finite.min()), float(finite.max()), SLACK * (high - low)
            if least < low - slack or most > high + slack:
                raise UserError(
                    f"the model gives values from {least:.4g} to {most:.4g}, and the first that were tried lie within "
                    f"{low:g} to {high:g}; state the range, as in range=[{low:g},{high:g}], which clips values outside"
                )
        return self(x)


class _ByExample:
    """What was submitted of each example of a split, found by the content of the example."""

    def __init__(self, data: DataModule, split: Split, examples: int | None) -> None:
        self._data, self._split, self._examples = data, split, examples
        self._rows: dict[bytes, int] = {}

    def reader(self, array: NDArray[Any], what: str) -> Callable[[Tensor], Tensor]:
        """A function from examples, (B, ...), to their rows of the array, (B, ...)."""

        def read(x: Tensor) -> Tensor:
            rows = [self._row(digest) for digest in _digests(x)]
            if None in rows:
                raise ValueError(
                    f"no {what} of these examples was submitted: those of the {self._split} split alone were"
                )
            return _floats(array[np.array(rows)])

        return read

    def _row(self, digest: bytes) -> int | None:
        if not self._rows:
            batches = self._data.batches(self._split, PROBE, self._examples)
            digests = [d for x in batches for d in _digests(x)]
            # of equal examples, the first
            self._rows = {d: i for i, d in reversed(list(enumerate(digests)))}
        return self._rows.get(digest)


def _digests(x: Tensor) -> list[bytes]:
    return [hashlib.blake2b(each.tobytes(), digest_size=16).digest() for each in x.cpu().contiguous().numpy()]


def _floats(array: NDArray[Any]) -> Tensor:
    x = torch.from_numpy(np.ascontiguousarray(array))
    return x.float() / 255 if x.dtype == torch.uint8 else x


def probe_of(sample: Callable[[int], Tensor]) -> Tensor:
    """Some samples of a model, checked to be a tensor of finite numbers.

    Raises:
        UserError: for anything else.
    """
    with users_code("the model does not sample"):
        x = sample(PROBE)
    if x.dim() == 0 or len(x) != PROBE:
        raise UserError(f"the model gives {tuple(x.shape)} for {PROBE} samples; expected ({PROBE}, ...)")
    return x


@contextmanager
def users_code(what: str) -> Iterator[None]:
    """Runs the code of a user in the block. It raises errors of any kind; each becomes a UserError that begins with `what`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what} ({type(error).__name__}: {one_line(error)[:160]})") from error
