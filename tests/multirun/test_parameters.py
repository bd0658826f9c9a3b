"""The parameters of trials: the same from any process, and the trials of TPE in a storage that processes share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from benchmarks.multirun.journal import JOURNAL
from benchmarks.multirun.parameters import Parameters
from benchmarks.multirun.settings import SearchSettings
from benchmarks.multirun.space import make_space
from benchmarks.records.searches import Trial

SPACE = {"lr": {"override": "model.optimizer.lr={}", "low": 1e-5, "high": 1e-2, "log": True}}


def parameters(folder: Path, sampler: str, **changes: Any) -> Parameters:
    folder.mkdir(exist_ok=True)
    settings = SearchSettings(
        **{"families": ("vae",), "trials": 20, "sampler": sampler, "search_seed": 3, "select": "fid", "seed": 0},
        **{"confirm_seeds": (1,), "search_name": "s", "runs_dir": folder, "workers": 1, "storage": None},
        **{"threads": 1, "spaces": {"vae": SPACE}},
    )
    return Parameters(replace(settings, **changes), {"vae": make_space("vae", SPACE)}, False, folder)


def ended(n: int, params: dict[str, Any], value: float | None = 1.0, status: str = "finished") -> Trial:
    return Trial("vae", n, params, status, value, "run", "id")


def test_random_trials_follow_from_the_seed_and_their_number_alone(tmp_path: Path) -> None:
    one, other = parameters(tmp_path / "a", "random"), parameters(tmp_path / "b", "random")
    drawn = [one.draw("vae", n, {}) for n in range(5)]
    history = {n: ended(n, {"lr": 0.001}) for n in range(3)}
    assert [other.draw("vae", n, history) for n in (4, 3)] == [drawn[4], drawn[3]]
    assert len({params["lr"] for params in drawn}) == 5


def test_processes_share_the_trials_of_tpe_and_a_trial_whose_process_died_has_its_parameters_again(
    tmp_path: Path,
) -> None:
    one, other = parameters(tmp_path, "tpe"), parameters(tmp_path, "tpe")
    records: dict[int, Trial] = {}
    drawn = {}
    for n in range(14):
        process = (one, other)[n % 2]
        drawn[n] = process.draw("vae", n, records)
        if n not in (5, 12):  # the process of these trials died
            records[n] = ended(n, drawn[n], value=abs(drawn[n]["lr"] - 1e-3))
            process.tell(records[n])
    assert len({params["lr"] for params in drawn.values()}) == 14
    for n in (5, 12):
        assert parameters(tmp_path, "tpe").draw("vae", n, records) == drawn[n]
    assert (tmp_path / JOURNAL).is_file()


def test_a_search_whose_storage_was_lost_goes_on_from_its_records(tmp_path: Path) -> None:
    first = parameters(tmp_path / "a", "tpe")
    records: dict[int, Trial] = {}
    for n in range(12):
        params = first.draw("vae", n, records)
        lr = params["lr"]
        status = ("finished", "diverged", "failed")[n % 3]
        records[n] = ended(n, params, lr if status == "finished" else None, status)
        first.tell(records[n])
    later = parameters(tmp_path / "b", "tpe")
    assert later.draw("vae", 12, records) == first.draw("vae", 12, records)


def test_trials_may_lie_in_a_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    params = parameters(tmp_path, "tpe", storage=url).draw("vae", 0, {})
    assert parameters(tmp_path, "tpe", storage=url).draw("vae", 0, {}) == params
    assert not (tmp_path / JOURNAL).exists()
    (name,) = optuna.get_all_study_names(url)
    assert name.endswith("-vae")


@pytest.mark.parametrize(
    ("workers", "threads", "said"), [(0, 1, "workers is 0"), (2, None, "workers=2 needs threads=1")]
)
def test_wrong_numbers_of_workers_are_refused(workers: int, threads: int | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=said):
        parameters(tmp_path, "random", workers=workers, threads=threads)
