"""Search spaces: parameters that can be drawn, and the overrides that they make."""

import json
import math
from typing import Any

import optuna
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from benchmarks.errors import UserError
from benchmarks.multirun.space import Parameter, make_space, words_of
from tests.conftest import choices, composed, composed_model


def test_every_search_space_is_known_to_the_program_and_makes_models() -> None:
    known = composed(program="search").spaces
    added = [f"+search@spaces.{model}={model}" for model in choices("search") if model not in known]
    spaces = composed(*added, program="search").spaces
    assert set(choices("search")) == set(spaces) <= set(choices("model"))
    assert set(composed(program="search").families) == set(known)
    for model, space in spaces.items():
        for parameter in space.values():
            made = Parameter(**{**parameter, "choices": tuple(parameter.get("choices", ()))})
            value = made.choices[0] if made.choices else made.low
            assert composed_model(f"model={model}", made.word(value)) is not None


@pytest.mark.parametrize(
    "node",
    [
        {"override": "model.lr={}"},
        {"override": "model.lr=3", "choices": (1,)},
        {"override": "a={}", "low": 2.0, "high": 1.0},
        {"override": "a={}", "low": 0.0, "high": 1.0, "log": True},
        {"override": "a={}", "low": 1.0, "high": 2.0, "choices": (1,)},
    ],
)
def test_a_parameter_that_is_none_is_refused(node: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="search space"):
        Parameter(**node)


def drawn(parameter: Parameter, n: int = 200) -> list[Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=int(torch.randint(2**31, ()))))
    return [study.ask({"x": parameter.distribution}).params["x"] for _ in range(n)]


@pytest.fixture(autouse=True)
def _quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_a_real_parameter_is_drawn_between_its_bounds() -> None:
    values = drawn(Parameter("lr={}", low=0.0, high=8.0))
    assert 0 <= min(values) < 1 < 7 < max(values) <= 8
    below = sum(value < 4 for value in drawn(Parameter("lr={}", low=0.0, high=8.0)))
    assert 50 < below < 150, "half of the draws in half of the range"


def test_a_logarithmic_parameter_is_drawn_by_its_order_of_magnitude() -> None:
    values = drawn(Parameter("lr={}", low=1e-5, high=1e-1, log=True))
    assert 1e-5 <= min(values) < 1e-4 < 1e-2 < max(values) <= 1e-1
    assert 50 < sum(value < 1e-3 for value in values) < 150, "half of the draws in half of the orders"


def test_a_choice_is_drawn_from_its_values() -> None:
    assert set(drawn(Parameter("n={}", choices=(1, 5, None, "batch")))) == {1, 5, None, "batch"}


@pytest.mark.parametrize("value", [1, 0.1 + 0.2, 1.2345678901234567e-05, True, None, "batch", [1, 2], "a b, c=d"])
def test_a_value_reaches_the_training_program_as_it_is(value: Any) -> None:
    word = Parameter("+model.x={}", choices=(value,)).word(value)
    (override,) = OverridesParser.create().parse_overrides([word])
    read = override.value()
    assert getattr(read, "text", read) == value
    assert (
        Parameter("model.optimizer.betas=[{},0.9]", low=0.0, high=1.0).word(0.25) == "model.optimizer.betas=[0.25,0.9]"
    )


def test_words_are_of_the_drawn_parameters_in_their_order() -> None:
    space = make_space(
        "gan",
        OmegaConf.create({"a": {"override": "x={}", "low": 0, "high": 1}, "b": {"override": "y={}", "choices": [1]}}),
    )
    assert words_of(space, {"b": 1, "a": 0.5}) == ["y=1", "x=0.5"]


def test_a_space_of_conf_is_made_as_it_is_written() -> None:
    space = make_space("wgan", composed(program="search").spaces.wgan)
    assert space["n_critic"].choices == (1, 5)
    assert space["lr"].log
    assert math.isclose(space["lr"].high or 0.0, 1e-2)
    for name, node in composed(program="search").spaces.wgan.items():
        assert json.dumps(node.override) == json.dumps(space[name].override)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (3, "spaces.gan is not a search space"),
        ([1], "spaces.gan is not a search space"),
        ({"lr": 0.1}, "spaces.gan is not a search space"),
        ({"lr": {"low": 0.0, "high": 1.0}}, "is not a parameter"),
        ({"lr": {"override": "x={}", "low": 0.0, "high": 1.0, "step": 2}}, "is not a parameter"),
        ({"lr": {"override": "x={}", "low": "a", "high": 1.0}}, "is not a parameter"),
        ({"lr": {"override": "x={}", "choices": 3}}, "is not a parameter"),
        ({"lr": {"override": "x={}", "low": 0.0}}, "either choices or low and high"),
        ({"lr": {"override": "x={}{}", "choices": [1]}}, "needs one {}"),
    ],
    ids=str,
)
def test_a_node_that_is_no_space_is_refused_in_a_line(node: Any, message: str) -> None:
    made = OmegaConf.create(node) if isinstance(node, dict | list) else node
    with pytest.raises(UserError) as caught:
        make_space("gan", made)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
