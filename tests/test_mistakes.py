"""What a user's mistake gets: one line, and nothing half written."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.records.files import SCHEMA
from tests.conftest import TINY, one_run, run, run_process, said

MISTAKES = [
    ("train", ["model=vaee"], "model=vaee does not exist; did you mean vae"),
    ("train", ["-m", "model=vae,gann"], "model=gann does not exist; did you mean"),
    ("train", ["modle=vae"], "did you mean model"),
    ("train", ["model.betta=2"], "benchmarks.train has no key model.betta; did you mean model.beta"),
    ("train", ["beta=2"], "did you mean model.beta"),
    ("train", ["seed"], "expected key=value"),
    ("train", ["budget.amount=0"], "budget.amount is 0; expected a number of images above 0"),
    ("train", ["budget.unit=days"], "budget.unit is 'days'; expected one of images, seconds, updates"),
    ("train", ["trainer=gpu"], "this machine has no GPU that torch can use"),
    ("train", ["+trainer.gradient_clip_val=1"], "trainer.gradient_clip_val has no effect"),
    ("train", ["datamodule=ring", "network=dcgan"], "network=dcgan takes images"),
    ("train", ["network=resnet", "datamodule=mnist"], "multiples of 8 pixels, and the data are 28x28"),
    ("train", ["datamodule=mnist", "data_dir=nowhere"], "nowhere/MNIST/raw"),
    ("train", ["datamodule=image_folder"], "needs datamodule.folder=PATH"),
    ("train", ["datamodule.binarize=sometimes"], "datamodule.binarize is 'sometimes'"),
    ("train", ["protocol.encoder=resnet50"], "protocol.encoder is 'resnet50'; expected auto or one of digits-cnn"),
    ("train", ["+model.gamma=1"], "unexpected keyword argument 'gamma'"),
    ("train", ["seed=abc"], "seed is 'abc'; expected a number, as in seed=0"),
    ("train", ["seed=0.5"], "seed is 0.5; expected a whole number"),
    ("train", ["trainer.precision=64-true"], "trainer.precision is '64-true'; expected one of 32-true, bf16-mixed"),
    ("train", ["trainer.precision=32"], "trainer.precision is 32; expected one of 32-true"),
    ("train", ["model=vae", "model.beta=high"], "model.beta is 'high'; expected a number, as in model.beta=1.0"),
    (
        "train",
        ["model=gan", "model.beta=4"],
        "no key model.beta; model=rae or vae has the key, the chosen model does not",
    ),
    (
        "train",
        ["trainer.loop=compiled"],
        "no key trainer.loop; +trainer.loop=compiled adds the key to the chosen trainer",
    ),
    (
        "train",
        ["++trainer.loop=graphs"],
        "no key trainer.loop; +trainer.loop=graphs adds the key to the chosen trainer",
    ),
    ("train", ["epochs=5"], "the length of a run is its budget: set budget.amount"),
    (
        "train",
        ["--seed", "3"],
        "--seed is no option of benchmarks.train; a key is set without dashes, as in seed=value",
    ),
    ("train", ["+nick=x"], "benchmarks.train has no key nick"),
    ("report", ["model=vae"], "benchmarks.report has no group model; did you mean only.model"),
    (
        "evaluate",
        ["-m", "samples=a.npz,b.npz"],
        "benchmarks.evaluate has no multirun (-m); a list of values has brackets",
    ),
    ("report", ["models=vae"], "benchmarks.report has no key models; did you mean only.model"),
    ("evaluate", ["runs=empty"], "empty is not a folder"),
    ("evaluate", ["runs=."], "holds no finished run"),
    ("evaluate", ["protocol=quik"], "did you mean quick"),
    ("report", ["runs=."], "holds no finished run"),
    (
        "train_encoder",
        ["datamodule=ring"],
        "has no classes: choose digits, mnist, fashion_mnist, cifar10, or image_folder",
    ),
]


@pytest.mark.parametrize(("name", "words", "message"), MISTAKES, ids=[" ".join([m[0], *m[1]]) for m in MISTAKES])
def test_a_mistake_gets_one_line(name: str, words: list[str], message: str, tmp_path: Path) -> None:
    assert message in said(run(name, *words, cwd=tmp_path, HTTPS_PROXY="http://127.0.0.1:9"))
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not left, left


@pytest.mark.slow
def test_a_mistake_gets_one_line_from_a_process_too(tmp_path: Path) -> None:
    assert "did you mean vae" in said(run_process("train", "model=vaee", cwd=tmp_path))


def test_a_corrupt_checkpoint_is_named_and_kept(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    checkpoint = one_run(tmp_path, "ae") / "checkpoints" / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    words = [f"runs={one_run(tmp_path, 'ae')}", "protocol.samples=100"]
    result = run("evaluate", *words, cwd=tmp_path)
    assert "last.ckpt is not the checkpoint that the record of the run was made with" in said(result)
    assert checkpoint.stat().st_size == 1000
    # nor does training start over it
    (one_run(tmp_path, "ae") / "run.json").unlink()
    result = run("train", "model=ae", "seed=0", *TINY, cwd=tmp_path)
    assert "last.ckpt cannot be loaded" in said(result)
    assert checkpoint.stat().st_size == 1000


def test_a_record_of_a_newer_schema_is_refused(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "runs" / "digits" / "ae", tmp_path / "runs" / "digits" / "ae")
    path = one_run(tmp_path, "ae") / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": SCHEMA + 1}))
    assert "install a newer genbench" in said(run("evaluate", f"runs={path.parent}", cwd=tmp_path))


def test_a_record_cannot_name_code_to_run(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "runs" / "digits" / "ae", tmp_path / "runs" / "digits" / "ae")
    folder = one_run(tmp_path, "ae")
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("models.ae.Autoencoder", "os.system"))
    result = run("evaluate", f"runs={folder}", "protocol.samples=100", cwd=tmp_path)
    assert "names 'os.system'" in said(result)
