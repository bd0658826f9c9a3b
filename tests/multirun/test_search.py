"""The search: equal trials, chosen on validation, confirmed on fresh seeds; stopped and gone on; failures at the end."""

import json
import shlex
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from benchmarks.records.outcomes import Outcome
from benchmarks.records.runs import Score, ScoreSheet, Status, write_record, write_sheet
from benchmarks.records.searches import find_searches, read_search
from benchmarks.scoring.scorer import make_scorer
from benchmarks.training.configure import RunConfig
from benchmarks.training.run import train_and_score
from tests.conftest import CHEAP_PROTOCOL, TINY, Result, run

SMALL = (
    *(*TINY, "families=[gan,vae]", "trials=2", "confirm_seeds=[7]", "selection.samples=100", "selection.examples=100"),
    "budget.amount=1300",
)


DATA = {"id": "d", "sizes": {"test": 9}, "binarize": "none", "dequantize": False}


def search(folder: Path, *words: str) -> Result:
    return run("search", *SMALL, *words, cwd=folder)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished search of two families, two trials each."""
    folder = tmp_path_factory.mktemp("search")
    result = search(folder)
    assert result.returncode == 0, result.stderr
    (folder / "stdout.txt").write_text(result.stdout)
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "runs").rglob("run.json"))]


def test_every_family_has_as_many_trials_and_each_is_a_record(searched: Path) -> None:
    (found,) = find_searches(searched / "runs", on_bad=lambda error: pytest.fail(str(error)))
    assert {model: len(trials) for model, trials in found.trials.items()} == {"gan": 2, "vae": 2}
    for trials in found.trials.values():
        for trial in trials:
            record = json.loads((searched / "runs" / trial.run / "run.json").read_text())
            assert record["search"] == {
                "id": found.record["id"],
                "name": "search",
                "role": "trial",
                "trial": trial.number,
            }
            assert record["config_id"] == trial.config_id


def test_trials_see_validation_data_and_the_winner_alone_the_test_split(searched: Path) -> None:
    splits = {}
    for path in (searched / "runs").rglob("scores/*.json"):
        if "_baselines" not in path.parts:
            role = json.loads((path.parents[1] / "run.json").read_text())["search"]["role"]
            splits.setdefault(role, set()).add(json.loads(path.read_text())["protocol"]["split"])
    assert splits == {"trial": {"val"}, "confirmation": {"test"}}


def test_the_winner_is_the_best_trial_and_its_seeds_are_fresh(searched: Path) -> None:
    (found,) = find_searches(searched / "runs", on_bad=lambda error: pytest.fail(str(error)))
    confirmed = [record for record in records(searched) if record["search"]["role"] == "confirmation"]
    assert {record["seed"] for record in confirmed} == {7}
    for record in confirmed:
        trials = found.trials[record["names"]["model"]]
        best = min(trials, key=lambda trial: trial.value or 0.0)
        assert found.best(best.model) == best
        assert (record["search"]["trial"], record["config_id"]) == (best.number, best.config_id)


def test_its_report_has_the_winners_as_rows_and_the_curves(searched: Path) -> None:
    text = (searched / "reports" / "search" / "leaderboard.md").read_text()
    assert "| gan | 1 |" in text
    assert "## Search: digits · mlp (search)" in text
    assert "expected best of n" in text
    page = (searched / "reports" / "search" / "index.html").read_text()
    assert "Expected best of n trials" in page


def test_a_finished_search_repeats_nothing_and_more_trials_are_added(searched: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (searched / "runs").rglob("*.json")}
    assert search(searched).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (searched / "runs").rglob("*.json")} == before
    more = search(searched, "families=[vae]", "trials=3")
    assert more.returncode == 0
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    (found,) = find_searches(searched / "runs", on_bad=lambda error: pytest.fail(str(error)))
    assert [trial.number for trial in found.trials["vae"]] == [0, 1, 2]


def test_how_it_is_run_makes_no_other_search(searched: Path) -> None:
    assert search(searched, "threads=1", "checkpoint_seconds=60").returncode == 0
    assert len(list((searched / "runs" / "digits" / "_searches").iterdir())) == 1


def test_the_winner_is_of_as_many_trials_for_every_family(searched: Path) -> None:
    (found,) = find_searches(searched / "runs", on_bad=lambda error: pytest.fail(str(error)))
    trials = found.trials["vae"]
    assert found.best("vae", of=1) == trials[0]


def test_a_trial_that_is_asked_for_again_is_a_run_like_others(searched: Path) -> None:
    (found,) = find_searches(searched / "runs", on_bad=lambda error: pytest.fail(str(error)))
    trial = found.trials["vae"][0]
    command = json.loads((searched / "runs" / trial.run / "run.json").read_text())["command"]
    asked = [word for word in shlex.split(command)[3:] if not word.startswith("protocol")]
    result = run("train", *asked, *CHEAP_PROTOCOL, cwd=searched)
    assert result.returncode == 0, result.stderr
    assert run("report", "runs=runs", "out=again", cwd=searched).returncode == 0
    assert f",{trial.config_id}," in (searched / "again" / "leaderboard.csv").read_text()


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_what_is_tried_does_not_depend_on_where_it_was_stopped(sampler: str, tmp_path: Path) -> None:
    """Trials are stood in for by their own learning rate: what is asked is what is looked at."""
    tried = {}
    for name, stops in (("whole", [12]), ("stopped", [5, 11, 12])):
        folder = tmp_path / name
        folder.mkdir()
        for trials in stops:
            with mock.patch("benchmarks.multirun.search.train_and_score", side_effect=_stand_in):
                run("search", *TINY, "families=[gan]", f"trials={trials}", f"sampler={sampler}", cwd=folder)
        (found,) = find_searches(folder / "runs", on_bad=lambda error: pytest.fail(str(error)))
        tried[name] = [trial.params for trial in found.trials["gan"]]
    assert tried["whole"] == tried["stopped"]
    assert len({params["lr"] for params in tried["whole"]}) == 12


def _stand_in(config: RunConfig, status: Status = "finished") -> Outcome:
    path, protocol = config.path, config.parts.protocol
    write_record(
        path,
        {"status": status, "seed": config.seed, "config_id": config.id, "names": config.names._asdict()}
        | {"data": DATA, "search": config.search, "error": "the loss is nan"},
    )
    if status == "finished":
        lr = config.parts.model["optimizer"]["lr"]
        protocol_id = make_scorer(protocol, config.feature_encoder, torch.device("cpu")).id
        write_sheet(path, ScoreSheet(dict(protocol), protocol_id, "scored", [Score("fid", lr, "", False, 9)]))
    return Outcome(path, status, f"{path} {status}")


def test_winners_that_diverge_are_in_the_report_and_named_at_the_end(tmp_path: Path) -> None:
    def diverges_once(config: RunConfig) -> Outcome:
        return _stand_in(config, "diverged" if config.seed == 8 else "finished")

    with mock.patch("benchmarks.multirun.search.train_and_score", side_effect=diverges_once):
        result = run("search", *TINY, "families=[gan]", "trials=2", "confirm_seeds=[7,8]", cwd=tmp_path)
    assert result.returncode == 0, "to diverge is a result"
    assert "seed 8: " in result.stderr
    assert "| gan | 1, 1 diverged |" in (tmp_path / "reports" / "search" / "leaderboard.md").read_text()


def test_a_search_without_a_winner_has_its_report(tmp_path: Path) -> None:
    def diverges(config: RunConfig) -> Outcome:
        return _stand_in(config, "diverged")

    with mock.patch("benchmarks.multirun.search.train_and_score", side_effect=diverges):
        result = run("search", *TINY, "families=[gan]", "trials=2", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "error: gan: no trial has a fid, nothing to confirm\n"
    (folder,) = tmp_path.glob("runs/digits/_searches/*")
    assert {trial.reason for trial in read_search(folder).trials["gan"]} == {"diverged"}, (
        "without the folder of the run"
    )
    assert "## Search: digits · mlp (search)" in (tmp_path / "reports" / "search" / "leaderboard.md").read_text()
    assert (tmp_path / "reports" / "search" / "index.html").is_file()


def test_a_failed_trial_stops_no_other_and_is_listed_at_the_end_and_tried_again(tmp_path: Path) -> None:
    failing = {"left": 1}

    def sometimes(config: RunConfig) -> Outcome:
        if config.names.model == "gan" and failing["left"]:
            failing["left"] -= 1
            raise RuntimeError("out of memory")
        return train_and_score(config)

    with mock.patch("benchmarks.multirun.search.train_and_score", side_effect=sometimes):
        result = search(tmp_path)
        assert result.returncode == 1
        assert result.stderr.strip().startswith("error: gan · trial 1 of 2")
        assert result.stderr.strip().endswith("out of memory")
        assert (tmp_path / "reports" / "search" / "index.html").is_file()
        (found,) = find_searches(tmp_path / "runs", on_bad=lambda error: pytest.fail(str(error)))
        failed = found.trials["gan"][0]
        assert (failed.status, failed.value) == ("failed", None)
        assert search(tmp_path).returncode == 0
    (found,) = find_searches(tmp_path / "runs", on_bad=lambda error: pytest.fail(str(error)))
    assert found.trials["gan"][0].status == "finished"
    assert found.trials["gan"][0].params == failed.params


def test_a_search_without_seeds_of_winners_ends_with_its_trials(searched: Path, tmp_path: Path) -> None:
    before = records(searched)
    result = search(searched, "confirm_seeds=[]", f"reports_dir={tmp_path}")
    assert result.returncode == 0, result.stderr
    assert records(searched) == before
    page = (tmp_path / "search" / "index.html").read_text(encoding="utf-8")
    assert "trial" in page
    assert "0 runs" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["families=[gan,flow]"], "families has flow, which has no search space"),
        (["families=[]"], "families is empty"),
        (["families=gan"], "families is 'gan'; expected a list, as in families=[...]"),
        (["model=vae"], "choose them with families=[vae,gan]"),
        (["confirm_seeds=[1,-2]"], "seed is -2"),
        (["trainer.devices=2"], "a search trains on one device"),
        (["spaces.gan.lr=0.1"], "spaces.gan is not a search space"),
        (["trials=0"], "trials is 0; expected a whole number of 1 or more"),
        (["sampler=grid"], "sampler is 'grid'; expected random or tpe"),
        (["confirm_seeds=[0,1]"], "confirm_seeds has 0, the trials' own seed"),
        (["select=beauty"], "select is 'beauty'; expected one of density_bits_per_dim, elbo"),
        (["selection.split=test"], "selection.split is 'test'; a search chooses on validation"),
        (["spaces.gan.lr.low=1"], "expected low < high"),
        (["trails=3"], "benchmarks.search has no key trails; did you mean trials"),
        (["seeds_per_job=2"], "seeds_per_job is for sweeps; a search trains each run alone"),
    ],
)
def test_a_mistake_is_one_line_before_any_training(words: list[str], said: str, tmp_path: Path) -> None:
    result = run("search", *words, cwd=tmp_path)
    assert result.returncode == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
