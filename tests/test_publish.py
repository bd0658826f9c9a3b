"""A published folder: what is in it, what it says, and what a changed one gets."""

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from markdown_it import MarkdownIt

from benchmarks.cli import quoted
from benchmarks.errors import UserError
from benchmarks.records.commands import without_folders, word_of
from benchmarks.records.paths import trials_path
from benchmarks.records.publishing import check_published, making_folder, use_default_folders
from benchmarks.records.searches import Trial, read_trial, write_trial
from benchmarks.reporting.exports import md_code
from tests.conftest import run
from tests.reporting.fakes import add_run


@pytest.fixture
def published(tmp_path: Path) -> Path:
    for seed in range(2):
        path = add_run(tmp_path / "runs", "vae", seed, {"fid": 1.0 + seed})
        config = {"seed": seed, "runs_dir": "/home/me/runs", "data_dir": "/home/me/data", "model": {"beta": 1.0}}
        config["datamodule"] = {"name": "digits", "data_dir": "/home/me/data", "folder": "/home/me/my shapes/"}
        config["protocol"] = {"encoder_weights": "/home/me/inception.pt"}
        record = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps(record | {"command": "train data_dir=/home/me/data"}))
        (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        (path / "checkpoints").mkdir()
        (path / "checkpoints" / "last.ckpt").write_bytes(b"weights")
    result = run("publish", "runs=runs", "out=here/published", "title='A | B'", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    return tmp_path / "here" / "published"


def test_a_published_folder_has_records_report_checksums_and_commands(published: Path) -> None:
    names = {path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()}
    assert {"index.html", "verdicts.md", "REPLAY.md", "SHA256SUMS", "runs/digits/vae/c1/seed=1/run.json"} <= names
    assert not [name for name in names if "checkpoints" in name or "/." in f"/{name}"]
    page = (published / "index.html").read_text()
    assert "replay runs=runs/digits/vae/c1/seed=0 folder=PATH</code>" in page
    text = (published / "REPLAY.md").read_text()
    assert "| digits | vae | 2 | `python -m benchmarks.replay runs=runs/digits/vae/c1 folder=PATH` |" in text
    assert "A \\| B" in text
    lines = (published / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in lines} == names - {"SHA256SUMS"}
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=published, capture_output=True)
    assert checked.returncode == 0, checked.stdout
    assert [path.name for path in published.parent.iterdir()] == ["published"]


def test_folders_of_a_machine_become_the_default_ones(published: Path) -> None:
    config = yaml.safe_load((published / "runs/digits/vae/c1/seed=0/config.yaml").read_text())
    assert config["runs_dir"] == "runs"
    assert config["data_dir"] == config["datamodule"]["data_dir"] == "data"
    assert config["datamodule"]["folder"] == "my shapes"
    assert list(config) == ["seed", "runs_dir", "data_dir", "model", "datamodule", "protocol"], (
        "the order decides draws"
    )
    for path in published.rglob("*"):
        assert not path.is_file() or str(published.parent).encode() not in path.read_bytes(), path
        assert not path.is_file() or b"/home/me" not in path.read_bytes(), path


def test_a_second_time_makes_the_folder_anew_and_nothing_else_is_replaced(published: Path, tmp_path: Path) -> None:
    before = (published / "SHA256SUMS").read_bytes()
    (published / "index.html").write_text("changed")
    (published / "more").write_text("added")
    assert run("publish", "runs=runs", "out=here/published", "title='A | B'", cwd=tmp_path).returncode == 0
    assert (published / "SHA256SUMS").read_bytes() == before
    assert not (published / "more").exists()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine").write_text("mine")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "SHA256SUMS").write_text("")
    for words, message in (
        (["out=notes"], "holds something else than a published folder"),
        (["out=null"], "out is needed"),
        (["out=."], "lies in out"),
        (["out=x", "title=null"], "title is None; expected a text"),
        (["out=x", "title=[a,b]"], "expected a text"),
        (["out=runs/published"], "out=runs/published lies in runs="),
        (["out=downloads"], "holds something else than a published folder"),
        (["out=x", "pictures=3"], "pictures is 3; expected true or false"),
        (["out=x", "runs=nowhere"], "nowhere is not a folder"),
    ):
        result = run("publish", *words, cwd=tmp_path)
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert message in line
    assert (tmp_path / "notes" / "mine").read_text() == "mine"
    assert not (tmp_path / "x").exists()
    assert (tmp_path / "downloads" / "SHA256SUMS").exists()


def test_a_changed_file_stops_a_replay_by_name(published: Path, tmp_path: Path) -> None:
    check_published(published)
    check_published(published / "runs" / "digits")
    check_published(tmp_path / "runs")  # lies in no published folder
    record = published / "runs/digits/vae/c1/seed=1/run.json"
    content = record.read_text()
    record.write_text(content.replace('"seed": 1', '"seed": 2'))
    result = run("replay", f"runs={published}", cwd=tmp_path)
    assert result.returncode == 1
    assert "seed=1/run.json was changed after" in result.stderr
    check_published(record.parent.parent / "seed=0")
    record.unlink()
    with pytest.raises(UserError, match=r"run\.json is lost"):
        check_published(published)
    record.symlink_to(tmp_path / "runs/digits/vae/c1/seed=1/run.json")
    with pytest.raises(UserError, match="it is a link"):
        check_published(published)
    record.unlink()
    record.write_text(content)
    (published / "runs" / "more.json").write_text("{}")
    with pytest.raises(UserError, match=r"more\.json was added"):
        check_published(published)
    (published / "SHA256SUMS").write_text(f"{hashlib.sha256().hexdigest()}\n")
    with pytest.raises(UserError, match="no file of checksums"):
        check_published(published)


def test_a_bad_record_is_named_and_left_out(tmp_path: Path) -> None:
    add_run(tmp_path / "runs", "vae", 0, {"fid": 1.0})
    (add_run(tmp_path / "runs", "gan", 0, {"fid": 1.0}) / "run.json").write_text("{")
    result = run("publish", "runs=runs", "out=out", cwd=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "gan" in line
    assert "not published" in line
    assert not (tmp_path / "out" / "runs/digits/gan").exists()
    assert (tmp_path / "out" / "runs/digits/vae").exists()


def test_a_folder_that_could_not_be_made_leaves_the_former_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = ["REPLAY.md", "SHA256SUMS", "runs"]
    with making_folder(out) as folder:
        for name in names:
            (folder / name).write_text("")
    with pytest.raises(OSError, match="full"), making_folder(out):
        raise OSError("full")
    assert sorted(path.name for path in out.iterdir()) == names
    with pytest.raises(FileNotFoundError), making_folder(out) as folder:
        folder.rmdir()  # so that it cannot take the place of the former one
    assert sorted(path.name for path in out.iterdir()) == names
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("command", "public"),
    [
        ("python -m x data_dir=/home/me/data seed=0", "python -m x data_dir=data seed=0"),
        ("x 'samples=[~/a b/1.npz,/mnt/2.npz]' y=~/me/z/", "x 'samples=[1.npz,2.npz]' y=z"),
        ("x a=runs/vae b=1/2 c=https://host/a 'd=it''s'", "x a=runs/vae b=1/2 c=https://host/a 'd=it''s'"),
        ("x 'y=/home/me/z", """x ''"'"'y=z'"""),  # no shell reads it
    ],
)
def test_commands_name_no_folder_of_a_machine(command: str, public: str) -> None:
    assert without_folders(command) == public


def test_checksums_of_something_else_say_nothing_of_runs(published: Path, tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text("7  *image.iso\n")
    check_published(tmp_path / "runs")
    (published / "REPLAY.md").unlink()
    with pytest.raises(UserError, match=r"REPLAY\.md is lost"):
        check_published(published)
    sums = published / "SHA256SUMS"
    sums.write_text(sums.read_text() + sums.read_text().splitlines()[0] + "\n")
    with pytest.raises(UserError, match="names a file twice"):
        check_published(published)


def test_a_run_and_its_published_record_count_once(published: Path, tmp_path: Path) -> None:
    result = run("report", f"runs=[runs,{published}]", "out=both", cwd=tmp_path)
    assert result.returncode == 0
    assert "the copy does not count; 1 more copies do not count" in result.stderr
    assert "left out" not in result.stderr
    assert "1 rows of 2 runs" in result.stdout
    record = tmp_path / "runs/digits/vae/c1/seed=0/run.json"
    record.write_text(record.read_text().replace("train data_dir", "train beta=4 data_dir"))
    result = run("report", f"runs=[runs,{published}]", "out=both", cwd=tmp_path)
    assert "their records differ in command" in result.stderr


def test_a_published_folder_merges_with_its_original(published: Path, tmp_path: Path) -> None:
    for source, target in ((published / "runs", tmp_path / "runs"), (tmp_path / "runs", published / "runs")):
        result = run("merge", f"from={source}", f"to={target}", cwd=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        assert "2 known before" in result.stdout
    config = tmp_path / "runs/digits/vae/c1/seed=0/config.yaml"
    config.write_text(config.read_text().replace("beta: 1.0", "beta: 4.0"))
    result = run("merge", f"from={published / 'runs'}", "to=runs", cwd=tmp_path)
    assert result.returncode == 1
    assert "their config.yaml differ" in result.stderr


@pytest.mark.parametrize("name", ["plain", "two words", "it's", "a|b", "a`b``c", "$HOME", "a,b=c", "ä"])
def test_a_command_for_a_folder_is_read_back(name: str) -> None:
    path = f"runs/digits/{name}"
    word = word_of("runs", path)
    (argument,) = subprocess.run(["sh", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout.splitlines()
    (override,) = OverridesParser.create().parse_overrides([quoted(argument.decode(), "=,")])
    assert override.value() == path
    cell = md_code(f"replay {word}")
    html = MarkdownIt("commonmark").enable("table").render(f"| a |\n| --- |\n| {cell} |\n")
    assert unescape(html.split("<code>")[1].split("</code>")[0]) == f"replay {word}"


def test_a_file_that_was_added_is_named_by_a_report(published: Path, tmp_path: Path) -> None:
    """sha256sum compares only the files that it knows."""
    shutil.copytree(published / "runs/digits/vae/c1/seed=0", published / "runs/digits/vae/c1/seed=2")
    result = run("report", f"runs={published / 'runs'}", "out=again", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stderr.startswith("warning: ")
    assert "seed=2/config.yaml was added after" in result.stderr


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("samples", "`python -m benchmarks.replay runs=runs/digits/vae/c1 samples=PATH`"),
        ("generator", "`python -m benchmarks.replay runs=runs/digits/vae/c1 generator=PATH trust=true`"),
        ("python", "a Python object: its author alone can score it again"),
    ],
)
def test_a_row_from_elsewhere_is_repeated_from_its_file(kind: str, said: str, tmp_path: Path) -> None:
    record = add_run(tmp_path / "runs", "vae", 0, {"fid": 1.0}) / "run.json"
    external = {"kind": kind, "file": {"name": "a", "sha256": "0" * 64}, "scored_on": {"processor": "an abacus"}}
    record.write_text(json.dumps(json.loads(record.read_text()) | {"external": external}))
    assert run("publish", "runs=runs", "out=out", cwd=tmp_path).returncode == 0
    text = (tmp_path / "out" / "REPLAY.md").read_text()
    assert f"| {said} |" in text
    assert "an abacus" in text


def test_an_encoder_of_ones_own_lies_beside_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, weights = tmp_path / "encoders", b"weights"
    own.mkdir()
    monkeypatch.setenv("GENBENCH_ENCODERS", str(own))
    (own / "pets-cnn.json").write_text(json.dumps({"name": "pets-cnn", "command": "x datamodule.folder=/home/me/pets"}))
    (own / "pets-cnn.safetensors").write_bytes(weights)
    (path,) = (add_run(tmp_path / "runs", "vae", 0, {"fid": 1.0}, datamodule="pets") / "scores").glob("*.json")
    sheet = json.loads(path.read_text())
    sheet["protocol"]["encoder_checksum"] = hashlib.sha256(weights).hexdigest()[:16]
    path.write_text(json.dumps(sheet))
    assert run("publish", "runs=runs", "out=out", cwd=tmp_path).stderr == ""
    assert (tmp_path / "out/encoders/pets-cnn.safetensors").read_bytes() == weights
    assert json.loads((tmp_path / "out/encoders/pets-cnn.json").read_text())["command"] == "x datamodule.folder=pets"
    assert "put `GENBENCH_ENCODERS=encoders` before the command" in (tmp_path / "out/REPLAY.md").read_text()
    for name, content in (("pets-cnn.safetensors", b"others"), ("pets-cnn.json", b"{")):
        (own / name).write_bytes(content)
        again = run("publish", "runs=runs", "out=out", cwd=tmp_path)
        assert "the encoder pets-cnn with the checksum" in again.stderr
        assert not (tmp_path / "out/encoders").exists()


def test_trials_name_no_folder_of_the_machine_either(tmp_path: Path) -> None:
    trial = Trial("gan", 0, {"lr": 0.1}, "diverged", None, "digits/gan/0a/seed=1", "0a", None)
    reasons = ["/home/author/runs/digits/gan/0a/seed=1 diverged: the loss is nan", "diverged: the loss is nan", None]
    for number, reason in enumerate(reasons):
        write_trial(tmp_path, replace(trial, number=number, reason=reason))
    use_default_folders(tmp_path)
    found = [read_trial(file).reason for file in sorted(trials_path(tmp_path).glob("*.json"))]
    assert found == ["diverged: the loss is nan", "diverged: the loss is nan", None]
