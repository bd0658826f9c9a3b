"""Searches on disk: trials by family in order, the best among the first, and damage that is named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records.files import RecordError
from benchmarks.records.paths import search_path
from benchmarks.records.searches import Search, Trial, find_searches, read_search, write_search, write_trial

RECORD = {
    "id": "1",
    "name": "wide",
    "datamodule": "digits",
    "network": "mlp",
    "select": "fid",
    "higher_is_better": False,
    "protocol_id": "p",
    "sampler": "random",
    "command": "python -m benchmarks.search",
}


def made(runs: Path, *trials: Trial, **changes: Any) -> Path:
    """A search on disk; its folder."""
    path = search_path(runs, "digits", "wide", "1")
    write_search(path, RECORD | changes)
    for trial in trials:
        write_trial(path, trial)
    return path


def trial(number: int, value: float | None, model: str = "gan") -> Trial:
    status = "diverged" if value is None else "finished"
    return Trial(model, number, {"lr": 10.0**-number}, status, value, f"digits/{model}/c/seed=0", "c")


def test_a_search_comes_back_as_it_was_written(tmp_path: Path) -> None:
    trials = [trial(0, 3.5), replace(trial(1, None), reason="the loss is nan"), trial(0, 1.0, "vae")]
    search = read_search(made(tmp_path, *trials))
    assert search.trials == {"gan": trials[:2], "vae": trials[2:]}
    assert RECORD.items() <= search.record.items()
    assert search.runs_dir == tmp_path
    assert search.title == "digits · mlp (wide)"


def test_trials_are_in_order_of_their_numbers_and_not_of_file_names(tmp_path: Path) -> None:
    numbers = [0, 1, 9, 10, 9999, 10000, 10001]
    search = read_search(made(tmp_path, *(trial(n, 1.0) for n in numbers)))
    assert [found.number for found in search.trials["gan"]] == numbers


@pytest.mark.parametrize(("higher_is_better", "best", "of_two"), [(False, 3, 1), (True, 2, 0)])
def test_the_best_trial_follows_the_direction_of_the_score(higher_is_better: bool, best: int, of_two: int) -> None:
    trials = [trial(0, 5.0), trial(1, 2.0), trial(2, 9.0), trial(3, -1.0), trial(4, None)]
    search = Search(Path(), {"higher_is_better": higher_is_better}, {"gan": trials})
    assert search.best("gan") == trials[best]
    assert search.best("gan", of=2) == trials[of_two]
    assert search.best("gan", of=0) is None


@pytest.mark.parametrize(
    ("families", "heading"),
    [
        ([], "digits · mlp (rates)"),
        (["a", "b", "c"], "digits · mlp (rates): a, b, c"),
        (["a", "b", "c", "d"], "digits · mlp (rates): a, b and 2 more"),
    ],
)
def test_a_heading_tells_searches_of_one_title_apart(families: list[str], heading: str) -> None:
    record = {"datamodule": "digits", "network": "mlp", "name": "rates"}
    assert Search(Path(), record, {family: [] for family in families}).heading == heading


def test_equal_trials_and_trials_without_a_value() -> None:
    trials = {"gan": [trial(0, None), trial(1, 0.0), trial(2, 0.0)], "vae": [trial(0, None, "vae")]}
    for higher_is_better in (False, True):
        search = Search(Path(), {"higher_is_better": higher_is_better}, trials)
        assert search.best("gan") == trials["gan"][1], "the first of equal ones"
        assert search.best("vae") is search.best("wgan") is None


def test_a_trial_that_ran_again_replaces_the_failed_one(tmp_path: Path) -> None:
    path = made(tmp_path, trial(0, None))
    write_trial(path, trial(0, 4.0))
    assert read_search(path).trials["gan"] == [trial(0, 4.0)]


def test_a_file_that_is_not_a_trial_is_named(tmp_path: Path) -> None:
    path = made(tmp_path, trial(0, 1.0))
    file = path / "trials" / "gan-0000.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"surprise": 1}))
    assert read_search(path).trials["gan"] == [trial(0, 1.0)], "a key of a newer version"
    for key, value in (("number", "0"), ("value", "x"), ("params", [1]), ("params", {"lr": {}}), ("run", "a\0b")):
        file.write_text(json.dumps(record | {key: value}))
        with pytest.raises(RecordError, match=rf"gan-0000\.json has {key}"):
            read_search(path)
    del record["value"]
    file.write_text(json.dumps(record))
    with pytest.raises(RecordError, match=r"gan-0000\.json lacks value"):
        read_search(path)


@pytest.mark.parametrize("run", ["digits/../../elsewhere", "/etc"])
def test_a_trial_names_no_run_outside_of_the_folder_of_runs(run: str, tmp_path: Path) -> None:
    path = made(tmp_path, replace(trial(0, 1.0), run=run))
    with pytest.raises(RecordError, match="outside of the folder of runs"):
        read_search(path)


def test_a_bad_search_leaves_the_others_alone_and_runs_are_not_searched(tmp_path: Path) -> None:
    good, bad = made(tmp_path / "a", trial(0, 1.0)), made(tmp_path / "b", trial(0, 1.0))
    (bad / "search.json").write_text("{")
    write_search(tmp_path / "a" / "digits" / "vae" / "c" / "seed=0" / "inside", RECORD)
    errors: list[str] = []
    found = find_searches(tmp_path, on_bad=lambda error: errors.append(str(error)))
    assert [search.path for search in found] == [good]
    assert len(errors) == 1
    assert "search.json is damaged" in errors[0]


def test_a_damaged_trial_is_named(tmp_path: Path) -> None:
    path = tmp_path / "digits" / "_searches" / "s-1"
    declared = {"id": "1", "name": "s", "datamodule": "d", "network": "n", "select": "fid", "higher_is_better": False}
    write_search(path, declared | {"protocol_id": "p", "command": "c", "sampler": "random"})
    write_trial(path, Trial("gan", 0, {}, "finished", 1.0, "r", "c"))
    assert read_search(path).best("gan") is not None
    assert read_search(path).best("vae") is None
    write_trial(path, Trial("gan", 1, {}, "finished", 1.0, "../elsewhere", "c"))
    with pytest.raises(RecordError, match="outside of the folder of runs"):
        read_search(path)
    (path / "trials" / "gan-0000.json").write_text("{")
    errors: list[str] = []
    assert find_searches(tmp_path, on_bad=lambda error: errors.append(str(error))) == []
    assert "gan-0000.json is damaged" in errors[0]
