"""The detour through an encoder: whether the decoder decodes latents of the prior as well as it decodes codes.

The latent space of an autoencoder has holes, and the prior draws latents from the holes. FID of decoded latents shows the
holes: latents of the prior (`fid`), of a density fitted to the codes (`fid_fitted`), codes (`reconstruction_fid`), and
points between two codes (`interpolation_fid`). Ghosh et al. 2020 (RAE), sec. 6 and tab. 1.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one, attempt
from benchmarks.metrics.frechet import feature_detail, fid_of
from benchmarks.metrics.kernel import inverse_multiquadric, squared_mmd
from benchmarks.records.columns import columns_of
from models.contracts import Decodes, Encodes, Reconstructs, Samples

# a gap between prior and codes below this share of the prior's FID is no gap
LEAST_GAP = 0.05


class FittedFID(Ruler):
    """FID of decoded draws from densities fitted to the training codes: one Gaussian, and a mixture of Gaussians.

    If q(z|x) is a distribution, one draw of it is the code, so the density is fitted to the aggregate posterior. The prior, the
    Gaussian, the mixture and the codes themselves are the rungs of a ladder. `moments_share` and `shape_share` say which part of
    the FID between the prior and the codes is gone with the location and scale of the codes (the Gaussian has their mean
    and covariance, as whitened codes have those of the prior), and which part with their shape (the mixture).

    Args:
        components: the components of the mixture, of full covariances; 10 is the paper's.
        codes: the number of training examples that are encoded.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("fitted_fid")
    version = 2  # the two shares
    needs_model = (Encodes, Decodes)
    needs_features = True

    def __init__(self, components: int = 10, codes: int = 10_000) -> None:
        at_least_one("fitted_fid", components=components, codes=codes)
        self.components, self.codes = components, codes

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        codes = subject.codes("train", self.codes, drawn=True)

        def measured(components: int) -> Value:
            latents = subject.once(
                f"draws of {components} components fitted to {self.codes} codes",
                lambda: draw_fitted(codes, components, subject.samples, subject.seed),
            )
            return _fid_of_latents(subject, latents, {"components": components, "codes": len(codes)})

        mixture, gaussian = attempt(lambda: measured(self.components)), attempt(lambda: measured(1))
        values = {"fid_fitted": mixture, "fid_fitted_gaussian": gaussian}
        if isinstance(subject.model, Samples) and isinstance(mixture, Value) and isinstance(gaussian, Value):
            values |= self._shares(subject, gaussian.value, mixture.value)
        return values

    def _shares(self, subject: Subject, gaussian: float, mixture: float) -> dict[str, Value | str]:
        prior = fid_of(subject.reference_features, subject.features)
        gap = prior - fid_of(subject.reference_features, subject.reconstruction_features)
        if gap < LEAST_GAP * prior:
            reason = "samples from the prior are as near to the data as decoded codes: there is no gap to share"
            return {"moments_share": reason, "shape_share": reason}
        detail = feature_detail(subject)
        return {
            "moments_share": Value((prior - gaussian) / gap, subject.samples, detail),
            "shape_share": Value((gaussian - mixture) / gap, subject.samples, detail),
        }


class ReconstructionFID(Ruler):
    """FID of the reconstructed reference split against the split: the best FID that the decoder can reach."""

    columns: ClassVar[tuple[Column, ...]] = columns_of("reconstruction_fid")
    needs_model = (Reconstructs,)
    needs_features = True

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        features = subject.reconstruction_features
        fid = fid_of(subject.reference_features, features)
        return {"reconstruction_fid": Value(fid, len(features), feature_detail(subject))}


class InterpolationFID(Ruler):
    """FID of decoded midpoints between the codes of two examples of the reference split, drawn at random, along three paths.

    `interpolation_fid`: the prior's own path, for N(0, I) the great circle about the origin (White 2016, sec. 2.1), which suits
    codes that lie about the origin. `interpolation_fid_centred`: the same path about the mean of the codes.
    `interpolation_fid_straight`: the straight line, which leaves the shell on which the codes of a Gaussian lie.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("interpolation_fid")
    version = 2  # three paths
    needs_model = (Encodes, Decodes)
    needs_features = True

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        codes = subject.codes(subject.split, subject.examples)
        if len(codes) < 2:
            raise ValueError(f"{len(codes)} example of the {subject.split} split: an interpolation needs two codes")
        generator = torch.Generator().manual_seed(subject.seed)
        first = torch.randint(len(codes), (subject.samples,), generator=generator)
        # another example, never the same
        second = (first + torch.randint(1, len(codes), (subject.samples,), generator=generator)) % len(codes)
        model: Decodes = subject.model
        a, b, mean = codes[first], codes[second], codes.mean(0)
        midpoints = {
            "interpolation_fid": model.prior.midpoint(a, b),
            "interpolation_fid_straight": (a + b) / 2,
            "interpolation_fid_centred": mean + model.prior.midpoint(a - mean, b - mean),
        }
        return {name: attempt(partial(_fid_of_latents, subject, latents)) for name, latents in midpoints.items()}


class Posterior(Ruler):
    """The distance between the aggregate posterior and the prior, and the number of latents that carry information.

    `posterior_mmd`: unbiased MMD² between draws of q(z|x), one for each example of the split, and of p(z), under the
    inverse multiquadric kernel of Tolstikhin et al. 2018 (WAE). `active_units`: latents whose code varies over the
    examples, Var E[z|x] > `threshold` (Burda et al. 2016, sec. 5.3).

    Args:
        threshold: 0.01 is the paper's.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("posterior")
    needs_model = (Encodes,)

    def __init__(self, threshold: float = 0.01) -> None:
        self.threshold = threshold

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        model: Decodes = subject.model
        means = subject.codes(subject.split, subject.examples)
        drawn = subject.codes(subject.split, subject.examples, drawn=True)
        generator = torch.Generator().manual_seed(subject.seed)
        prior = model.prior.sample(len(drawn), generator)
        mmd, error = squared_mmd(drawn.double(), prior.double(), inverse_multiquadric)
        active = int((means.double().var(0) > self.threshold).sum())
        return {
            "posterior_mmd": Value(mmd, len(drawn), {"standard_error": error}),
            "active_units": Value(active, len(means), {"of": means.shape[1]}),
        }


def _fid_of_latents(subject: Subject, latents: Tensor, detail: Mapping[str, Any] | None = None) -> Value:
    """FID of decoded latents, (n, Z), against the reference split."""
    fid = fid_of(subject.reference_features, subject.features_of(subject.decode(latents)))
    return Value(fid, len(latents), feature_detail(subject) | dict(detail or {}))


def draw_fitted(codes: Tensor, components: int, n: int, seed: int) -> Tensor:
    """n draws of a mixture of Gaussians of full covariance fitted to codes (N, Z) by expectation maximisation, (n, Z).

    Raises:
        ValueError: for fewer codes than components.
    """
    from sklearn.mixture import GaussianMixture  # here, because it takes half a second to load

    if len(codes) < max(components, 2):
        raise ValueError(f"{len(codes)} codes are too few for a mixture of {components}")
    mixture = GaussianMixture(components, random_state=seed, max_iter=200).fit(codes.double().numpy())
    latents, _ = mixture.sample(n)
    # sklearn draws one component after another
    order = np.random.default_rng(seed).permutation(n)
    return torch.from_numpy(latents[order].astype(np.float32))
