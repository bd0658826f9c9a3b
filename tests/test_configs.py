"""Every yaml composes, and what it describes can be made."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf

from benchmarks.scoring.protocol import Protocol
from benchmarks.training.budget import Budget
from models.turns import Turns
from tests.conftest import CONF, choices, composed, composed_model

GROUPS = ["datamodule", "network", "model", "rates", "budget", "protocol", "trainer", "logger", "sweep"]
IMAGES_32 = {"cifar10", "image_folder"}


@pytest.mark.parametrize(("group", "choice"), [(group, choice) for group in GROUPS for choice in choices(group)])
def test_every_choice_composes_and_resolves(group: str, choice: str) -> None:
    extra = ["datamodule.folder=somewhere"] if choice == "image_folder" else []
    extra += ["datamodule=cifar10"] if choice.startswith("resnet") else []
    config = composed(f"{group}={choice}", *extra)
    assert OmegaConf.to_container(config, resolve=True)


@pytest.mark.parametrize("likelihood", choices("model/likelihood"))
def test_every_likelihood_instantiates(likelihood: str) -> None:
    config = composed_model("model=vae", f"model/likelihood={likelihood}")
    assert instantiate(config.model, _convert_="all").likelihood is not None


@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.parametrize("network", choices("network"))
def test_every_model_instantiates_on_every_network(model: str, network: str) -> None:
    config = composed_model(f"model={model}", f"network={network}", "datamodule=cifar10")
    instantiate(config.model, _convert_="all")


@pytest.mark.parametrize("model", ["vae", "sn_gan"])
def test_a_model_alone_is_what_a_run_composes(model: str) -> None:
    overrides = (f"model={model}", "network=dcgan", "datamodule=mnist")
    whole, alone = (OmegaConf.to_container(made(*overrides), resolve=True) for made in (composed, composed_model))
    assert isinstance(whole, dict)
    assert isinstance(alone, dict)
    assert alone == {key: whole[key] for key in alone}
    assert {"model", "datamodule", "shape", "latent_dim"} <= set(alone)


@pytest.mark.parametrize("datamodule", choices("datamodule"))
def test_every_datamodule_has_the_shape_its_config_says(datamodule: str, tmp_path: Path) -> None:
    extra = ["datamodule.folder=somewhere"] if datamodule == "image_folder" else []
    config = composed_model(f"datamodule={datamodule}", f"data_dir={tmp_path}", *extra)
    data = instantiate(config.datamodule, _convert_="all")
    assert list(data.shape) == list(config.shape)
    assert data.name == datamodule


@pytest.mark.parametrize("protocol", choices("protocol"))
def test_every_protocol_instantiates_and_is_named_after_its_file(protocol: str) -> None:
    described = OmegaConf.to_container(composed(f"protocol={protocol}").protocol, resolve=True)
    assert isinstance(described, dict)
    made = Protocol.from_config({str(k): v for k, v in described.items()}, "digits-cnn")
    assert made.name == protocol
    assert made.encoder == "digits-cnn"


@pytest.mark.parametrize("metric", choices("metric"))
def test_every_metric_instantiates_and_has_columns(metric: str) -> None:
    ruler = instantiate(OmegaConf.load(CONF / "metric" / f"{metric}.yaml"))
    assert ruler.columns


@pytest.mark.parametrize("trainer", choices("trainer"))
def test_every_trainer_instantiates(trainer: str, tmp_path: Path) -> None:
    """On the CPU, whatever it asks for: where there is no GPU, Lightning refuses to look further."""
    config: Any = OmegaConf.to_container(
        composed(f"trainer={trainer}", "trainer.accelerator=cpu", "trainer.devices=1").trainer
    )
    Turns(config.pop("loop", "eager"))  # the one key that is not Lightning's
    assert instantiate(config, default_root_dir=str(tmp_path), logger=False).max_epochs == 1


@pytest.mark.parametrize("budget", choices("budget"))
def test_every_budget_is_one(budget: str) -> None:
    assert Budget(**composed(f"budget={budget}").budget).unit == budget


@pytest.mark.parametrize("rates", choices("model_rates"))
def test_short_rates_change_an_existing_model_and_only_what_was_searched(rates: str) -> None:
    model = rates.removesuffix("_short")
    paper, short = (flat(composed(f"model={model}", f"rates={choice}")) for choice in ("paper", "short"))
    changed = {key for key in paper.keys() | short.keys() if paper.get(key) != short.get(key)} - {"rates.source"}
    assert changed
    space = yaml.safe_load((CONF / "search" / f"{model}.yaml").read_text(encoding="utf-8"))
    searched = {key["override"].lstrip("+").partition("=")[0] for key in space.values()}
    assert {key.removesuffix(".0").removesuffix(".1") for key in changed} <= searched


@pytest.mark.parametrize("logger", [name for name in choices("logger") if name != "none"])
def test_every_logger_logs_without_an_account(logger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    made = instantiate(composed(f"logger={logger}").logger, save_dir=str(tmp_path))
    made.log_metrics({"loss": 1.0}, step=1)
    made.finalize("success")
    getattr(made.experiment, "finish", lambda: None)()
    assert [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "program",
    ["train", "evaluate", "report", "search", "replay", "status", "train_encoder", "merge", "remove", "costs"],
)
def test_every_program_composes(program: str) -> None:
    assert composed(program=program)


def test_every_yaml_says_something() -> None:
    """A file with nothing but a comment is read as an empty configuration, and puzzles its reader."""
    empty = [str(path.relative_to(CONF)) for path in CONF.rglob("*.yaml") if not yaml.safe_load(path.read_text())]
    assert not empty


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """A nested configuration as one level of dotted keys."""
    if not OmegaConf.is_dict(node):
        return {prefix[:-1]: node}
    return {k: v for key in node for k, v in flat(node._get_node(key), f"{prefix}{key}.").items()}


def test_every_hyper_parameter_of_a_paper_has_its_source() -> None:
    """A number in a model's yaml is followed by where it is from."""
    for name in choices("model"):
        for line in (CONF / "model" / f"{name}.yaml").read_text().splitlines():
            _, _, value = line.partition(": ")
            if value and isinstance(yaml.safe_load(value), int | float) and not isinstance(yaml.safe_load(value), bool):
                assert "#" in line, f"{name}: {line}"
