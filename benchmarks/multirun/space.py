"""The search space of a model: conf/search/<model>.yaml as parameters that Optuna draws."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.errors import UserError


@dataclass(frozen=True)
class Parameter:
    """One dimension of a search space.

    Args:
        override: the override of the training program, with {} for the value.
        choices: the values to draw from; empty for a real number.
        low, high: the bounds of a real number; None for choices.
        log: whether the real number is drawn on a logarithmic scale.

    Raises:
        UserError: for neither or both of choices and bounds, or bounds out of order.
    """

    override: str
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        has_bounds = self.low is not None and self.high is not None
        if bool(self.choices) == has_bounds or self.override.count("{}") != 1:
            raise UserError(f"search space: {self.override!r} needs one {{}} and either choices or low and high")
        if has_bounds and not (self.low < self.high and (self.low > 0 or not self.log)):  # type: ignore[operator]
            raise UserError(
                f"search space: {self.override!r} has low {self.low} and high {self.high}; expected low < high, and above 0 "
                "on a logarithmic scale"
            )

    @property
    def distribution(self) -> Any:
        """Optuna's distribution."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        return FloatDistribution(self.low or 0.0, self.high or 0.0, log=self.log)

    def word(self, value: Any) -> str:
        """The override with the value in place of {}."""
        return self.override.replace("{}", json.dumps(value))


Space = Mapping[str, Parameter]


def make_space(model: str, node: Any) -> Space:
    """The space of a model from its resolved node in the configuration.

    Raises:
        UserError: for a node that is not a space.
    """
    if not isinstance(node, Mapping) or not all(isinstance(parameter, Mapping) for parameter in node.values()):
        raise UserError(
            f"spaces.{model} is not a search space; expected parameters, as in conf/search (lr.low=1e-4, for example)"
        )
    return {str(name): _parameter(parameter) for name, parameter in node.items()}


def words_of(space: Space, params: Mapping[str, Any]) -> list[str]:
    """The overrides of the training program for values of parameters."""
    return [space[name].word(value) for name, value in params.items()]


def _parameter(node: Mapping[str, Any]) -> Parameter:
    try:
        return Parameter(**{**node, "choices": tuple(node.get("choices", ()))})
    except TypeError as error:
        raise UserError(
            f"search space: {dict(node)} is not a parameter; expected override and choices, or low and high"
        ) from error
