"""The programs as a user runs them: what they leave, and what they say."""

import csv
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from PIL import Image

from benchmarks.records.files import SCHEMA
from tests.conftest import CHEAP_PROTOCOL, ROOT, TINY, one_run, run, run_process, said


def test_ctrl_c_is_one_line_wherever_it_comes(sweep: Path, tmp_path: Path) -> None:
    def interrupt(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    with mock.patch("benchmarks.report.write_report", side_effect=interrupt):
        result = run("report", f"runs={sweep / 'runs'}", cwd=tmp_path)
    assert said(result) == "error: interrupted by SIGINT; run the same command again to finish the rest"
    assert result.returncode == 130


def test_a_run_leaves_what_the_design_says(sweep: Path) -> None:
    for model in ("ae", "vae", "gan"):
        folder = one_run(sweep, model)
        record = json.loads((folder / "run.json").read_text())
        assert record["schema"] == SCHEMA
        assert record["status"] == "finished"
        assert record["spent"]["images"] == 2624  # 41 minibatches of 64: the budget of 2,600 rounded up
        assert record["command"].startswith("python -m benchmarks.train ")
        assert record["data"]["sizes"] == {"train": 1100, "val": 247, "test": 450}
        assert {"parameters", "train_seconds", "images_per_second", "peak_memory_bytes"} <= set(record["cost"])
        assert Image.open(folder / "samples.png").size[0] > 200
        assert (folder / "reconstructions.png").is_file() == (model != "gan")
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert json.loads((one_run(sweep, "gan") / "run.json").read_text())["steps"] == {
        "discriminator": 41,
        "generator": 41,
    }


def test_no_temporary_file_is_left(sweep: Path) -> None:
    assert not [path for path in (sweep / "runs").rglob(".*") if path.is_file()]


def test_the_curve_has_log_spaced_points_with_validation_scores(sweep: Path) -> None:
    rows = list(csv.DictReader((one_run(sweep, "vae") / "curve.csv").open()))
    assert len(rows) == 3
    assert [int(row["images"]) for row in rows] == sorted(int(row["images"]) for row in rows)
    assert int(rows[-1]["images"]) == 2624
    assert float(rows[-1]["val_fid"]) > 0
    assert float(rows[-1]["val_recon_mse"]) < 0.2


def test_every_family_gets_the_scores_that_apply_and_reasons_for_the_rest(sweep: Path) -> None:
    scores = {}
    for model in ("ae", "vae", "gan"):
        (path,) = (one_run(sweep, model) / "scores").glob("quick-*.json")
        scores[model] = {s["name"]: s for s in json.loads(path.read_text())["scores"]}
    has = {model: {name for name, score in its.items() if score["value"] is not None} for model, its in scores.items()}
    # an autoencoder of seconds may have no gap between its prior and its codes to share
    has = {
        model: {name for name in names if not name.removesuffix("_random").endswith("_share")}
        for model, names in has.items()
    }
    drawn = {"fid", "fid_infinity", "kid", "precision", "recall", "density", "coverage"}
    fitted = {"fid_fitted", "fid_fitted_gaussian", "reconstruction_fid"}
    fitted |= {"interpolation_fid", "interpolation_fid_straight", "interpolation_fid_centred"}
    drawn, fitted = ({*names, *(f"{name}_random" for name in names)} for names in (drawn, fitted))
    decoded = {"ais", "ais_quarter", "ais_rise", "ais_gap", "ais_gap_real", "ais_sigma", "bits_per_dim"}
    decoded |= {"inversion_mse", "inversion_floor", "inversion_norm", "inversion_psnr", "inversion_ssim"}
    coded = set(fitted)
    coded |= {"posterior_mmd", "active_units", "recon_mse", "recon_psnr", "recon_ssim"}
    bound = {"elbo", "elbo_reconstruction", "elbo_kl", "elbo_bits_per_dim", "iwae"}
    assert has == {"ae": drawn | decoded | coded, "vae": drawn | decoded | coded | bound, "gan": drawn | decoded}
    assert all(
        score["detail"].get("reason") for its in scores.values() for score in its.values() if score["value"] is None
    )
    vae = {name: score["value"] for name, score in scores["vae"].items()}
    assert vae["elbo"] == pytest.approx(vae["elbo_reconstruction"] - vae["elbo_kl"])


def test_a_multirun_says_where_it_is_and_ends_in_a_leaderboard(sweep: Path) -> None:
    text = (sweep / "stdout.txt").read_text()
    assert "[1/6] digits · mlp · ae · seed 0" in text
    assert "[6/6] digits · mlp · gan · seed 1" in text
    assert " left" in text
    for name in ("real train", "pixel noise", "digits-cnn"):
        assert name in text
    assert "FID (digits-cnn, 1k)" in (sweep / "reports" / "sweep" / "leaderboard.md").read_text()
    assert {"index.html", "leaderboard.md", "leaderboard.csv", "pictures"} <= {
        path.name for path in (sweep / "reports" / "sweep").iterdir()
    }
    assert not list((sweep / "runs" / ".sweeps").rglob("*.json"))


def test_a_second_multirun_trains_nothing(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    result = run("train", "-m", "model=ae,vae,gan", "seed=0,1", *TINY, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("nothing to do") == 1
    assert result.stdout.lstrip().startswith("6 runs ended before: nothing to do")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()} == before


def test_scoring_again_gives_the_same_numbers_to_the_bit(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs" / "digits" / "_baselines")
    for path in (tmp_path / "runs").rglob("scores"):
        shutil.rmtree(path)
    result = run("evaluate", "runs=runs", *CHEAP_PROTOCOL, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    fresh = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("scores/*.json")}
    assert len(fresh) == 9
    assert fresh == {path.relative_to(sweep): path.read_bytes() for path in sweep.rglob("scores/*.json")}


def test_another_protocol_is_another_sheet_and_another_table(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    folder = one_run(tmp_path, "vae")
    result = run("evaluate", f"runs={folder}", *CHEAP_PROTOCOL, "protocol.samples=200", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(list((folder / "scores").glob("*.json"))) == 2
    # what was measured under this protocol alone, how sure it is, and what it cost
    assert result.stdout.count("  kid ") == 1
    assert re.search(r"  kid +\S+ \(standard error \S+\)", result.stdout)
    assert re.search(r"  seconds: .*ais \d+\.\d", result.stdout)
    result = run("report", "runs=runs", "out=out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    tables = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "FID (digits-cnn, 200)" in tables
    assert "FID (digits-cnn, 1k)" in tables


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "evaluate", "report", "train_encoder"])
def test_help_lists_groups_and_keys(name: str, tmp_path: Path) -> None:
    result = run_process(name, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.startswith(f"python -m benchmarks.{name} ")
    assert "Keys (set with key=value" in result.stdout
    if name == "train":
        for group in (
            "model",
            "network",
            "datamodule",
            "protocol",
            "budget",
            "trainer",
            "logger",
            "sweep",
            "rates",
        ):
            assert f"\n  {group} " in result.stdout
        assert "vae*" in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_reader_that_ends_early_is_no_traceback(tmp_path: Path) -> None:
    code = "from benchmarks.errors import exits_cleanly\nexits_cleanly(lambda: [print(i) for i in range(10**6)])()"
    command = f"{shlex.join([sys.executable, '-c', code])} | head -n 1; exit ${{PIPESTATUS[0]}}"
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert (done.stdout, done.stderr) == ("0\n", "")
    assert done.returncode == 128 + signal.SIGPIPE


def test_one_failing_job_does_not_stop_the_sweep(tmp_path: Path) -> None:
    result = run("train", "-m", "model=wgan_gp,ae", "model.trunk.norm=batch", *TINY, cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "a WGAN-GP's critic takes no batch norm" in result.stderr
    assert "[2/2] digits · mlp · ae · seed 0" in result.stdout
    assert (tmp_path / "reports" / "sweep" / "index.html").is_file()


def test_a_diverged_run_is_a_result(tmp_path: Path) -> None:
    words = ["model=ae", "model.optimizer.lr=1e30", *TINY]
    result = run("train", *words, cwd=tmp_path)
    assert result.returncode == 1
    record = json.loads(next(tmp_path.glob("runs/**/run.json")).read_text())
    assert record["status"] == "diverged"
    assert "loss is" in record["error"]
    again = run("train", "-m", *words, cwd=tmp_path)
    assert again.returncode == 0
    path = next(tmp_path.glob("runs/**/seed=0")).relative_to(tmp_path)
    assert again.stderr == f"error: {path} had diverged before ({record['error']}): nothing to do\n"
    assert "1 diverged" in (tmp_path / "reports" / "sweep" / "leaderboard.md").read_text()


@pytest.mark.parametrize(
    ("unit", "amount", "field"), [("updates", 7, "updates"), ("images", 1000, "images"), ("seconds", 0.5, "seconds")]
)
def test_a_budget_is_spent_in_its_unit(unit: str, amount: float, field: str, tmp_path: Path) -> None:
    words = [f"budget={unit}", f"budget.amount={amount}", "model=wgan", "model.trunk.widths=[16]", "trainer=cpu"]
    result = run("train", *words, *CHEAP_PROTOCOL, "datamodule.block_size=2", "curve_points=1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    record = json.loads(next(tmp_path.glob("runs/**/run.json")).read_text())
    spent = record["spent"][field]
    assert amount <= spent < amount * 1.2 + 64 * (field == "images")
    assert record["steps"]["critic"] // 5 == record["steps"]["generator"] == record["spent"]["updates"]


@pytest.mark.parametrize("datamodule", ["ring", "grid"])
def test_points_are_scored_by_the_modes_they_reach(datamodule: str, tmp_path: Path) -> None:
    result = run("train", f"datamodule={datamodule}", "model=vae", *TINY, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    sheet = json.loads(next(tmp_path.glob("runs/*/vae/*/*/scores/*.json")).read_text())
    scores = {score["name"]: score for score in sheet["scores"]}
    assert 0 <= scores["modes"]["value"] <= scores["modes"]["detail"]["of"]
    assert scores["modes"]["n"] == 2500
    assert scores["fid"]["value"] is None
    for name in ("mode_kl", "wasserstein2", "sample_log_density", "ais", "ais_gap", "inversion_mse", "posterior_mmd"):
        assert scores[name]["value"] is not None, scores[name]
    real = json.loads(next(tmp_path.glob("runs/*/_baselines/*/real train/scores/*.json")).read_text())
    by_name = {score["name"]: score["value"] for score in real["scores"]}
    assert by_name["modes"] == {"ring": 8, "grid": 25}[datamodule]
    assert by_name["high_quality"] == pytest.approx(98.89, abs=1.0)
    assert 0 < by_name["mode_kl"] < 0.012  # a perfect sampler's is 0.0048 of 25 modes, and less of 8
    assert by_name["wasserstein2"] < 0.5 * scores["wasserstein2"]["value"]


def test_a_class_that_was_left_out_is_told_by_what_was_never_shown_it(tmp_path: Path) -> None:
    result = run("train", "datamodule.leave_out=4", "model=ae", *TINY, "budget.amount=20000", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    sheet = json.loads(next(tmp_path.glob("runs/*/ae/*/*/scores/*.json")).read_text())
    (score,) = [score for score in sheet["scores"] if score["name"] == "auroc_reconstruction"]
    assert score["value"] > 0.7
    assert score["detail"]["left_out"] == 4
    result = run("train", "datamodule.leave_out=11", "model=ae", *TINY, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "error: datamodule.leave_out is 11; digits has the classes 0 to 9\n"


def test_binarised_digits_have_a_bernoulli_bound_and_grey_ones_do_not(tmp_path: Path) -> None:
    bounds = {}
    for binarize in ("dynamic", "none"):
        words = ["model=vae", "model/likelihood=bernoulli", f"datamodule.binarize={binarize}", *TINY]
        result = run("train", *words, f"runs_dir={binarize}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        sheet = json.loads(next((tmp_path / binarize).glob("*/vae/*/*/scores/*.json")).read_text())
        bounds[binarize] = next(score for score in sheet["scores"] if score["name"] == "elbo")
    assert -64 < bounds["dynamic"]["value"] < 0
    assert bounds["none"]["value"] is None
    assert "not a likelihood of grey pixels" in bounds["none"]["detail"]["reason"]


def test_a_sweep_folder_that_a_user_chose_keeps_what_is_in_it(tmp_path: Path) -> None:
    words = ["model=ae", "hydra.sweep.dir=runs", *TINY]
    result = run("train", "-m", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.glob("runs/digits/ae/*/seed=0/run.json"))
    assert (tmp_path / "reports" / "sweep" / "index.html").is_file()


def test_a_run_that_the_trainer_cut_short_is_no_result(tmp_path: Path) -> None:
    result = run("train", "model=ae", "+trainer.limit_train_batches=2", *TINY, cwd=tmp_path)
    assert "before the budget was spent" in said(result)
    assert not list(tmp_path.glob("runs/**/run.json"))


def test_a_metric_that_broke_down_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: Any) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr("benchmarks.metrics.reconstruction.mse", break_down)
        result = run("train", "model=ae", *TINY, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "out of memory" in result.stdout
    assert "fid " in result.stdout
    again = run("evaluate", "runs=runs", *CHEAP_PROTOCOL, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "out of memory" not in again.stdout
    assert "recon_mse" in again.stdout
    assert len(list(tmp_path.glob("runs/digits/ae/*/*/scores/*.json"))) == 1, "under the same protocol"
