"""p(x|z): from the raw output of a network to a density.

Networks give parameters and likelihoods give densities, so that no constant such as ½ log 2πσ² is forgotten.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Scale = Literal["fixed", "learned", "calibrated"]


class Likelihood(nn.Module, ABC):
    """p(x|z) from the decoder's raw output, (B, ...)."""

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """E[x|z] in the data's range, (B, ...) -> (B, ...)."""

    @property
    def to_mean(self) -> Callable[[Tensor], Tensor]:
        """`mean`, as the module that it is if it is one."""
        return self.mean

    @abstractmethod
    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        """log p(x|z) in nats, summed over every dimension, (B, ...) -> (B,)."""

    def why_no_density(self, binary: bool) -> str | None:
        """Why this is not a likelihood of binary (or grey) data; None if it is one."""
        return None

    def calibrate(self, squared_errors: Iterable[tuple[float, int]]) -> None:
        """Sets parameters from validation data: pairs of (sum of squared errors, number of summed dimensions)."""


class Bernoulli(Likelihood):
    """Pixels that are 0 or 1. On grey pixels this is not a density: the values of p do not integrate to one."""

    def mean(self, raw: Tensor) -> Tensor:
        return raw.sigmoid()

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(raw, x, reduction="none").flatten(1).sum(1)

    def why_no_density(self, binary: bool) -> str | None:
        return None if binary else "a Bernoulli is not a likelihood of grey pixels: set datamodule.binarize"


class ContinuousBernoulli(Likelihood):
    """Pixels in [0, 1], with the normalising constant that the Bernoulli lacks. Loaiza-Ganem & Cunningham 2019.

    In logits l, where log p(x) = l x - softplus(l) + log(l / tanh(l/2)). torch's distribution clamps probabilities in
    float32 and does not integrate to 1 for |l| above 16, which nearly black and white pixels reach.
    """

    # logits closer to 0 use series, because the closed forms divide 0 by 0; the next terms are below 1e-7
    SERIES = 0.3

    def mean(self, raw: Tensor) -> Tensor:
        inside = raw.abs() < self.SERIES
        far = torch.where(inside, 1.0, raw).abs()
        near = torch.where(inside, raw, 0.0)
        bright = -1 / torch.expm1(-far) - 1 / far  # the mean at |l|; at -|l| the mean is one minus this value
        return torch.where(inside, 0.5 + near / 12 - near**3 / 720, torch.where(raw > 0, bright, 1 - bright))

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        inside = raw.abs() < self.SERIES
        far = torch.where(inside, 1.0, raw).abs()
        near = torch.where(inside, raw, 0.0)
        series = math.log(2) + near**2 / 12 - 7 * near**4 / 1440
        log_constant = torch.where(inside, series, far.log() - (far / 2).tanh().log())
        return (raw * x - F.softplus(raw) + log_constant).flatten(1).sum(1)

    def why_no_density(self, binary: bool) -> str | None:
        return (
            "a continuous Bernoulli is not a likelihood of binary pixels: use model/likelihood=bernoulli"
            if binary
            else None
        )


class Gaussian(Likelihood):
    """N(mean, σ²I) with one σ for every dimension.

    scale="fixed": σ is `sigma`. "learned": log σ is a parameter, trained with the networks. "calibrated": in training, σ² is
    the mean squared error of the minibatch, its maximum-likelihood value (Rybkin et al. 2021, eq. 6); for scoring, σ² is
    the mean squared error on validation data, set once by `calibrate`.

    Args:
        squash: the map from the decoder's raw output to the data's range, e.g. a sigmoid for images.
        scale: the way in which σ is set.
        sigma: σ if fixed, the first value otherwise.

    Raises:
        ValueError: for another `scale`, or a σ that is not positive.
    """

    # exp(-6) is below a grey level; a smaller σ would only measure the rounding of float32
    MIN_LOG_SIGMA = -6.0

    log_sigma: Tensor

    def __init__(self, squash: nn.Module, scale: Scale = "calibrated", sigma: float = 1.0) -> None:
        super().__init__()
        if scale not in ("fixed", "learned", "calibrated"):
            raise ValueError(f"likelihood.scale is {scale!r}; expected fixed, learned or calibrated")
        if not sigma > 0:
            raise ValueError(f"likelihood.sigma is {sigma}; a standard deviation is above 0")
        self.squash, self.scale = squash, scale
        log_sigma = torch.tensor(math.log(sigma))
        if scale == "learned":
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)

    @property
    def sigma(self) -> float:
        return math.exp(max(float(self.log_sigma.detach()), self.MIN_LOG_SIGMA))

    def mean(self, raw: Tensor) -> Tensor:
        return self.squash(raw)

    @property
    def to_mean(self) -> nn.Module:
        return self.squash

    def log_prob(self, raw: Tensor, x: Tensor) -> Tensor:
        error = (self.mean(raw) - x).flatten(1)
        log_sigma = self.log_sigma
        if self.scale == "calibrated" and self.training:
            log_sigma = 0.5 * error.square().mean().clamp(min=math.exp(2 * self.MIN_LOG_SIGMA)).log()
            self.log_sigma.copy_(log_sigma.detach())
        log_sigma = log_sigma.clamp(min=self.MIN_LOG_SIGMA)
        return (-0.5 * (error / log_sigma.exp()).square() - log_sigma - 0.5 * math.log(2 * math.pi)).sum(1)

    def why_no_density(self, binary: bool) -> str | None:
        return "a Gaussian is not a likelihood of binary pixels: use model/likelihood=bernoulli" if binary else None

    def calibrate(self, squared_errors: Iterable[tuple[float, int]]) -> None:
        if self.scale == "calibrated":
            total, count = map(sum, zip(*squared_errors, strict=True))
            self.log_sigma.fill_(0.5 * math.log(max(total / count, math.exp(2 * self.MIN_LOG_SIGMA))))
