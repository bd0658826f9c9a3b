"""Budgets: the least number of minibatches that spends one, and the share that is spent."""

import math
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from benchmarks.errors import UserError
from benchmarks.scoring.restore import load_model
from benchmarks.training.budget import UNITS, Budget
from models.game import GenerativeModel
from tests.conftest import composed


def model(*overrides: str) -> GenerativeModel:
    node: Any = OmegaConf.to_container(composed("network=mlp_narrow", *overrides).model, resolve=True)
    return load_model(node)


def test_images_are_counted_over_all_processes() -> None:
    vae = model("model=vae")
    assert Budget("images", 2600).minibatches(vae, 64, world_size=1) == 41
    assert Budget("images", 2560).minibatches(vae, 64, world_size=1) == 40
    assert Budget("images", 2600).minibatches(vae, 64, world_size=2) == 21
    for _ in range(100):
        amount, batch_size, world_size = (int(x) for x in torch.randint(1, 5000, (3,)))
        minibatches = Budget("images", amount).minibatches(vae, batch_size, world_size)
        assert minibatches is not None
        assert (minibatches - 1) * batch_size * world_size < amount <= minibatches * batch_size * world_size


@pytest.mark.parametrize(("name", "n_critic"), [("wgan", 5), ("wgan", 1), ("vae", None)])
def test_updates_are_those_of_the_player_that_samples(name: str, n_critic: int | None) -> None:
    overrides = [] if n_critic is None else [f"model.n_critic={n_critic}"]
    made = model(f"model={name}", *overrides)
    assert Budget("updates", 7).minibatches(made, 64, 1) == 7 * (n_critic or 1)
    assert Budget("updates", 6.5).minibatches(made, 64, 2) == 7 * (n_critic or 1)


def test_seconds_have_no_number_of_minibatches() -> None:
    assert Budget("seconds", 0.5).minibatches(model(), 64, 1) is None


@pytest.mark.parametrize("unit", UNITS)
def test_the_share_that_is_spent_is_of_the_budgets_unit(unit: Any) -> None:
    made, budget = model("model=gan"), Budget(unit, 200)
    assert budget.fraction(made, seconds=0.0) == 0
    spent = {"images": 50, "updates": 100, "seconds": 150.0}
    made.images, made.minibatches = 50, 100
    made.steps["generator"], made.steps["discriminator"] = 40, 900  # the generator may have a phase
    assert budget.fraction(made, seconds=150.0) == spent[unit] / 200


@pytest.mark.parametrize("amount", [0, -1, -0.5, math.nan, "many", None])
def test_an_amount_is_a_number_above_0(amount: Any) -> None:
    with pytest.raises(UserError, match=r"budget\.amount is .*; expected a number of images above 0"):
        Budget("images", amount)


def test_a_unit_is_one_of_three() -> None:
    unit: Any = "epochs"
    with pytest.raises(UserError, match=r"budget\.unit is 'epochs'; expected one of images, seconds, updates"):
        Budget(unit, 1)
