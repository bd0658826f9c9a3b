"""Estimating a log-likelihood for any decoder, by annealed importance sampling under one Gaussian observation model.

An autoencoder and a GAN have no likelihood, and each VAE has a likelihood of its own. Here every decoder gets the same
observation model: p(x|z) = N(x; g(z), σ²I), with the maximum-likelihood σ on validation data (Wu et al. 2017, sec. 3). Grey
images are dequantised, so that the density is one of real-valued pixels.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmarks.metrics.annealing import (
    Plan,
    Run,
    Settings,
    backward,
    forward,
    log_mean_weight,
    settle,
    tune_plans,
)
from benchmarks.metrics.base import Column, Ruler, Subject, Value, at_least_one, finite, mean_value, standard_error
from benchmarks.metrics.bound import bits_per_dim
from benchmarks.metrics.chains import Target
from benchmarks.metrics.observation import SigmaSearch, tune_sigma
from benchmarks.records.columns import columns_of
from models.contracts import Decodes

# the smaller number of temperatures, as a share of the larger one
SHARE = 4


class AIS(Ruler):
    """`ais`: the mean over examples of the log of the mean weight, in nats; in expectation a lower bound of log p(x).

    `ais_quarter`: the same with a quarter of the temperatures, on the same examples. `ais_rise`: the rise from it to `ais`. What
    AIS lacks falls about as one over the number of temperatures, so the rise is about three times what `ais` still lacks.
    If the rise is larger than the tolerance, `ais` has not converged and has no number.
    `ais_gap`, with a quarter of the temperatures: the mean upper bound of backward chains minus the mean lower bound of forward
    chains, on data simulated from the decoder, where exact posterior draws are known (BDMC; Grosse et al. 2015). It says how
    tight `ais` is on such data, and nothing of real examples. `ais_gap_real`: the same on real examples, from long posterior
    runs (Grosse et al. 2016).
    `bits_per_dim`: `ais` in bits per dimension of grey images. `ais_sigma`: the σ of the observation model.

    Args:
        examples: the number of examples of the split that are scored.
        chains: for each example; 16 is Wu et al.'s (2017, sec. 4).
        temperatures: distributions from the prior to the posterior.
        leapfrog: steps of a transition.
        tolerance: the largest rise of a converged estimate, in nats per dimension.
        sigma: of the observation model; None tunes it.
        tuning_examples: the number of validation examples on which σ is tuned.
        tuning_tolerance: the search for σ ends when log σ moves by less.
        tuning_rounds: the search for σ ends at the latest after this number of rounds, each as long as the measurement.
        simulated: the number of examples for each of the two gaps.

    Raises:
        ValueError: for numbers out of range.
    """

    columns: ClassVar[tuple[Column, ...]] = columns_of("ais")
    version = 3  # momentum that is kept, σ by likelihood from a rough search, a rise, dequantised pixels
    needs_model = (Decodes,)
    searches_latents = True
    needs_grey = True

    def __init__(
        self,
        examples: int = 100,
        chains: int = 16,
        temperatures: int = 1000,
        leapfrog: int = 5,
        tolerance: float = 0.02,
        sigma: float | None = None,
        tuning_examples: int = 16,
        tuning_tolerance: float = 0.02,
        tuning_rounds: int = 3,
        simulated: int = 16,
    ) -> None:
        self.settings = Settings(chains, temperatures, leapfrog)
        if sigma is not None and not sigma > 0:
            raise ValueError(f"metric ais: sigma is {sigma}; expected null or a number above 0")
        for name, value in {"tolerance": tolerance, "tuning_tolerance": tuning_tolerance}.items():
            if not value > 0:
                raise ValueError(f"metric ais: {name} is {value}; expected a number above 0")
        at_least_one("ais", examples=examples, tuning_examples=tuning_examples, tuning_rounds=tuning_rounds)
        at_least_one("ais", simulated=simulated)
        self.examples, self.sigma, self.simulated, self.tolerance = examples, sigma, simulated, tolerance
        self.tuning_examples, self.tuning_rounds = tuning_examples, tuning_rounds
        self.tuning_tolerance = tuning_tolerance

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        model: Decodes = subject.model
        generator = torch.Generator().manual_seed(subject.seed)
        # checks the decoder before the long work
        finite(model.decode(model.prior.sample(64, generator, subject.device)), "samples")
        search = self._search(subject, generator)
        detail: dict[str, Any] = {
            "sigma": search.sigma,
            "chains": self.settings.chains,
            "leapfrog": self.settings.leapfrog,
        }
        if self.sigma is None:
            facts = {"sigma_rounds": search.rounds, "sigma_curve": search.curve, "sigma_settled": search.has_settled}
        else:
            facts = {}
        values = self._real(subject, search.sigma, generator, detail | facts)
        values["ais_gap"] = self._simulated_gap(subject, search.sigma, generator, detail)
        if self.sigma is None:
            values["ais_sigma"] = Value(search.sigma, self.tuning_examples, facts)
        return values

    def _search(self, subject: Subject, generator: torch.Generator) -> SigmaSearch:
        if self.sigma is not None:
            return SigmaSearch(self.sigma, (), (), True)
        model: Decodes = subject.model
        x = torch.cat(list(subject.likelihood_examples("val", self.tuning_examples)))
        settings = (self.settings, self.tuning_tolerance, self.tuning_rounds, generator, "AIS, tuning sigma")
        return tune_sigma(subject.folded_decode, model.prior, x, *settings)

    def _real(
        self, subject: Subject, sigma: float, generator: torch.Generator, detail: dict[str, Any]
    ) -> dict[str, Value | str]:
        """AIS of real examples with all temperatures and with a quarter, and the gap of some of them."""
        x = torch.cat(list(subject.likelihood_examples(subject.split, self.examples)))
        target, leapfrog = self._target(subject, x, sigma), self.settings.leapfrog
        numbers_of = (self.settings.temperatures, self._few)
        long_plan, short_plan = tune_plans(target, self.settings, numbers_of, generator, "AIS, tuning steps")
        short = forward(target, short_plan, leapfrog, generator, "AIS, quarter")
        long = forward(target, long_plan, leapfrog, generator, "AIS")
        quarter, log_density = log_mean_weight(short.log_weights), log_mean_weight(long.log_weights)
        rise = log_density - quarter
        numbers = {"temperatures": len(long_plan.steps), "acceptance": long.acceptance}
        detail = detail | numbers
        few = {"temperatures": len(short_plan.steps)}
        values: dict[str, Value | str] = {
            "ais_quarter": _with_error(quarter, detail | few),
            "ais_rise": _with_error(rise, detail | {"from": few["temperatures"]}),
            "ais_gap_real": self._real_gap(subject, x, sigma, long_plan, short_plan, long, generator, detail),
        }
        dimensions = math.prod(subject.data.shape)
        if not detail.get("sigma_settled", True):
            before, after = detail["sigma_rounds"][-2:]
            reason = f"not converged: σ moved from {before:.3g} to {after:.3g} in the last round of its search"
            return values | {"ais": reason, "bits_per_dim": reason}
        if float(rise.mean()) > self.tolerance * dimensions:
            error = standard_error(rise) or 0.0
            reason = (
                f"not converged: rose by {float(rise.mean()):.3g} ± {error:.2g} nats from {few['temperatures']} to "
                f"{numbers['temperatures']} temperatures; {self.tolerance * dimensions:.3g} are tolerated"
            )
            return values | {"ais": reason, "bits_per_dim": reason}
        values["ais"] = _with_error(log_density, detail)
        values["bits_per_dim"] = "points are not dequantised"
        if subject.is_images:
            values["bits_per_dim"] = _with_error(bits_per_dim(log_density, dimensions), detail)
        return values

    def _real_gap(
        self,
        subject: Subject,
        x: Tensor,
        sigma: float,
        long_plan: Plan,
        short_plan: Plan,
        long: Run,
        generator: torch.Generator,
        detail: dict[str, Any],
    ) -> Value:
        """The upper bound of backward chains on the first examples minus the lower bound of the forward chains."""
        n = min(self.simulated, len(x))
        target, moves = self._target(subject, x[:n], sigma), len(short_plan.steps)
        z = settle(target, long.first(n), long_plan.first(n), moves, self.settings.leapfrog, generator)
        plan = short_plan.first(n)
        upper = backward(target, plan, z, self.settings.leapfrog, generator, "AIS gap, real")
        return _gap(long.first(n), upper, detail | {"settled": moves})

    def _simulated_gap(
        self, subject: Subject, sigma: float, generator: torch.Generator, detail: dict[str, Any]
    ) -> Value:
        model: Decodes = subject.model
        z = model.prior.sample(self.simulated, generator, subject.device)
        mean = model.decode(z)
        x = mean + sigma * torch.randn(mean.shape, generator=generator).to(mean)
        target = self._target(subject, x, sigma)
        number = self._few
        (plan,) = tune_plans(target, self.settings, (number,), generator, "AIS gap, tuning steps")
        lower = forward(target, plan, self.settings.leapfrog, generator, "AIS gap, lower bound")
        upper = backward(target, plan, z, self.settings.leapfrog, generator, "AIS gap, upper bound")
        return _gap(lower, upper, detail | {"temperatures": number})

    @property
    def _few(self) -> int:
        """The smaller number of temperatures."""
        return max(1, self.settings.temperatures // SHARE)

    def _target(self, subject: Subject, x: Tensor, sigma: float) -> Target:
        model: Decodes = subject.model
        return Target(subject.folded_decode, model.prior, x, sigma, self.settings.chains)


def _with_error(values: Tensor, detail: dict[str, Any]) -> Value:
    return mean_value(values, detail | {"standard_error": standard_error(values)})


def _gap(lower: Run, upper: Run, detail: dict[str, Any]) -> Value:
    """The upper bound of backward chains minus the lower bound of forward chains."""
    gap = -log_mean_weight(upper.log_weights) - log_mean_weight(lower.log_weights)
    return Value(float(gap.mean()), len(gap), detail | {"standard_error": standard_error(gap)})
