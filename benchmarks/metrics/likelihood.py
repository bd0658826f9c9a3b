"""log p(x) of any decoder, by annealed importance sampling under one Gaussian observation model.

An autoencoder and a GAN have no likelihood of their own, and a VAE has one of its own choosing. Here each decoder gets the
same: p(x|z) = N(x; g(z), σ²I), σ its maximum-likelihood value on validation data (Wu et al. 2017, sec. 3).
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmarks.metrics.annealing import (
    Run,
    Settings,
    Target,
    backward,
    forward,
    log_mean_weight,
    tune,
    tune_sigma,
)
from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one, finite, mean_value, standard_error
from benchmarks.metrics.bound import NOT_DEQUANTIZED, bits_per_dim
from models.contracts import Decodes


class AIS(Ruler):
    """`ais`: the mean over examples of the log of the mean weight, in nats, in expectation a lower bound of log p(x).

    `ais_gap`: on data simulated from the decoder, whose exact posterior draws are known, how far the mean upper bound of
    backward chains is above the mean lower bound of forward chains (BDMC; Grosse et al. 2015): how well `ais` can be
    trusted. `bits_per_dim` is the same as `ais` on dequantised data, for every family alike.

    Args:
        examples: of the split that are scored.
        chains: for each; 16 is Wu et al.'s (2017, sec. 4).
        temperatures: from prior to posterior.
        leapfrog: steps of a transition.
        sigma: of the observation model; None tunes it.
        tuning_examples: of the validation split, to tune σ on.
        tuning_rounds: of expectation maximisation.
        simulated: examples for the gap.

    Raises:
        ValueError: for numbers out of range.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column("ais", "nats", True),
        Column("ais_gap", "nats", None),  # of the number beside it, and no merit of a model
        Column("bits_per_dim", "bits/dim", False),
    )

    def __init__(
        self,
        examples: int = 100,
        chains: int = 16,
        temperatures: int = 1000,
        leapfrog: int = 5,
        sigma: float | None = None,
        tuning_examples: int = 16,
        tuning_rounds: int = 6,
        simulated: int = 16,
    ) -> None:
        self.settings = Settings(chains, temperatures, leapfrog)
        if sigma is not None and not sigma > 0:
            raise ValueError(f"metric ais: sigma is {sigma}; expected null or a number above 0")
        at_least_one("ais", examples=examples, tuning_examples=tuning_examples, tuning_rounds=tuning_rounds)
        at_least_one("ais", simulated=simulated)
        self.examples, self.sigma, self.simulated = examples, sigma, simulated
        self.tuning_examples, self.tuning_rounds = tuning_examples, tuning_rounds

    def why_not(self, subject: Subject) -> str | None:
        if not isinstance(subject.model, Decodes):
            return "the model has no decoder"
        return "a Gaussian is no likelihood of binary pixels" if subject.data.is_binary else None

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        model: Decodes = subject.model
        settings = self.settings
        generator = torch.Generator().manual_seed(subject.seed)
        # a decoder that is broken is said to be, before chains wander in it
        finite(model.decode(model.prior.sample(64, generator, subject.device)), "samples")
        validation = torch.cat(list(subject.data.batches("val", subject.batch_size, self.tuning_examples)))
        sigmas = (
            [self.sigma]
            if self.sigma is not None
            else tune_sigma(
                model.decode,
                model.prior,
                validation.to(subject.device),
                settings,
                self.tuning_rounds,
                generator,
                "AIS, tuning sigma",
            )
        )
        detail: dict[str, Any] = {"sigma": sigmas[-1], "chains": settings.chains, "temperatures": settings.temperatures}
        if self.sigma is None:
            detail |= {"sigma_by_round": sigmas}
        x = torch.cat(list(subject.real(self.examples)))
        run = self._forward(model, x, sigmas[-1], generator, "AIS")
        log_density = log_mean_weight(run.log_weights)
        facts = {"acceptance": run.acceptance, "standard_error": standard_error(log_density)}
        values: dict[str, Value | str] = {
            "ais": mean_value(log_density, detail | {"leapfrog": settings.leapfrog} | facts),
            "ais_gap": self._gap(subject, sigmas[-1], generator, detail),
            "bits_per_dim": NOT_DEQUANTIZED if subject.is_images else "points are not dequantised",
        }
        if subject.data.dequantize:
            bits = bits_per_dim(log_density, math.prod(subject.data.shape))
            values["bits_per_dim"] = mean_value(bits, detail | {"standard_error": standard_error(bits)})
        return values

    def _forward(self, model: Decodes, x: Tensor, sigma: float, generator: torch.Generator, label: str) -> Run:
        target = Target(model.decode, model.prior, x, sigma, self.settings.chains)
        plan = tune(target, self.settings, generator, f"{label}, tuning steps")
        return forward(target, plan, self.settings.leapfrog, generator, label)

    def _gap(self, subject: Subject, sigma: float, generator: torch.Generator, detail: dict[str, Any]) -> Value:
        model: Decodes = subject.model
        z = model.prior.sample(self.simulated, generator, subject.device)
        mean = model.decode(z)
        x = mean + sigma * torch.randn(mean.shape, generator=generator).to(mean)
        target = Target(model.decode, model.prior, x, sigma, self.settings.chains)
        plan = tune(target, self.settings, generator, "AIS gap, tuning steps")
        lower = forward(target, plan, self.settings.leapfrog, generator, "AIS gap, lower bound")
        upper = backward(target, plan, z, self.settings.leapfrog, generator, "AIS gap, upper bound")
        gap = -log_mean_weight(upper.log_weights) - log_mean_weight(lower.log_weights)
        return mean_value(gap, detail | {"standard_error": standard_error(gap)})
