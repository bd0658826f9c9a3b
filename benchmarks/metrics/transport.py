"""How far samples are from a distribution whose density is known: by transport, and by that density."""

from collections.abc import Mapping
from typing import Any, ClassVar

import ot
import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one, attempt, mean_value, standard_error
from models.contracts import Samples


def wasserstein2(x: Tensor, y: Tensor) -> float:
    """The 2-Wasserstein distance between the empirical distributions of x (n, D) and y (m, D), solved exactly.

    The root of the least mean of ‖x - y‖² over all couplings (Peyré & Cuturi 2019, eq. 2.18), in the data's units.

    Raises:
        ValueError: where the solver gives up.
    """
    cost = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").square().numpy()
    value, log = ot.emd2([], [], cost, numItermax=10_000_000, log=True)
    if log["warning"]:
        raise ValueError(f"optimal transport was not solved: {log['warning']}")
    return float(value) ** 0.5


class KnownTruth(Ruler):
    """`wasserstein2`: between samples and as many examples of the split. `sample_log_density`: the mean log density of
    samples under the true distribution; that of its own draws is minus its entropy, which is in `detail`.

    Args:
        samples: drawn, whatever the protocol draws for other scores; the cost of transport grows with their square.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column("wasserstein2", "", False),
        Column("sample_log_density", "nats", True),
    )

    def __init__(self, samples: int = 2500) -> None:
        at_least_one("known_truth", samples=samples)
        self.samples = samples

    def why_not(self, subject: Subject) -> str | None:
        if not isinstance(subject.model, Samples):
            return "the model does not sample"
        return None if hasattr(subject.data, "mixture") else "the data's density is not known"

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        data: Any = subject.data
        drawn = subject.draw(self.samples)
        real = torch.cat([x.cpu() for x in subject.real(self.samples)])
        log_density = data.mixture.log_prob(drawn.double())
        of_real = float(data.mixture.log_prob(real.double()).mean())
        facts = {"of_real_data": of_real, "standard_error": standard_error(log_density)}
        return {
            "wasserstein2": attempt(lambda: Value(wasserstein2(drawn, real), len(drawn), {"reference": len(real)})),
            "sample_log_density": mean_value(log_density, facts),
        }
