"""Several processes of one search: no trial twice, and the results of one process to the bit."""

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from benchmarks.multirun.search import SearchProgram
from benchmarks.records.outcomes import Outcome
from benchmarks.records.searches import find_searches
from benchmarks.training.configure import RunConfig
from tests.conftest import TINY, run
from tests.multirun.test_search import SMALL, _stand_in


def trials(folder: Path) -> dict[str, Any]:
    (found,) = find_searches(folder / "runs", on_bad=lambda error: pytest.fail(str(error)))
    return {model: [(t.number, t.params, t.value, t.run) for t in group] for model, group in found.trials.items()}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_command_elsewhere_takes_other_trials_and_tries_none_twice(sampler: str, tmp_path: Path) -> None:
    """A second process starts while the first one is in its second trial."""
    tried: list[Path] = []
    programs: list[SearchProgram] = []
    make = SearchProgram.__init__

    def remember(self: SearchProgram, *arguments: Any) -> None:
        make(self, *arguments)
        programs.append(self)

    def stand_in(config: RunConfig) -> Outcome:
        tried.append(config.path)
        if len(tried) == 2:
            second = SearchProgram(programs[0].settings, programs[0].command_words)
            open_trials = [task for task in second.trials if task != "gan-trial-1"]
            second.claims.share(open_trials, second._has_result, second._try)
        return _stand_in(config)

    with (
        mock.patch("benchmarks.multirun.search.train_and_score", side_effect=stand_in),
        mock.patch.object(SearchProgram, "__init__", remember),
    ):
        words = ("families=[gan]", "trials=5", f"sampler={sampler}", "confirm_seeds=[7]")
        result = run("search", *TINY, *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(programs) == 2
    assert len(tried) == len(set(tried)) == 5 + 1
    assert [number for number, *_ in trials(tmp_path)["gan"]] == [0, 1, 2, 3, 4]
    lines = [line for line in result.stdout.splitlines() if line.startswith("[")]
    assert sorted(line.split("]")[0] for line in lines) == [f"[{n}/6" for n in range(1, 7)]


@pytest.mark.slow
def test_a_search_of_two_workers_finds_what_one_worker_finds_to_the_bit(tmp_path: Path) -> None:
    found = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        words = ("families=[vae]", "trials=3", "threads=1", f"workers={workers}")
        result = run("search", *SMALL, *words, cwd=folder)
        assert result.returncode == 0, result.stderr
        assert (folder / "reports" / "search" / "index.html").is_file()
        sheets = {
            path.relative_to(folder): [(s["name"], s["value"]) for s in json.loads(path.read_text())["scores"]]
            for path in folder.rglob("seed=*/scores/*.json")
        }
        found.append((trials(folder), sheets))
    assert found[0] == found[1]
    assert len(found[0][1]) == 4
