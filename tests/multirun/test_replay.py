"""Replay: the same bits on the CPU, differences against the seeds' spread elsewhere, and what a record may not name."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image
from scipy import stats

from benchmarks.errors import UserError
from benchmarks.multirun.replay import (
    Comparison,
    compare,
    environment_differences,
    judge,
    print_comparison,
    print_environment,
    replay,
)
from benchmarks.records.configurations import read_config
from benchmarks.records.files import write_text
from benchmarks.records.runs import Run, Score, ScoreSheet
from benchmarks.training.configure import RunConfig
from tests.conftest import composed, one_run, run
from tests.records.fakes import RECORD


@pytest.fixture
def copied(sweep: Path, tmp_path: Path) -> Path:
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    return tmp_path


def test_a_run_replays_to_the_bit_on_the_cpu(copied: Path) -> None:
    path = one_run(copied, "vae")
    result = run("replay", f"runs={path}", "out=again", cwd=copied)
    assert result.returncode == 0, result.stderr
    assert "environment: the same" in result.stdout
    count = len(json.loads(next(path.glob("scores/*.json")).read_text())["scores"])
    assert f"{count} of {count} scores are bit-identical" in result.stdout
    # the record that was replayed is as it was, and the new one is elsewhere
    assert (copied / "again" / path.relative_to(copied / "runs") / "run.json").is_file()


def test_a_record_that_is_not_what_its_configuration_makes_is_found_out(copied: Path) -> None:
    path = one_run(copied, "gan")
    (sheet,) = path.glob("scores/*.json")
    scores = json.loads(sheet.read_text())
    fid = next(score for score in scores["scores"] if score["name"] == "fid")
    fid["value"] *= 0.5
    sheet.write_text(json.dumps(scores))
    result = run("replay", f"runs={path}", "out=again", cwd=copied)
    assert result.returncode == 1
    assert "1 of 1 runs were not reproduced" in result.stderr
    shown = [line for line in result.stdout.splitlines() if line.startswith("│ fid ")]
    assert len(shown) == 1


def test_differences_of_environment_come_first_and_then_scores_need_not_be_identical(copied: Path) -> None:
    path = one_run(copied, "ae")
    record = json.loads((path / "run.json").read_text())
    record["packages"]["torch"] = "1.0"
    record["environment"]["device"] = "Some GPU"
    (path / "run.json").write_text(json.dumps(record))
    result = run("replay", f"runs={path}", "out=again", "accelerator=cpu", cwd=copied)
    assert result.returncode == 0, result.stderr
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines.index("environment: device was Some GPU, is cpu") < next(
        i for i, x in enumerate(lines) if "identical" in x
    )
    assert any(line.startswith("environment: torch was 1.0, is ") for line in lines)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_target_: pytorch_lightning.Trainer", "_target_: os.system"),
        ("_target_: models.vae.VAE", "_target_: subprocess.run"),
    ],
)
def test_a_configuration_can_run_nothing_but_what_genbench_trains_with(old: str, new: str, copied: Path) -> None:
    path = one_run(copied, "vae")
    text = (path / "config.yaml").read_text()
    assert old in text
    write_text(path / "config.yaml", text.replace(old, new, 1))
    _is_refused(path, copied)


def test_a_sheet_can_run_nothing_but_rulers(copied: Path) -> None:
    path = one_run(copied, "vae")
    (sheet,) = path.glob("scores/*.json")
    scores = json.loads(sheet.read_text())
    scores["protocol"]["metrics"]["fid"]["_target_"] = "shutil.rmtree"
    sheet.write_text(json.dumps(scores))
    _is_refused(path, copied)


def _is_refused(path: Path, folder: Path) -> None:
    result = run("replay", f"runs={path}", "out=again", cwd=folder)
    assert result.returncode == 1
    assert "a record may only name these" in result.stderr
    assert not (folder / "again").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("model: vae", "model: ../../elsewhere", "the record has the name '../../elsewhere'"),
        ("  _target_: models.vae.VAE", "  _target_: models.vae.VAE\n  x: ${oc.env:HOME}", "an interpolation"),
    ],
)
def test_a_record_can_write_nowhere_else_and_hides_nothing(old: str, new: str, said: str, copied: Path) -> None:
    path = one_run(copied, "vae")
    text = (path / "config.yaml").read_text()
    assert old in text
    write_text(path / "config.yaml", text.replace(old, new))
    result = run("replay", f"runs={path}", "out=again", cwd=copied)
    assert result.returncode == 1
    assert said in result.stderr
    assert not (copied / "again").exists()


def test_other_data_are_said(copied: Path) -> None:
    path = one_run(copied, "vae")
    record = json.loads((path / "run.json").read_text())
    record["data"]["id"] = "0badcafe"
    (path / "run.json").write_text(json.dumps(record))
    result = run("replay", f"runs={path}", "out=again", cwd=copied)
    assert result.returncode == 1
    assert "the data differ: 0badcafe in the record" in result.stderr


def test_where_there_is_nothing_to_replay_it_says_so(tmp_path: Path) -> None:
    result = run("replay", f"runs={tmp_path}", cwd=tmp_path)
    assert result.returncode == 1
    assert "holds no finished run" in result.stderr


def sheet(**values: float | None) -> ScoreSheet:
    return ScoreSheet({"name": "q"}, "p", "scored", [Score(name, value, "", None, 1) for name, value in values.items()])


def test_a_difference_is_held_against_the_spread_over_seeds() -> None:
    others = [sheet(fid=1.0, elbo=5.0, kid=None), sheet(fid=3.0, elbo=5.0, kid=None), sheet(fid=2.0, elbo=5.0, kid=1.0)]
    recorded = sheet(fid=2.0, elbo=5.0, kid=None, gone=1.0)
    found = {c.name: c for c in compare(recorded, sheet(fid=3.9, elbo=5.0, kid=None), others)}
    # a prediction interval of three values of mean 2 and deviation 1
    reach = stats.t.ppf(0.975, 2) * math.sqrt(4 / 3)
    assert found["fid"].expected == pytest.approx((2 - reach, 2 + reach))
    assert found["fid"].verdict == "compared with the seeds"
    assert found["elbo"].verdict == "identical"
    assert found["kid"].verdict == "identical"
    assert found["gone"].verdict == "different"
    assert not judge(sheet(fid=6.9), others, 0.05)[0].is_one, "half of 5% for each of the two statistics"
    assert judge(sheet(fid=2 + 1.01 * stats.t.ppf(1 - 0.0125, 2) * math.sqrt(4 / 3)), others, 0.05)[0].is_one
    assert judge(sheet(fid=2.0, elbo=5.1), others, 0.05)[0].is_one, "no seed varies this score"
    assert judge(sheet(fid=2.0), others[:1], 0.05) == []
    alone = compare(sheet(fid=2.0), sheet(fid=2.1), [sheet(fid=2.0)])
    assert alone == [Comparison("fid", 2.0, 2.1, None)]
    assert alone[0].verdict == "one seed, no spread"


def test_what_was_not_recorded_is_no_difference() -> None:
    there, here = {"torch": "2.11", "device": "cpu"}, {"torch": "2.15", "device": "cpu", "cpu_capability": "AVX2"}
    assert list(environment_differences(there, here)) == [("torch", "2.11", "2.15")]


def test_a_record_does_not_choose_which_folder_of_images_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for i in range(20):
        Image.new("L", (8, 8), i).save(tmp_path / "mine" / f"{i}.png")
    words = ("datamodule=image_folder", f"datamodule.folder={tmp_path / 'theirs'}", "datamodule.size=8", "trainer=cpu")
    document: Any = OmegaConf.to_container(composed(*words), resolve=True)
    names = {"datamodule": "image_folder", "network": "mlp", "model": "vae"}
    text = OmegaConf.to_yaml(OmegaConf.create(document | {"names": names, "command": "x"}))
    write_text(tmp_path / "run" / "config.yaml", text)
    recorded = Run(tmp_path / "run", RECORD | {"data": {"id": "of others"}}, [])
    out = tmp_path / "again"
    with pytest.raises(UserError, match="name the folder to read with folder=PATH"):
        replay(recorded, out, str(tmp_path))
    assert not out.exists()
    with pytest.raises(UserError, match="the data differ"):  # it was read, and it is another one
        replay(recorded, out, str(tmp_path), folder=str(tmp_path / "mine"))
    assert list((out / "cache").iterdir())


HOSTILE = "cpu\x1b]0;owned\x07\x1b[2J\r\u202e\u2028"


def test_control_characters_of_a_record_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_environment([("device", HOSTILE, "cpu"), ("packages", {HOSTILE: [HOSTILE]}, None)])
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert "environment: device was cpu\\x1b]0;owned" in lines[0]


def test_control_characters_of_a_records_keys_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_environment(list(environment_differences({HOSTILE: "x"}, {})))
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


def test_a_name_of_a_score_is_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison([Comparison("[red]fid[/red]\x1b[2J", 1.0, 2.0, None)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[red]" in out


def test_no_protocol_of_a_record_chooses_a_file_of_weights(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = one_run(copied, "vae")
    document = read_config(path)
    for protocol in ("protocol", "curve"):
        document[protocol]["encoder_weights"] = str(copied / "weights.pth")
    write_text(path / "config.yaml", yaml.safe_dump(document))
    asked = []

    def stop(config: RunConfig) -> None:
        asked.append(config)
        raise UserError("far enough")

    monkeypatch.setattr("benchmarks.multirun.replay.train_and_score", stop)
    assert "far enough" in run("replay", f"runs={path}", "out=again", cwd=copied).stderr
    assert asked[0].parts.curve["encoder_weights"] is None
    assert asked[0].parts.protocol["encoder_weights"] is None
