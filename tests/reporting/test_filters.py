"""`only.KEY=...`: which runs and searches a report is of, and what it says when nothing is left."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UserError
from benchmarks.records.runs import Run, find_runs
from benchmarks.records.searches import Search, Trial
from benchmarks.reporting.filters import Only
from tests.reporting.fakes import add_run

FIRST = {"budget": {"unit": "images", "amount": 80000}, "command": "python -m benchmarks.train row=vae_tuned seed=0"}


@pytest.fixture
def some(tmp_path: Path) -> list[Run]:
    for model in ("vae", "gan", "wgan"):
        add_run(tmp_path, model, 0, {"fid": 1.0})
    path = add_run(tmp_path, "vae", 0, {"fid": 2.0}, config="c2")
    (path / "run.json").write_text(json.dumps(json.loads((path / "run.json").read_text()) | FIRST))
    (path / "config.yaml").write_text("group: families\n")
    return find_runs(tmp_path)


def search() -> Search:
    record = {"datamodule": "digits", "network": "mlp", "name": "s"}
    trials = {name: [Trial(name, 0, {}, "finished", 1.0, "x", "x")] for name in ("vae", "gan")}
    return Search(Path("s"), record, trials)


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        ({}, ["gan c1", "vae c1", "vae c2", "wgan c1"]),
        ({"model": "vae"}, ["vae c1", "vae c2"]),
        ({"model": ["vae", "w*"], "config_id": "c1"}, ["vae c1", "wgan c1"]),
        ({"budget": "80000 images"}, ["vae c2"]),
        ({"row": "vae_*"}, ["vae c2"]),
        ({"group": "families", "datamodule": "digits", "network": "mlp"}, ["vae c2"]),
    ],
)
def test_each_key_leaves_the_runs_that_match(keys: dict[str, Any], left: list[str], some: list[Run]) -> None:
    runs, _ = Only.of(keys).select(some, [])
    assert [f"{run.record['names']['model']} {run.record['config_id']}" for run in runs] == left


@pytest.mark.parametrize(
    ("only", "without", "left"),
    [
        ({}, {"model": "vae"}, ["gan c1", "wgan c1"]),
        ({"model": "*gan"}, {"model": "w*"}, ["gan c1"]),
        ({}, {"model": "gan", "config_id": ["c2"]}, ["vae c1", "wgan c1"]),
    ],
)
def test_what_matches_any_excluded_key_is_left_out(
    only: dict[str, Any], without: dict[str, Any], left: list[str], some: list[Run]
) -> None:
    runs, _ = Only.of(only, without).select(some, [])
    assert [f"{run.record['names']['model']} {run.record['config_id']}" for run in runs] == left


def test_a_search_loses_the_trials_of_excluded_models() -> None:
    _, (kept,) = Only.of({}, {"model": "v*"}).select([], [search()])
    assert list(kept.trials) == ["gan"]
    with pytest.raises(UserError, match=r"without\.group=s leaves no run"):
        Only.of({}, {"group": "s"}).select([], [search()])


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ({"model": "vea"}, "without.model=vea matches no run; there is gan, vae, wgan"),
        ({"datamodule": "digits"}, "without.datamodule=digits leaves no run"),
        ({"modle": "vae"}, "without has no key modle; expected one of datamodule"),
        ({"model": [True]}, "without.model is [True]; expected a name, a glob, or a list of them"),
        ({"model": ""}, "without.model is ''; expected a name, a glob, or a list of them; null for all"),
        ({"model": []}, "without.model is []; expected a name"),
    ],
)
def test_an_exclusion_that_excludes_nothing_or_everything_is_one_line(
    without: dict[str, Any], message: str, some: list[Run]
) -> None:
    with pytest.raises(UserError) as caught:
        Only.of({}, without).select(some, [])
    assert str(caught.value).startswith(message)


def test_a_search_keeps_the_trials_of_the_models_that_match() -> None:
    _, (kept,) = Only.of({"model": "v*", "group": "s"}).select([], [search()])
    assert list(kept.trials) == ["vae"]
    with pytest.raises(UserError, match=r"only\.budget=1 images matches no run"):
        Only.of({"budget": "1 images"}).select([], [search()])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": "vea"}, "only.model=vea matches no run; expected one of gan, vae, wgan"),
        ({"row": "gan"}, "only.row=gan matches no run; expected vae_tuned"),
        (
            {"model": "gan", "budget": "1 images"},
            "only.budget=1 images matches no run among those that match only.model; no run has a budget",
        ),
        ({"modle": "vae"}, "only has no key modle; expected one of datamodule"),
        ({"model": {"a": 1}}, "only.model is {'a': 1}; expected a name, a glob, or a list of them"),
        ({"model": [True]}, "only.model is [True]; expected a name, a glob, or a list of them"),
    ],
)
def test_nothing_left_and_wrong_keys_are_one_line(keys: dict[str, Any], message: str, some: list[Run]) -> None:
    with pytest.raises(UserError) as caught:
        Only.of(keys).select(some, [])
    assert str(caught.value).startswith(message)
