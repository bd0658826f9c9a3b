"""Memorisation: whether samples lie nearer to the training examples than examples that the model never saw.

The share of near copies; authenticity (Alaa et al. 2022, "How Faithful is your Synthetic Data?", sec. 3); the data-copying test
C_T (Meehan et al. 2020, "A Non-Parametric Test to Detect Data-Copying in Generative Models").
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one, attempt
from benchmarks.metrics.frechet import feature_detail
from benchmarks.metrics.nearest import Nearest, nearest_others, nearest_points
from benchmarks.records.columns import columns_of
from models.contracts import Samples

Array = NDArray[np.float64]


class DataCopying(NamedTuple):
    """C_T, and what it is the mean of.

    Args:
        c_t: the mean over cells, each weighted by its number of held-out examples.
        everywhere: the statistic of all samples, without cells.
        lowest: of a cell.
        cells: the number of cells that have enough samples.
    """

    c_t: float
    everywhere: float
    lowest: float
    cells: int


def authentic(nearest: Nearest, among: Tensor) -> Tensor:
    """Whether each sample is farther from its nearest training example than that one is from its own nearest. -> (N,), bool.

    Alaa et al. 2022, sec. 3.3: A_j = 1{d(x̂_j, x_i) > d(x_i, D \\ {x_i})}, x_i the training example nearest to x̂_j. (The
    authors' program asks the question of each training example and its nearest sample instead.)

    Args:
        nearest: the nearest training example of each sample.
        among: (T,), the squared distance of each training example to the nearest other.
    """
    return nearest.squared[:, 0] > among[nearest.places[:, 0]]


def mann_whitney_z(a: Array, b: Array) -> float:
    """(U - nm/2) / √(nm (n + m + 1)/12) of (n,) and (m,) values: below 0 if those of a are the smaller ones. Mann & Whitney 1947.

    U counts the pairs in which a is larger, ties by half. The deviation is that without ties, so that it is never 0.
    """
    n, m = len(a), len(b)
    u = rankdata(np.concatenate([a, b]))[:n].sum() - n * (n + 1) / 2
    return float((u - n * m / 2) / (n * m * (n + m + 1) / 12) ** 0.5)


def data_copying(fake: Array, fake_cells: Array, real: Array, real_cells: Array, smallest: int) -> DataCopying:
    """C_T = Σ P(π) Z(π) / Σ P(π) over the cells π with enough samples. Meehan et al. 2020, sec. 4.

    Z(π) is the z-score of the Mann-Whitney statistic of the samples' distances against those of held-out examples, in cell π;
    P(π) is the share of held-out examples in π.

    Args:
        fake, real: (m,) and (n,), distances of samples and of held-out examples to their nearest training examples.
        fake_cells, real_cells: their cells.
        smallest: the number of samples that a cell needs.

    Raises:
        ValueError: if no cell has so many samples, and a held-out example.
    """
    scores, weights = [], []
    for cell in np.unique(real_cells):
        of_fake, of_real = fake[fake_cells == cell], real[real_cells == cell]
        if len(of_fake) >= smallest:
            scores.append(mann_whitney_z(of_fake, of_real))
            weights.append(len(of_real))
    if not scores:
        raise ValueError(f"no cell of the training examples has {smallest} samples and a held-out example")
    return DataCopying(float(np.average(scores, weights=weights)), mann_whitney_z(fake, real), min(scores), len(scores))


class Memorisation(Ruler):
    """How near the samples are to training examples, in the protocol's feature space.

    Args:
        quantile: a near copy is nearer to a training example than all but this share of the training examples are to their
            nearest others. Of examples that the model never saw, about this share are near copies.
        cells: of k-means of the training examples; fewer if samples or held-out examples are few.
        smallest: the number of samples that a cell needs.
        training_examples: so many are searched; None for all.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("memorisation")
    needs_model = (Samples,)
    needs_features = True

    def __init__(self, quantile: float, cells: int, smallest: int, training_examples: int | None) -> None:
        at_least_one("memorisation", cells=cells, smallest=smallest, training_examples=training_examples)
        if not 0 < quantile < 1:
            raise ValueError(f"metric memorisation: quantile is {quantile}; expected a share between 0 and 1")
        self.quantile, self.cells, self.smallest, self.training_examples = quantile, cells, smallest, training_examples

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        train = subject.training_features(self.training_examples)
        if len(train) < 2:
            raise ValueError(f"{len(train)} training example: the distance to the nearest other one needs 2 or more")
        held_out, fake = subject.reference_features, subject.features

        def cached(of: str, compute: Callable[[], Nearest], **more: Any) -> Nearest:
            """The first of the nearest, which is the same for every model."""
            both = subject.of_training_features(
                {"of": of, **more}, lambda: torch.cat([*compute()], 1), self.training_examples
            )
            return Nearest(both[:, :1], both[:, 1:].long())  # a place is a whole number in float64 too

        among = cached("nearest other", lambda: nearest_others(train, 1)).squared[:, 0]
        reference = {"split": subject.split, "examples": subject.examples}
        real = cached("nearest of the reference", lambda: nearest_points(held_out, train, 1), reference=reference)
        own = nearest_points(fake, train, 1)
        squared_radius = torch.quantile(among, self.quantile)
        detail = feature_detail(subject) | {"training": len(train)}

        def share(of_samples: Tensor, of_held_out: Tensor) -> Value:
            means = [float(each.double().mean()) for each in (of_samples, of_held_out)]
            return Value(means[0], subject.samples, detail | {"held_out": means[1]})

        def copying() -> Value:
            # of the smaller side, a cell has twice the least number on average
            fitting = min(len(fake), len(held_out)) // (2 * self.smallest)
            centres = self._centres(subject, train, max(1, min(self.cells, fitting, len(train))))
            cells = [nearest_points(x, centres, 1).places[:, 0].numpy() for x in (fake, held_out)]
            distances = [found.squared[:, 0].numpy() for found in (own, real)]
            test = data_copying(distances[0], cells[0], distances[1], cells[1], self.smallest)
            detail_of_cells = {"cells": len(centres), "cells_used": test.cells, "lowest_cell": test.lowest}
            return Value(test.c_t, subject.samples, detail | detail_of_cells | {"without_cells": test.everywhere})

        return {
            "copied_share": share(own.squared[:, 0] <= squared_radius, real.squared[:, 0] <= squared_radius),
            "authenticity": share(authentic(own, among), authentic(real, among)),
            "c_t": attempt(copying),
        }

    def _centres(self, subject: Subject, train: Tensor, cells: int) -> Tensor:
        """The centres of the cells, (cells, D): k-means of the training features."""

        def compute() -> Tensor:
            # here, because they take half a second to load
            from sklearn.cluster import KMeans
            from sklearn.exceptions import ConvergenceWarning

            with warnings.catch_warnings():  # repeated examples may leave fewer cells
                warnings.simplefilter("ignore", ConvergenceWarning)
                fitted = KMeans(cells, n_init=1, random_state=subject.seed).fit(train.numpy())
            return torch.from_numpy(fitted.cluster_centers_)

        facts = {"of": "centres of k-means", "cells": cells, "seed": subject.seed}
        return subject.of_training_features(facts, compute, self.training_examples)
