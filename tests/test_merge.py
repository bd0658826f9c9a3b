"""Merging and reporting of several folders as a user runs them."""

import json
from pathlib import Path

from tests.conftest import CONF, run
from tests.reporting.fakes import add_run


def test_records_of_two_machines_are_merged_and_a_conflict_is_exit_status_1(tmp_path: Path) -> None:
    for machine in ("a", "b"):
        add_run(tmp_path / machine, "vae", 0, {"fid": 1.0})
        add_run(tmp_path / machine, "vae", 1, {"fid": 1.0 if machine == "a" else 2.0})
    add_run(tmp_path / "b", "gan", 0, {"fid": 3.0})
    words = ("from=[a,b]", "to=all")
    dry = run("merge", *words, "dry_run=true", cwd=tmp_path)
    assert dry.returncode == 1
    assert not (tmp_path / "all").exists()
    assert "bring run digits/gan/c1/seed=0" in dry.stdout
    assert "all: 2 runs to bring; nothing to complete; 0 known before; 1 not merged" in dry.stdout
    result = run("merge", *words, cwd=tmp_path)
    assert result.returncode == 1
    assert "all: 2 runs brought; nothing completed; 0 known before; 1 not merged" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: run digits/vae/c1/seed=1: a/digits/vae/c1/seed=1 and b/digits/vae/c1/seed=1: their ")
    result = run("merge", "from='[ab]/digits/gan'", "to=all", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "all: nothing brought; nothing completed; 1 known before; 0 not merged" in result.stdout


def test_a_merge_into_itself_or_without_folders_is_refused(tmp_path: Path) -> None:
    add_run(tmp_path / "a", "vae", 0, {"fid": 1.0})
    for words, message in (
        (["from=a"], "from and to are needed"),
        (["from=a", "to=a/digits"], "lie in each other"),
        (["from=a", "to=x", "checkpoints=3"], "checkpoints is 3; expected true or false"),
        (["from=x*", "to=y"], "from=x* matches no folder"),
        (["from=a", "to=/proc/x"], "/proc/x"),  # a file system that takes no folders
    ):
        result = run("merge", *words, cwd=tmp_path)
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert message in line


def test_a_report_of_several_folders_with_a_filter(tmp_path: Path) -> None:
    for machine, model in (("a", "vae"), ("b", "gan"), ("b", "wgan")):
        for seed in range(2):
            add_run(tmp_path / machine, model, seed, {"fid": 1.0 + seed})
    seeds = "runs=[a/digits/vae/c1/seed=0,b]"
    result = run("report", seeds, "out=out", "only.model=[vae,'w*']", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    rows = [line for line in (tmp_path / "out" / "leaderboard.md").read_text().splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[:2] for row in rows if row.startswith(("| vae", "| gan", "| wgan"))][:2] == [
        ["| vae", "1"],
        ["| wgan", "2"],
    ]
    result = run("report", "runs=[a,b]", "only.model=ae", cwd=tmp_path)
    assert result.stderr.strip() == "error: only.model=ae matches no run; expected one of gan, vae, wgan"


def test_a_report_answers_the_claims_of_a_folder(tmp_path: Path) -> None:
    """Measured once: Hydra took `claims` for a group, so that claims=FOLDER never worked."""
    add_run(tmp_path / "runs", "vae", 0, {"fid": 1.0})
    (tmp_path / "mine").mkdir()
    text = (CONF / "claim" / "adversarial_samples_better.yaml").read_text()
    (tmp_path / "mine" / "my_own.yaml").write_text(text)
    result = run("report", "claims=mine", "out=out", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = (tmp_path / "out" / "claims.csv").read_text().splitlines()
    assert {line.split(",")[0] for line in lines[1:]} == {"my_own"}
    assert "is not a folder" in run("report", "claims=nowhere", cwd=tmp_path).stderr


def test_scoring_and_replay_refuse_runs_that_disagree(tmp_path: Path) -> None:
    for machine in ("a", "b"):
        path = add_run(tmp_path / machine, "vae", 0, {"fid": 1.0}) / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"finished_at": machine}))
    for name in ("evaluate", "replay"):
        result = run(name, "runs=[a,b]", cwd=tmp_path)
        assert result.returncode == 1
        assert "are the same run, and their records differ in finished_at" in result.stderr
