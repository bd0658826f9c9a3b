"""Anomaly detection: whether a model tells a class that it never saw from the classes that it knows."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from benchmarks.metrics.base import LACKING, Column, Ruler, Subject, Value, at_least_one, attempt
from benchmarks.metrics.bound import Bound, own_log_density
from benchmarks.metrics.inversion import Inversion
from benchmarks.metrics.reconstruction import mse
from benchmarks.records.columns import columns_of
from datamodules.contracts import LeavesOutClass
from models.contracts import Reconstructs


def auroc(known: Tensor, unknown: Tensor) -> float:
    """The probability that an unknown example's anomaly score is above a known one's, ties counting half. (N,), (M,).

    The area under the receiver operating characteristic (Fawcett 2006, sec. 7).

    Raises:
        ValueError: for a score that is NaN, or no scores on a side.
    """
    scores = torch.cat([known, unknown]).double()
    if not len(known) or not len(unknown):
        raise ValueError("the split has no example on one side of the detection")
    if scores.isnan().any():
        raise ValueError(f"{int(scores.isnan().sum())} of {len(scores)} anomaly scores are not numbers")
    # ranks instead of scores, because torchmetrics squashes scores outside [0, 1], and large scores become equal
    ranks = scores.unique(return_inverse=True)[1].double()
    labels = torch.cat([torch.zeros(len(known)), torch.ones(len(unknown))]).long()
    return float(binary_auroc(ranks / max(float(ranks.max()), 1.0), labels))


class Anomaly(Ruler):
    """Area under the ROC for detecting the class that was left out of training, among the classes of the reference split.

    The anomaly scores are the reconstruction error, the error of latent inversion, and minus log p(x), or minus its bound.

    Schlegl et al. 2017 (AnoGAN) for inversion; An & Cho 2015 for autoencoders and VAEs.

    Args:
        examples: of each side, at most.
        inversion: the search for latents.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("anomaly")
    version = 2  # the search of inversion
    needs_data = (LeavesOutClass,)

    def __init__(self, examples: int = 300, inversion: Inversion | None = None) -> None:
        at_least_one("anomaly", examples=examples)
        self.examples, self.inversion = examples, inversion or Inversion()

    def why_not(self, subject: Subject) -> str | None:
        none_left_out = LACKING[LeavesOutClass] if getattr(subject.data, "leave_out", None) is None else None
        return super().why_not(subject) or none_left_out

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        data: Any = subject.data
        limit = min(self.examples, subject.examples or self.examples)
        known = torch.cat([x.cpu() for x in subject.real(limit)])
        unknown = torch.cat(list(data.left_out(subject.split, subject.batch_size, limit)))
        by: dict[str, Callable[[Tensor], Tensor]] = {}
        if isinstance(subject.model, Reconstructs):
            by["auroc_reconstruction"] = lambda x: _batched(
                x, subject, lambda part: mse(subject.model.reconstruct(part), part)
            )
        if self.inversion.why_not(subject) is None:
            by["auroc_inversion"] = lambda x: mse(subject.decode(self.inversion.search(subject, x)), x)
        no_bound = Bound().why_not(subject)
        if no_bound is None:
            by["auroc_bound"] = lambda x: _batched(x, subject, lambda part: -own_log_density(subject.model, part))
        detail = {"left_out": data.leave_out, "anomalies": len(unknown)}
        values = {name: attempt(partial(_detection, score, known, unknown, detail)) for name, score in by.items()}
        return values if no_bound is None else values | {"auroc_bound": no_bound}


def _detection(score: Callable[[Tensor], Tensor], known: Tensor, unknown: Tensor, detail: dict[str, Any]) -> Value:
    return Value(auroc(score(known), score(unknown)), len(known) + len(unknown), detail)


def _batched(x: Tensor, subject: Subject, score: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([score(part.to(subject.device)).double().cpu() for part in x.split(subject.batch_size)])
