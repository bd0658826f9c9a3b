"""python -m benchmarks.remove: runs leave a folder of runs as a whole, and come back by a merge."""

from pathlib import Path

import pytest

from benchmarks.records import removal
from benchmarks.records.locks import alone
from tests.conftest import run
from tests.reporting.fakes import add_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for model in ("vae", "gan"):
        for seed in (0, 1):
            add_run(tmp_path / "runs", model, seed, {"fid": 1.0 + seed})
    return tmp_path / "runs"


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_removed_run_is_elsewhere_as_a_whole_and_a_merge_brings_it_back(runs: Path, tmp_path: Path) -> None:
    before = content(runs)
    dry = run("remove", "runs=runs", "only.model=gan", "dry_run=true", cwd=tmp_path)
    assert "2 runs would be moved to removed; 2 kept" in dry.stdout
    assert content(runs) == before
    result = run("remove", "runs=runs", "only.model=gan", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "2 runs moved to removed; 2 kept" in result.stdout
    assert [path.name for path in (runs / "digits").iterdir()] == ["vae"], "empty folders go too"
    assert content(runs) | content(tmp_path / "removed") == before
    back = run("merge", "from=removed", f"to={runs}", cwd=tmp_path)
    assert back.returncode == 0, back.stderr
    assert content(runs) == before


def test_deleted_runs_are_gone_and_the_others_stay(runs: Path, tmp_path: Path) -> None:
    before = content(runs)
    result = run("remove", "runs=runs/digits/gan/c1/seed=0", "delete=true", cwd=tmp_path)
    assert "1 run deleted; 0 kept" in result.stdout
    left = {name: data for name, data in before.items() if not name.startswith("digits/gan/c1/seed=0/")}
    assert content(runs) == left
    assert sorted(path.name for path in runs.iterdir()) == ["digits"]


def test_an_interrupted_run_is_removed_too(runs: Path, tmp_path: Path) -> None:
    before = content(runs)
    names = "names: {datamodule: digits, network: mlp, model: gan}"
    for seed in (2, 3):
        path = runs / "digits" / "gan" / "c1" / f"seed={seed}"
        path.mkdir()
        (path / "config.yaml").write_text(f"{names}\nseed: {seed}\nbudget: {{unit: images, amount: 100}}\n")
    (path / "config.yaml").write_text("names: {}")
    result = run("remove", "runs=runs", "only.budget='100 images'", cwd=tmp_path)
    assert "c1/seed=3/config.yaml" in result.stderr
    assert "1 run moved to removed; 4 kept" in result.stdout
    assert "move their folders" in result.stdout
    assert "benchmarks.merge" not in result.stdout
    assert (tmp_path / "removed/digits/gan/c1/seed=2/config.yaml").is_file()
    result = run("remove", "runs=removed", "delete=true", cwd=tmp_path)
    assert "1 run deleted; 0 kept" in result.stdout
    (path / "config.yaml").unlink()
    path.rmdir()
    assert content(runs) == before


def test_a_run_in_training_and_a_taken_place_cost_a_line(runs: Path, tmp_path: Path) -> None:
    before = content(runs)
    with alone(runs / "digits" / "gan" / "c1" / "seed=0"):
        result = run("remove", "runs=runs", "only.model=gan", "delete=true", cwd=tmp_path)
    assert result.returncode == 1
    assert "is in use by another process" in result.stderr
    assert "1 run deleted; 2 kept; 1 not removed" in result.stdout
    (tmp_path / "removed" / "digits" / "vae" / "c1" / "seed=0").mkdir(parents=True)
    result = run("remove", "runs=runs", "only.model=vae", cwd=tmp_path)
    assert "seed=0 exists; move it away" in result.stderr
    assert content(runs) == {
        k: v for k, v in before.items() if k.startswith(("digits/vae/c1/seed=0", "digits/gan/c1/seed=0"))
    }


def test_another_file_system_gets_a_copy_before_the_run_goes(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = content(runs), removal.os.rename

    def only_beside(source: Path, target: Path) -> None:
        if "removed" in str(target) and ".merging" not in str(source) + str(target):
            raise OSError(18, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(removal.os, "rename", only_beside)
    removal.move(runs / "digits" / "gan" / "c1" / "seed=1", tmp_path / "removed")
    assert content(runs) | content(tmp_path / "removed") == before
    assert len(content(tmp_path / "removed")) > 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "error: runs is needed"),
        (("runs=runs", "delete=maybe"), "error: delete is 'maybe'; expected true or false"),
        (("runs=runs", "only.model=vea"), "error: only.model=vea matches no run; expected one of gan, vae"),
    ],
)
def test_mistakes_change_nothing(words: tuple[str, ...], line: str, runs: Path, tmp_path: Path) -> None:
    before = content(runs)
    result = run("remove", *words, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(line)
    assert len(content(runs)) == len(before)


def test_a_run_elsewhere_than_its_record_says_stays(runs: Path, tmp_path: Path) -> None:
    alone_elsewhere = tmp_path / "run"
    (runs / "digits" / "gan" / "c1" / "seed=0").rename(alone_elsewhere)
    before = content(tmp_path)
    result = run("remove", "runs=run", "delete=true", cwd=tmp_path)
    assert result.returncode == 1
    assert "does not lie at <runs>/digits/gan/c1/seed=0" in result.stderr
    assert content(tmp_path) == before
