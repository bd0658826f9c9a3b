"""The distance of samples from a distribution whose density is known: by transport, and by the density."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one, attempt, mean_value, standard_error
from benchmarks.records.columns import columns_of
from datamodules.contracts import KnownDensity
from models.contracts import Samples


def wasserstein2(x: Tensor, y: Tensor) -> float:
    """The 2-Wasserstein distance between the empirical distributions of x (n, D) and y (m, D), solved exactly.

    The root of the least mean of ‖x - y‖² over all couplings (Peyré & Cuturi 2019, eq. 2.18), in the data's units.

    Raises:
        ValueError: if the solver does not converge.
    """
    import ot  # here, because it loads many packages, and points alone need it

    cost = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").square().numpy()
    value, log = ot.emd2([], [], cost, numItermax=10_000_000, log=True)
    if log["warning"]:
        raise ValueError(f"optimal transport was not solved: {log['warning']}")
    return float(value) ** 0.5


class KnownTruth(Ruler):
    """`wasserstein2`: between samples and as many examples of the split. `sample_log_density`: the mean log density of
    samples under the true distribution; `detail` has the same for real examples, about minus the entropy.

    Args:
        samples: drawn, whatever the protocol draws for other scores. The cost of transport grows with their square.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("known_truth")
    needs_model = (Samples,)
    needs_data = (KnownDensity,)

    def __init__(self, samples: int = 2500) -> None:
        at_least_one("known_truth", samples=samples)
        self.samples = samples

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        data = subject.data
        assert isinstance(data, KnownDensity)
        drawn = subject.draw(self.samples)
        real = torch.cat([x.cpu() for x in subject.real(self.samples)])
        log_density = data.mixture.log_prob(drawn.double())
        of_real = float(data.mixture.log_prob(real.double()).mean())
        facts = {"of_real_data": of_real, "standard_error": standard_error(log_density)}
        return {
            "wasserstein2": attempt(lambda: Value(wasserstein2(drawn, real), len(drawn), {"reference": len(real)})),
            "sample_log_density": mean_value(log_density, facts),
        }
