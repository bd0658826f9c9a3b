"""Places of records: the path of a run leads back to everything beside it, and folders that hold no runs are not searched."""

import itertools
from pathlib import Path

import pytest

from benchmarks.records.paths import (
    BASELINES,
    NO_RUNS,
    OLD_BASELINES,
    PICTURES,
    baselines_beside,
    baselines_path,
    checkpoint_path,
    run_path,
    runs_dir_of,
    runs_dir_of_search,
    search_path,
    seeds_beside,
)
from benchmarks.records.runs import find_runs, write_record
from tests.records.fakes import RECORD


def test_a_run_leads_back_to_the_folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run_path(tmp_path, "digits", "vae", "1a2b3c4d", 7)
    assert path.relative_to(tmp_path).as_posix() == "digits/vae/1a2b3c4d/seed=7"
    assert runs_dir_of(path) == tmp_path
    path.mkdir(parents=True)
    monkeypatch.chdir(path)
    assert runs_dir_of(Path(".")) == tmp_path, "the run may be named from inside its own folder"


def test_a_search_leads_back_to_the_folder_of_runs(tmp_path: Path) -> None:
    assert runs_dir_of_search(search_path(tmp_path, "digits", "wide", "1a2b3c4d")) == tmp_path


def test_a_run_or_a_search_just_below_the_root_of_the_file_system_has_a_folder_above(tmp_path: Path) -> None:
    assert [runs_dir_of(Path(path)) for path in ("/", "/run", "/a/run")] == [Path("/")] * 3
    assert baselines_beside(Path("/run"), "1a2b3c4d").parent.parent == Path("/")
    assert runs_dir_of_search(Path("wide-1a2b3c4d")) == Path.cwd().parents[1]


def test_no_two_runs_share_a_folder(tmp_path: Path) -> None:
    facts = itertools.product(("digits", "mnist"), ("vae", "gan"), ("1a2b3c4d", "5e6f7a8b"), (0, 1))
    assert len({run_path(tmp_path, *fact) for fact in facts}) == 16


def test_seeds_beside_a_run_are_those_of_its_configuration_with_a_record(tmp_path: Path) -> None:
    for model, seed in (("vae", 0), ("vae", 1), ("gan", 2)):
        write_record(run_path(tmp_path, "digits", model, "a", seed), RECORD)
    write_record(run_path(tmp_path, "digits", "vae", "b", 3), RECORD)
    run_path(tmp_path, "digits", "vae", "a", 4).mkdir()
    assert [path.name for path in seeds_beside(run_path(tmp_path, "digits", "vae", "a", 1))] == ["seed=0", "seed=1"]


def test_baselines_beside_a_run_are_those_of_its_data(tmp_path: Path) -> None:
    run = run_path(tmp_path, "digits", "vae", "a", 0)
    assert baselines_beside(run, "d1") == baselines_path(tmp_path, "digits", "d1")
    assert baselines_beside(run, "d1") != baselines_beside(run, "d2")


def test_the_old_folder_of_baselines_is_completed_where_it_is_the_only_one(tmp_path: Path) -> None:
    new, old = (tmp_path / "digits" / name / "d1" for name in (BASELINES, OLD_BASELINES))
    assert baselines_path(tmp_path, "digits", "d1") == new
    old.mkdir(parents=True)
    assert baselines_path(tmp_path, "digits", "d1") == old
    assert baselines_path(tmp_path, "digits", "d2") == new.with_name("d2"), "the old folder is of other data"
    new.mkdir(parents=True)
    assert baselines_path(tmp_path, "digits", "d1") == new


@pytest.mark.parametrize("name", sorted(NO_RUNS))
def test_a_record_in_a_folder_that_holds_no_runs_is_not_a_run(name: str, tmp_path: Path) -> None:
    run = run_path(tmp_path, "digits", "vae", "a", 0)
    write_record(run, RECORD)
    write_record(tmp_path / "digits" / name / "d1", RECORD)
    write_record(run / name / "inside", RECORD)
    assert [found.path for found in find_runs(tmp_path)] == [run]


def test_the_files_of_a_run_do_not_collide(tmp_path: Path) -> None:
    files = [*PICTURES.values(), "run.json", "config.yaml", "curve.csv", "lock"]
    assert len(set(files)) == len(files)
    assert checkpoint_path(tmp_path).parent.name in NO_RUNS
