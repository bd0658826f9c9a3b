"""Estimating a log-likelihood for any decoder, by annealed importance sampling under one Gaussian observation model.

An autoencoder and a GAN have no likelihood, and each VAE has a likelihood of its own. Here every decoder gets the same
observation model: p(x|z) = N(x; g(z), σ²I), with the maximum-likelihood σ on validation data (Wu et al. 2017, sec. 3).
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
from benchmarks.records.columns import columns_of
from models.contracts import Decodes


class AIS(Ruler):
    """`ais`: the mean over examples of the log of the mean weight, in nats; in expectation a lower bound of log p(x).

    `ais_gap`: the mean upper bound of backward chains less the mean lower bound of forward chains, on data simulated from
    the decoder, where exact posterior draws are known (BDMC; Grosse et al. 2015). It says how tight `ais` is on such data.
    `bits_per_dim` is `ais` in bits a dimension on dequantised data, computed alike for every family.

    Args:
        examples: of the split that are scored.
        chains: for each example; 16 is Wu et al.'s (2017, sec. 4).
        temperatures: distributions from the prior to the posterior.
        leapfrog: steps of a transition.
        sigma: of the observation model; None tunes it.
        tuning_examples: of the validation split, on which σ is tuned.
        tuning_rounds: of expectation maximisation.
        simulated: examples for the gap.

    Raises:
        ValueError: for numbers out of range.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("ais")
    needs_model = (Decodes,)

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
        binary = "a Gaussian is not a likelihood of binary pixels" if subject.data.is_binary else None
        return super().why_not(subject) or binary

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        model: Decodes = subject.model
        settings = self.settings
        generator = torch.Generator().manual_seed(subject.seed)
        # checks the decoder before the long work
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
