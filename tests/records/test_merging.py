"""Merging: new runs are brought whole, known runs get what they lack, conflicts are named and nothing of them is written."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from benchmarks.records.checkpoints import rotate
from benchmarks.records.examples import write_examples
from benchmarks.records.files import RecordError, write_text
from benchmarks.records.merging import plan_merge
from benchmarks.records.parts import Part, bring, merging_into
from benchmarks.records.paths import baselines_path, run_path, search_path
from benchmarks.records.runs import Score, ScoreSheet, write_record, write_sheet
from benchmarks.records.searches import Trial, read_search, write_search, write_trial
from tests.records.fakes import RECORD

NAMES = {"datamodule": "digits", "network": "mlp", "model": "vae"}
KEYS = ("id", "name", "datamodule", "network", "select", "higher_is_better", "protocol_id", "sampler")


def sheet(value: float = 1.5, protocol_id: str = "p1") -> ScoreSheet:
    return ScoreSheet({"name": "quick"}, protocol_id, "scored", [Score("fid", value, "", False, 10)])


def add(root: Path, seed: int = 0, **keys: Any) -> Path:
    run = run_path(root, "digits", "vae", "0" * 8, seed)
    write_text(run / "config.yaml", "model: {}\n")
    write_text(run / "curve.csv", "images\n1\n")
    (run / "samples.png").write_bytes(b"png")
    (run / "wandb").mkdir()
    write_examples(run / "scores" / sheet().filename, {"fid": np.arange(5.0)})
    write_sheet(run, sheet())
    digest = rotate(run / "checkpoints" / "last.ckpt", lambda path: Path.write_bytes(path, b"weights") and None)
    write_record(run, RECORD | {"names": NAMES, "seed": seed, "checkpoint": {"sha256": digest}} | keys)
    return run


def add_search(root: Path, numbers: range, value: float = 2.0, command: str = "search") -> Path:
    folder = search_path(root, "digits", "s", "1")
    record: dict[str, Any] = dict.fromkeys(KEYS, "x") | {"id": "1", "name": "s", "datamodule": "digits"}
    record |= {"command": command, "higher_is_better": False, "sampler": "random"}
    write_search(folder, record)
    for number in numbers:
        write_trial(folder, Trial("vae", number, {"lr": 0.1}, "finished", value, "digits/vae/0/seed=0", "0"))
    return folder


def merge(sources: list[Path], target: Path, with_checkpoints: bool = False) -> list[Part]:
    def no_error(error: RecordError) -> None:
        raise error

    parts = plan_merge(sources, target, with_checkpoints, no_error)
    with merging_into(target) as staging:
        for part in parts:
            if part.files and part.conflict is None:
                bring(part, target, staging)
    return parts


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_new_run_is_brought_without_its_checkpoint_and_logs(tmp_path: Path) -> None:
    add(tmp_path / "a")
    merge([tmp_path / "a"], tmp_path / "to")
    expected = {name: data for name, data in files(tmp_path / "a").items() if "checkpoints" not in name}
    assert files(tmp_path / "to") == expected
    assert any(name.endswith(".npz") for name in expected)
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["digits"]


def test_pictures_can_stay_behind(tmp_path: Path) -> None:
    add(tmp_path / "a")
    (part,) = plan_merge([tmp_path / "a"], tmp_path / "to", False, [].append, with_pictures=False)
    names = {name for name, _ in part.files}
    assert "samples.png" not in names
    assert {"config.yaml", "curve.csv", "run.json"} < names


def test_checkpoints_can_be_brought_at_once_or_later(tmp_path: Path) -> None:
    run = add(tmp_path / "a")
    (run / "checkpoints" / "previous.ckpt").write_bytes(b"older")
    merge([tmp_path / "a"], tmp_path / "to")
    for to in ("to", "other"):
        merge([tmp_path / "a"], tmp_path / to, with_checkpoints=True)
        checkpoints = {name for name in files(tmp_path / to) if "checkpoints" in name}
        assert {Path(name).name for name in checkpoints} == {"last.ckpt", "checksums.json"}
    (part,) = merge([tmp_path / "a"], tmp_path / "to", with_checkpoints=True)
    assert (part.files, part.conflict) == ((), None)


def test_a_damaged_checkpoint_is_not_merged(tmp_path: Path) -> None:
    (add(tmp_path / "a") / "checkpoints" / "last.ckpt").write_bytes(b"other")
    (part,) = merge([tmp_path / "a"], tmp_path / "to", with_checkpoints=True)
    assert "not the checkpoint that the record of the run was made with" in (part.conflict or "")
    assert not files(tmp_path / "to")


def test_equal_runs_are_brought_once_and_their_scores_are_united(tmp_path: Path) -> None:
    a, b = add(tmp_path / "a"), add(tmp_path / "b")
    write_sheet(a, sheet(2.0, "p2"))
    write_sheet(b, sheet(3.0, "p3"))
    add(tmp_path / "b", seed=1)
    parts = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "to")
    assert [part.place.name for part in parts] == ["seed=0", "seed=1"]
    scores = tmp_path / "to" / parts[0].place / "scores"
    assert {path.name for path in scores.glob("*.json")} == {f"quick-p{i}.json" for i in (1, 2, 3)}
    write_sheet(b, sheet(4.0, "p4"))
    parts = merge([tmp_path / "b"], tmp_path / "to")
    assert [[name for name, _ in part.files] for part in parts] == [["scores/quick-p4.json"], []]
    assert (scores / "quick-p4.json").is_file()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda run: write(run / "run.json", finished_at="later"), "their records differ in finished_at"),
        (lambda run: write_sheet(run, sheet(9.0)), "their scores in quick-p1.json differ"),
        (lambda run: (run / "config.yaml").write_text("model: {beta: 2}"), "their config.yaml differ"),
        (lambda run: (run / "curve.csv").write_text("images\n2\n"), "their curve.csv differ"),
    ],
)
@pytest.mark.parametrize("is_known", [True, False])
def test_a_conflict_is_named_and_everything_else_is_merged(
    change: Callable[[Path], None], reason: str, is_known: bool, tmp_path: Path
) -> None:
    add(tmp_path / "a")
    run = add(tmp_path / "b")
    add(tmp_path / "b", seed=1)
    change(run)
    if is_known:
        merge([tmp_path / "a"], tmp_path / "to")
    before = files(tmp_path / "to")
    conflict, new = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "to")
    assert reason in (conflict.conflict or "")
    assert str(run) in (conflict.conflict or "")
    assert {name for name in files(tmp_path / "to") if "seed=1" not in name} == before.keys()
    assert new.conflict is None
    assert (tmp_path / "to" / new.place / "run.json").is_file()


def write(path: Path, **keys: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def test_a_result_is_chosen_over_a_failed_attempt(tmp_path: Path) -> None:
    write(add(tmp_path / "a") / "run.json", status="failed")
    add(tmp_path / "b")
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "to")
    (path,) = (tmp_path / "to").rglob("run.json")
    assert json.loads(path.read_text())["status"] == "finished"
    (part,) = merge([tmp_path / "a"], tmp_path / "to")
    assert (part.files, part.conflict) == ((), None)
    merge([tmp_path / "a"], tmp_path / "failed")
    (part,) = merge([tmp_path / "b"], tmp_path / "failed")
    assert "holds a failed attempt" in (part.conflict or "")


@pytest.mark.parametrize("where", ["a", "to"])
def test_a_run_that_is_being_trained_is_not_merged(where: str, tmp_path: Path) -> None:
    add(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "to")
    (lock,) = (path / "lock" for path in (tmp_path / where).rglob("seed=0"))
    with lock.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        (part,) = merge([tmp_path / "a"], tmp_path / "to")
        assert f"{lock.parent} is being trained by another process" in (part.conflict or "")
    (part,) = merge([tmp_path / "a"], tmp_path / "to")
    assert part.conflict is None


def test_a_run_that_has_not_ended_is_not_overwritten(tmp_path: Path) -> None:
    run = add(tmp_path / "to")
    add(tmp_path / "a")
    (run / "run.json").unlink()
    before = files(tmp_path / "to")
    (part,) = merge([tmp_path / "a"], tmp_path / "to")
    assert "holds a run that has not ended" in (part.conflict or "")
    assert files(tmp_path / "to") == before


@pytest.mark.parametrize("files_before", range(6))
def test_an_interrupted_merge_leaves_no_half_run_and_can_be_repeated(files_before: int, tmp_path: Path) -> None:
    add(tmp_path / "a")
    steps = iter([shutil.copyfile] * files_before + [mock.Mock(side_effect=KeyboardInterrupt)])
    with (
        mock.patch("benchmarks.records.parts.shutil.copyfile", side_effect=lambda *paths: next(steps)(*paths)),
        pytest.raises(KeyboardInterrupt),
    ):
        merge([tmp_path / "a"], tmp_path / "to")
    assert not files(tmp_path / "to")
    # a process that is killed leaves its copies behind
    write_text(tmp_path / "to" / ".merging" / "part" / "run.json", "{")
    merge([tmp_path / "a"], tmp_path / "to")
    assert {name for name in files(tmp_path / "a") if "checkpoints" not in name} == files(tmp_path / "to").keys()


def test_only_one_merge_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    with (
        merging_into(tmp_path / "to"),
        pytest.raises(Exception, match="another process merges into"),
        merging_into(tmp_path / "to"),
    ):
        pass


@pytest.mark.parametrize("name", ["samples.png", "config.yaml", "scores/quick-p1.npz"])
def test_links_are_not_followed(name: str, tmp_path: Path) -> None:
    file = add(tmp_path / "a") / name
    secret = tmp_path / "secret"
    secret.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(secret)
    (part,) = merge([tmp_path / "a"], tmp_path / "to")
    assert "is a link to another file" in (part.conflict or "")
    assert not files(tmp_path / "to")


def test_a_target_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    add(tmp_path / "a")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "digits").symlink_to(tmp_path / "elsewhere")
    (part,) = merge([tmp_path / "a"], tmp_path / "to")
    assert "leads to another folder" in (part.conflict or "")
    assert not os.listdir(tmp_path / "elsewhere")


@pytest.mark.parametrize("data_id", ["../../x", "", ".."])
def test_a_record_at_another_place_or_with_a_hostile_id_is_left_out(data_id: str, tmp_path: Path) -> None:
    write(add(tmp_path / "a") / "run.json", data={"id": data_id})
    shutil.move(add(tmp_path / "a", seed=1), tmp_path / "a" / "digits" / "vae" / ("0" * 8) / "seed=2")
    bad: list[RecordError] = []
    assert plan_merge([tmp_path / "a"], tmp_path / "to", False, bad.append) == []
    assert [word in str(error) for word, error in zip(("data.id", "does not lie at"), bad, strict=True)] == [True] * 2


def test_searches_are_merged_with_their_trials(tmp_path: Path) -> None:
    add(tmp_path / "a")
    add(tmp_path / "b")
    add_search(tmp_path / "a", range(2))
    add_search(tmp_path / "b", range(1, 4), command="a longer search")
    merge([tmp_path / "a"], tmp_path / "to")
    part = merge([tmp_path / "b"], tmp_path / "to")[-1]
    assert (part.kind, len(part.files)) == ("search", 2)
    search = read_search(tmp_path / "to" / part.place)
    assert [trial.number for trial in search.trials["vae"]] == [0, 1, 2, 3]
    add_search(tmp_path / "a", range(3, 5), value=7.0)
    part = merge([tmp_path / "a"], tmp_path / "to")[-1]
    assert "their trials vae 3 differ" in (part.conflict or "")
    assert read_search(tmp_path / "to" / part.place) == search


def test_baseline_rows_come_along_and_agree_up_to_rounding(tmp_path: Path) -> None:
    for root, value in (("a", 2.0), ("b", 2.0 * (1 + 1e-5)), ("c", 2.1)):
        add(tmp_path / root)
        write_sheet(baselines_path(tmp_path / root, "digits", "d") / "real train", sheet(value))
    merge([tmp_path / "a"], tmp_path / "to")
    part = merge([tmp_path / "b"], tmp_path / "to")[0]
    assert (part.kind, part.files, part.conflict) == ("baseline", (), None)
    part = merge([tmp_path / "c"], tmp_path / "to")[0]
    assert "their scores in quick-p1.json differ" in (part.conflict or "")
    (path,) = (tmp_path / "to").rglob("_baselines/d/real train/scores/*.json")
    assert json.loads(path.read_text())["scores"][0]["value"] == 2.0


@pytest.mark.parametrize(("name", "size"), [("curve.csv", 2**34), ("samples.png", 2**34), ("config.yaml", 2**21)])
def test_files_beyond_any_honest_size_are_a_conflict(name: str, size: int, tmp_path: Path) -> None:
    """A sparse file of gigabytes was once read into memory, or written whole."""
    run = add(tmp_path / "a")
    add(tmp_path / "a", seed=1)
    with (run / name).open("wb") as stream:
        stream.truncate(size)
    parts = merge([tmp_path / "a"], tmp_path / "to")
    assert [part.conflict is None for part in parts] == [False, True]
    assert "are expected" in (parts[0].conflict or "")
    assert {path.split("/")[3] for path in files(tmp_path / "to")} == {"seed=1"}


@pytest.mark.parametrize("keys", [{"names": {}}, {"names": {"datamodule": "digits"}}, {"data": {}}], ids=str)
def test_a_record_that_names_no_place_is_left_out(keys: dict[str, Any], tmp_path: Path) -> None:
    """Such a record once ended a merge in a traceback."""
    write(add(tmp_path / "a") / "run.json", **keys)
    add(tmp_path / "a", seed=1)
    bad = list[RecordError]()
    (part,) = plan_merge([tmp_path / "a"], tmp_path / "to", False, bad.append)
    assert part.place.name == "seed=1"
    assert "lacks" in str(bad[0])
