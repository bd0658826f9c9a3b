"""The command for samples of others, and every reader of the record that it writes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.errors import UserError
from benchmarks.external.words import read_words
from benchmarks.records.files import RecordError
from benchmarks.records.runs import read_run
from tests.conftest import Result, run
from tests.external.fakes import SAMPLES, TINY, noise

ROW = ("datamodule=digits", "name=mine")


def evaluate(folder: Path, *words: str) -> Result:
    return run("evaluate", *TINY, *words, cwd=folder)


def the_error(result: Result) -> str:
    assert result.returncode == 1, result.stdout
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two seeds of a row from elsewhere, with remarks, and their report."""
    folder = tmp_path_factory.mktemp("scored")
    twice = np.concatenate([noise(SAMPLES - 5), noise(1).repeat(10, 0)])
    np.savez(folder / "a.npz", samples=twice, **{"labels\x1b[2J": np.arange(3)})  # type: ignore[arg-type]
    np.save(folder / "b.npy", noise().astype(np.float32)[..., None] / 127.5 - 1)
    (folder / "mine.yaml").write_text(
        "budget: {unit: images, amount: 1000}\ncost: {parameters: 7}\nfacts: {latent size: 16}\n"
        "settings: {beta: 4.0}\nsource: https://example.org\n"
    )
    result = evaluate(folder, "samples=[a.npz,b.npy]", *ROW, "about=mine.yaml")
    assert result.returncode == 0, result.stderr
    assert "305 samples, NHW, 0 to 255, uint8" in result.stdout
    assert "300 samples, NHWC, -1 to 1, float32, found" in result.stdout
    assert "warning: a.npz: 9 of 305 samples are copies of other samples" in result.stderr
    assert r"warning: a.npz: the arrays labels\x1b[2J of the file were not read" in result.stderr
    assert "no reconstructions were submitted" in result.stdout
    return folder


def seed_of(folder: Path, seed: int) -> Path:
    (path,) = folder.glob(f"runs/digits/mine/*/seed={seed}")
    return path


def test_a_record_says_that_and_how_it_is_external(scored: Path) -> None:
    run_of_b = read_run(seed_of(scored, 1))
    assert run_of_b is not None
    assert run_of_b.is_external
    external = run_of_b.record["external"]
    assert external["file"]["name"] == "b.npy"
    assert (external["kind"], external["samples"], external["layout"]) == ("samples", SAMPLES, "NHWC")
    assert run_of_b.record["names"] == {"datamodule": "digits", "network": "external", "model": "mine"}
    assert run_of_b.record["budget"] == {"unit": "images", "amount": 1000}
    assert run_of_b.record["facts"] == {"budget": "1,000 images", "latent size": "16"}
    assert run_of_b.record["command"].startswith("python -m benchmarks.evaluate ")
    assert str(scored) not in json.dumps(run_of_b.record)
    assert (run_of_b.path / "samples.png").is_file()


def test_control_characters_of_a_file_do_not_make_a_record_that_cannot_be_read(scored: Path) -> None:
    run_of_a = read_run(seed_of(scored, 0))
    assert run_of_a is not None
    assert r"the arrays labels\x1b[2J of the file were not read" in run_of_a.record["external"]["remarks"]


def test_the_same_command_does_nothing_and_another_file_is_refused(scored: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(scored, tmp_path / "copy"))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    words = ("samples=[a.npz,b.npy]", *ROW, "about=mine.yaml")
    assert evaluate(folder, *words).stdout.count("nothing to do") == 2
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")} == before
    np.save(folder / "b.npy", noise())
    assert "seed=1 holds another submission than b.npy" in the_error(evaluate(folder, *words))
    shutil.copy(folder / "a.npz", folder / "c.npz")
    again = evaluate(folder, "samples=c.npz", *ROW, "about=mine.yaml", "seed=2")
    assert "c.npz is scored as seed=0 already" in the_error(again)


def test_a_row_is_in_tables_claims_and_pictures(scored: Path, tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    # far below: the spread of two seeds of random noise is any
    claim = "title: Mine\nsource: me\nquantity: fid\nleft: mine\nright: -100000.0\nexpect: higher\nmin_seeds: 2\n"
    (tmp_path / "claims" / "mine.yaml").write_text(claim)
    result = run("report", f"runs={scored}/runs", "out=out", "claims='claims'", "min_seeds=2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "| mine · external | 2 |" in text
    assert "real train" in text
    assert "mine · external (seed 0): 9 of 305 samples are copies of other samples" in text
    assert "| **undecided** | Mine" not in text
    page = (tmp_path / "out" / "index.html").read_text()
    assert "it was trained elsewhere; to score the same file again" in page
    assert list((tmp_path / "out" / "pictures").glob("*mine*samples.png"))
    assert "9 of 305 samples are copies of other samples" in (tmp_path / "out" / "leaderboard.tex").read_text()


def test_a_row_is_scored_again_if_its_file_is_at_hand(scored: Path, tmp_path: Path) -> None:
    where = f"runs={scored}/runs"
    result = run("replay", where, cwd=tmp_path)
    assert result.returncode == 1
    assert (
        "is a row from elsewhere and cannot be trained again; to score its file again (a.npz, SHA-256" in result.stderr
    )
    result = run("replay", where, f"samples={scored}/*.np*", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("scores are bit-identical") == 2
    np.save(tmp_path / "b.npy", noise())
    result = run("replay", f"runs={seed_of(scored, 1)}", "samples=b.npy", cwd=tmp_path)
    assert result.returncode == 1
    assert "none of 1 files is the one that" in result.stderr


def test_other_programs_read_the_row(scored: Path, tmp_path: Path) -> None:
    assert "runs: 2 finished" in run("status", f"runs={scored}/runs", cwd=tmp_path).stdout
    merged = run("merge", f"from={scored}/runs", "to=merged", cwd=tmp_path)
    assert merged.returncode == 0, merged.stderr
    assert "2 runs brought" in merged.stdout
    copied = {path.name for path in (tmp_path / "merged").rglob("*") if path.is_file()}
    assert {"run.json", "config.yaml", "samples.png"} <= copied
    refused = run("evaluate", f"runs={scored}/runs", cwd=tmp_path)
    assert "are not scored: their samples are needed, samples=PATH" in the_error(refused)


def test_an_unknown_network_joins_the_tables_of_its_data(scored: Path, tmp_path: Path) -> None:
    runs = Path(shutil.copytree(scored / "runs", tmp_path / "runs"))
    (own,) = (runs / "digits" / "mine").glob("*")
    for name, network in (("vae", "mlp"), ("gan", "dcgan")):
        other = Path(shutil.copytree(own, runs / "digits" / name / own.name))
        for path in other.glob("*/run.json"):
            record = json.loads(path.read_text())
            record["names"] |= {"model": name, "network": network}
            del record["external"]
            path.write_text(json.dumps(record))
    assert run("report", "runs=runs", "out=out", cwd=tmp_path).returncode == 0
    tables = (tmp_path / "out" / "leaderboard.md").read_text().split("\n## ")[1:]
    titles = [table.splitlines()[0] for table in tables if table.startswith("digits")]
    assert titles == ["digits · dcgan", "digits · mlp"]
    assert all("| mine · external | 2 |" in table for table in tables if table.startswith("digits"))


# as conf/evaluate.yaml has the keys
KEYS: dict[str, Any] = {
    **dict.fromkeys(("samples", "generator", "name", "about", "latent_dim", "layout", "range")),
    **{"seed": 0, "prior": "normal", "trust": [], "datamodule": {}},
}
MINE = {"samples": "a.npz", "name": "mine"}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"samples": "a.npz"}, "needs name=NAME"),
        (MINE | {"datamodule": None}, "needs datamodule=NAME"),
        ({"name": "mine"}, "add samples=PATH or generator=PATH"),
        (MINE | {"samples": "nowhere.npz"}, "samples=nowhere.npz does not exist"),
        (MINE | {"samples": "a.npz,b.npz"}, r"does not exist.*a list has brackets, as in samples=\[A,B\]"),
        (MINE | {"samples": ["a.npz", "*.npy"]}, r"samples=\*.npy does not exist"),
        (MINE | {"samples": "text.txt"}, "is of another kind; expected a folder of images, a .npz or a .npy"),
        (MINE | {"samples": 3}, "samples is 3; expected a path"),
        (MINE | {"name": "vae"}, "name=vae is a model of genbench"),
        (MINE | {"name": "../x"}, "name is '../x'; expected letters"),
        (MINE | {"name": "scores"}, "name is 'scores'"),
        (MINE | {"range": [1, 0]}, "expected two numbers, the values of black and white"),
        (MINE | {"layout": "CHW"}, "layout is 'CHW'; expected NCHW, NHWC, NHW"),
        (MINE | {"about": "bad.yaml"}, r"bad.yaml has no key buget; did you mean budget\?"),
        (MINE | {"about": "none.yaml"}, "none.yaml cannot be read"),
        (MINE | {"prior": "cauchy"}, "prior is 'cauchy'; expected normal or uniform"),
        (MINE | {"seed": -1}, "seed is -1; expected a whole number"),
        (MINE | {"generator": "g.pt2"}, "samples and generator exclude each other"),
        ({"generator": "g.pt2", "name": "mine"}, "may run code of whoever wrote the file.*add trust=true"),
    ],
)
def test_a_wrong_word_is_one_line(
    keys: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.npz", "text.txt", "g.pt2"):
        (tmp_path / name).touch()
    (tmp_path / "bad.yaml").write_text("buget: {unit: images, amount: 3}\n")
    with pytest.raises(UserError, match=said) as error:
        read_words(KEYS | keys)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["samples=a.npz", "datamodule=digits", "nam=mine"], "did you mean name"),
        (["samples=a.npz", *ROW], "has 9 samples, and protocol quick compares 300: submit 291 more, choose a protocol"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(words: list[str], said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", samples=noise(9))
    assert said in the_error(evaluate(tmp_path, *words))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"external": {}},
        {"external": {"kind": "pickle"}},
        {"external": {"kind": "samples", "file": {"name": "a", "sha256": "x"}}},
        {"external": {"kind": "samples", "remarks": ["\x1b[2J"]}},
        {"external": {"kind": "samples", "remarks": ["x" * 201]}},
    ],
    ids=str,
)
def test_a_hostile_record_is_refused(change: dict[str, Any], scored: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(seed_of(scored, 0), tmp_path / "seed=0"))
    (path / "run.json").write_text(json.dumps(json.loads((path / "run.json").read_text()) | change))
    with pytest.raises(RecordError, match="external") as error:
        read_run(path)
    assert "\n" not in str(error.value)
