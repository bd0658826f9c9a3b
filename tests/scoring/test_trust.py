"""What a record may name: the classes that conf/ composes, with the keywords of their constructors, and nothing else."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from benchmarks.errors import UserError
from benchmarks.records.configurations import read_config
from benchmarks.scoring.trust import PARTS, check_config, check_part, composable, keywords_of
from tests.conftest import choices, composed, composed_model, one_run, run


def config(*overrides: str) -> dict[str, Any]:
    """A configuration as a record holds it."""
    document: Any = OmegaConf.to_container(composed(*overrides), resolve=True)
    document["names"] = {"datamodule": "digits", "network": "mlp", "model": "vae"}
    return dict(document)


# names inside packages that a rule by prefixes would trust; each of them runs code
HOSTILE: dict[str, dict[str, Any]] = {
    "any object by its name": {
        "_target_": "torch.nn.utils._deprecation_utils.lazy_deprecated_import",
        "all": ["system"],
        "old_module": "posix",
        "new_module": "posix",
    },
    "a method that calls its argument": {"_target_": "torch.nn.modules.module._WrappedHook.__call__", "_args_": []},
    "an import of a module": {
        "_target_": "torch.nn.attention._fa4.register_flash_attention_fa4",
        "module_path": "evil",
    },
    "unpickling": {"_target_": "pytorch_lightning.Trainer.fit", "ckpt_path": "x", "weights_only": False},
    "what a module imports": {"_target_": "datamodules.image_folder.os.system", "_args_": ["true"]},
    "torch.load": {"_target_": "models.game.torch.load", "f": "x"},
    "a system call": {"_target_": "os.system", "command": "true"},
    "a class of another part": {"_target_": "pytorch_lightning.Trainer"},
    "a base class": {"_target_": "models.adversarial.AdversarialModel"},
    "a list in place of a name": {"_target_": ["models.vae.VAE"]},
}


@pytest.mark.parametrize("part", ["model", "datamodule", "metrics"])
@pytest.mark.parametrize("name", HOSTILE)
def test_other_names_in_trusted_packages_are_refused_at_any_depth(part: str, name: str) -> None:
    for node in (HOSTILE[name], {"deeper": [{"still": HOSTILE[name]}]}):
        with pytest.raises(UserError, match="a record may only name these"):
            check_part(node, part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda node: node.update(_args_=["x"]), "the keyword '_args_'"),
        (lambda node: node.update(_recursive_=False), "the keyword '_recursive_'"),
        (lambda node: node.update(_convert_="none"), "the keyword '_convert_'"),
        (lambda node: node.update(_partial_="yes"), "the keyword '_partial_'"),
        (lambda node: node.update(surprise=1), "the keyword 'surprise'"),
        (lambda node: node["optimizer"].update(surprise=1), "torch.optim.Adam the keyword 'surprise'"),
        (lambda node: node.update(beta="${oc.env:HOME}"), "an interpolation"),
        (lambda node: node.update(extra={"_args_": []}), "the keyword 'extra'"),
    ],
)
def test_a_class_takes_the_keywords_of_its_constructor_only(change: Callable[[Any], None], message: str) -> None:
    node = config("model=vae")["model"]
    check_part(node, "model")
    change(node)
    with pytest.raises(UserError) as error:
        check_part(node, "model")
    assert message in str(error.value)


def test_a_key_with_an_underscore_needs_a_class() -> None:
    with pytest.raises(UserError, match="without a _target_"):
        check_part({"x": {"_args_": ["true"]}}, "model")


def test_a_trainer_of_a_record_chooses_no_folder_plugin_or_callback() -> None:
    trainer = config()["trainer"]
    check_part(trainer, "trainer")
    for keyword in ("default_root_dir", "plugins", "callbacks", "logger", "profiler", "overfit_batches"):
        with pytest.raises(UserError, match=f"the keyword '{keyword}'"):
            check_part({**trainer, keyword: "x"}, "trainer")


@pytest.mark.parametrize("nesting", [10, 100_000])
def test_deep_nesting_is_refused_in_a_line(nesting: int) -> None:
    node: Any = {"_target_": "os.system"}
    for _ in range(nesting):
        node = [node]
    with pytest.raises(UserError):
        check_part({"x": node}, "model")


@pytest.mark.parametrize("name", ["../../elsewhere", "a/b", "", ".hidden", "x" * 300, "a\0b", 3, None])
def test_names_of_folders_are_one_name(name: Any) -> None:
    for key in ("names", "datamodule"):
        document = config()
        if key == "names":
            document["names"]["model"] = name
        else:
            document["datamodule"]["name"] = name
        with pytest.raises(UserError, match="the record has the name"):
            check_config(document)


def test_everything_that_conf_composes_may_be_in_a_record() -> None:
    for model in choices("model"):
        for network in ("mlp", "dcgan"):
            alone = composed_model(f"model={model}", f"network={network}", "datamodule=mnist")
            check_part(OmegaConf.to_container(alone.model, resolve=True), "model")
    check_config(config("network=resnet", "datamodule=cifar10"))
    for data in choices("datamodule"):
        extra = ["datamodule.folder=somewhere"] if data == "image_folder" else []
        check_config(config(f"datamodule={data}", *extra))
    for group in ("protocol", "trainer", "rates", "model/likelihood"):
        for choice in choices(group):
            check_config(config(f"{group}={choice}"))
    check_config(
        config("+metric@protocol.metrics.lpips=lpips", "model.prior._target_=models.priors.Uniform", "model=gan")
    )
    for part in PARTS:
        assert composable(part)
        for target in composable(part):
            assert part == "trainer" or keywords_of(target) is not None


def test_the_lookup_is_closed_when_it_fails() -> None:
    for target in ("models.nowhere.Model", "models.vae.Nothing", "nodots"):
        with pytest.raises(UserError, match="cannot be looked up"):
            keywords_of(target)
        with pytest.raises(UserError, match="a record may only name these"):
            check_part({"_target_": f"mine.{target}"}, "model", trust=["mine"])


def test_a_declared_package_is_trusted_with_its_own_classes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_models.py").write_text("import os\nclass Mine:\n    def __init__(self, a=1): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"_target_": "my_models.Mine", "a": 2}
    with pytest.raises(UserError, match="add trust="):
        check_part(own, "model")
    check_part(own, "model", trust=["my_models"])
    with pytest.raises(UserError, match="keyword 'b'"):
        check_part({**own, "b": 1}, "model", trust=["my_models"])
    with pytest.raises(UserError, match="a record may only name these"):
        check_part({"_target_": "my_models.os.system", "command": "true"}, "model", trust=["my_models"])
    sys.modules.pop("my_models", None)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.trunk.widths", [10**9]),
        ("model.trunk.widths", [16, 1e12]),
        ("model.prior.dim", 10**9),
        ("datamodule.batch_size", 10**9),
        ("datamodule.batch_size", float("nan")),
        ("threads", 10**6),
        ("threads", "x"),
        ("threads", 0),
        ("threads", "auto"),
        ("curve_points", 10**9),
        ("trainer.devices", 1000),
        ("trainer.num_nodes", 2),
        ("protocol.samples", 10**9),
        ("curve.samples", 10**9),
        ("protocol.metrics.ais.temperatures", 10**9),
        ("seed", 0.9),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", True),
        ("budget.amount", 2e9),
        ("budget.amount", float("inf")),
        ("budget.amount", float("nan")),
        ("budget.amount", -1),
        ("budget.amount", "many"),
        ("budget.amount", 10**400),
        ("budget.unit", "centuries"),
        ("budget.unit", ["images"]),
        ("budget", 3),
        ("checkpoint_seconds", -1),
        ("checkpoint_seconds", 1e9),
        ("checkpoint_seconds", "x"),
        ("datamodule.block_size", 2**20),
        ("threads", True),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_number_that_would_exhaust_the_machine_is_refused(path: str, value: Any) -> None:
    document = config("model=vae")
    check_config(document)
    *parents, key = path.split(".")
    node = document
    for parent in parents:
        node = node[parent]
    node[key] = value
    with pytest.raises(UserError, match="the record has ") as error:
        check_config(document)
    assert "\n" not in str(error.value)


def test_a_list_that_would_exhaust_the_machine_is_refused() -> None:
    """A record of a kilobyte may ask for any number of layers."""
    document = config("model=vae")
    document["model"]["trunk"]["widths"] = [1] * 64
    check_config(document)
    document["model"]["trunk"]["widths"].append(1)
    with pytest.raises(UserError, match="the record has a list of 65 values in its model; expected at most 64"):
        check_config(document)


@pytest.mark.parametrize("program", ["evaluate", "replay"])
@pytest.mark.parametrize("place", ["model", "datamodule", "optimizer"])
def test_a_shared_run_executes_nothing(program: str, place: str, sweep: Path, tmp_path: Path) -> None:
    """A class that writes a file stands for any code: the file must not appear."""
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    path = one_run(tmp_path, "vae")
    canary = tmp_path / "canary"
    (path / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    document = read_config(path)
    evil = {"_target_": "torch.nn.attention._fa4.register_flash_attention_fa4", "module_path": "evil"}
    if place == "optimizer":
        document["model"]["optimizer"] = evil
    else:
        document[place] = evil | {"name": "x"}
    (path / "config.yaml").write_text(yaml.safe_dump(document))
    words = ["protocol.samples=200"] if program == "evaluate" else ["out=again"]
    result = run(program, f"runs={path}", *words, cwd=tmp_path)
    assert result.returncode == 1
    assert "a record may only name these" in result.stderr
    assert "Traceback" not in result.stderr
    assert not canary.exists()
    assert not (tmp_path / "again").exists()


def test_a_hostile_sheet_is_refused_before_training(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "runs", tmp_path / "runs")
    path = one_run(tmp_path, "ae")
    (sheet,) = path.glob("scores/*.json")
    scores = json.loads(sheet.read_text())
    scores["protocol"]["metrics"]["fid"] = HOSTILE["any object by its name"]
    sheet.write_text(json.dumps(scores))
    result = run("replay", f"runs={path}", "out=again", cwd=tmp_path)
    assert result.returncode == 1
    assert "a record may only name these" in result.stderr
