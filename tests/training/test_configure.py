"""The configuration of a run: where the run lies, what decides its id, the command that trains it, and no credentials."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import initialize_config_module
from omegaconf import OmegaConf

from benchmarks.errors import UserError
from benchmarks.records.configurations import config_id
from benchmarks.training.configure import CREDENTIAL, RunConfig, configure, configure_seeds, configure_words
from tests.conftest import composed, run

NAMES = {"datamodule": "digits", "network": "mlp", "model": "vae"}


def document(*overrides: str) -> dict[str, Any]:
    """A resolved configuration with what `configure` adds."""
    node: Any = OmegaConf.to_container(composed("trainer=cpu", *overrides), resolve=True)
    return node | {"names": NAMES, "command": "python -m benchmarks.train"}


def configured(*words: str, group: str | None = None) -> RunConfig:
    return configure(composed(*words), NAMES, words, group)


def test_a_run_lies_under_its_names_its_id_and_its_seed(tmp_path: Path) -> None:
    made = RunConfig.of(document(f"runs_dir={tmp_path}", "seed=3"))
    assert made.path == tmp_path / "digits" / "vae" / made.id / "seed=3"
    assert made.id == config_id(made.document)
    assert made.label == "digits · mlp · vae · seed 3"
    assert made.labelled("trial 1").label == "trial 1"
    assert made.labelled("trial 1").path == made.path


def test_another_seed_is_another_run_of_the_same_configuration() -> None:
    made = RunConfig.of(document())
    other = made.changed(seed=1)
    assert other.id == made.id
    assert (other.path.parent, other.path.name) == (made.path.parent, "seed=1")
    assert made.seed == 0, "the first configuration is as it was"


def test_seeds_that_are_composed_at_once_are_those_that_are_composed_one_by_one() -> None:
    words = ["model=gan", "datamodule=digits", "model.n_critic=2"]
    with initialize_config_module("conf", version_base="1.3"):
        together = configure_seeds(words, [7, 3], group="wide")
        for seed, config in together.items():
            assert config == configure_words([*words, f"seed={seed}"], group="wide")
        with pytest.raises(UserError, match="seed is -1"):
            configure_seeds(words, [3, -1])
    assert list(together) == [7, 3]


def test_the_search_of_a_run_is_kept_and_decides_nothing() -> None:
    search = {"id": "1", "name": "wide", "role": "trial", "trial": 3}
    made = RunConfig.of(document()).changed(search=search, group="wide")
    assert (made.search, made.group) == (search, "wide")
    assert made.path == RunConfig.of(document()).path
    assert RunConfig.of(document()).search is RunConfig.of(document()).group is None


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "abc", None])
def test_a_seed_is_a_whole_number_that_generators_take(seed: Any) -> None:
    with pytest.raises(UserError, match="expected a whole number of 0 or more"):
        RunConfig.of(document() | {"seed": seed})
    assert RunConfig.of(document() | {"seed": 2**32 - 1}).path.name == "seed=4294967295"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="this machine has no GPU"):
        RunConfig.of(document("trainer.accelerator=gpu"))
    assert RunConfig.of(document("trainer.accelerator=auto")).device == "cpu"


def test_the_command_trains_the_run_wherever_its_folders_are() -> None:
    words = ("model=vae", "runs_dir=elsewhere", "reports_dir=there", "sweep_name='two words'", "seed=1")
    made = configured(*words, group="mine")
    assert made.command == """python -m benchmarks.train model=vae 'sweep_name='"'"'two words'"'"'' seed=1"""
    assert made.runs_dir == Path("elsewhere")
    assert made.group == "mine"
    assert configured().command == "python -m benchmarks.train"


def test_words_make_the_configuration_that_the_program_would_make() -> None:
    words = ("model=gan", "network=dcgan", "datamodule=mnist", "seed=2", "trainer=cpu")
    with initialize_config_module("conf", version_base="1.3"):
        made = configure_words(words, group="wide")
    assert made.names == ("mnist", "dcgan", "gan")
    assert made.label == "mnist · dcgan · gan · seed 2"
    assert made.command == "python -m benchmarks.train model=gan network=dcgan datamodule=mnist seed=2 trainer=cpu"
    assert "hydra" not in made.document
    assert made.id == RunConfig.of(document(*words)).id


@pytest.mark.parametrize(("model", "rates", "warns"), [("ddpm", "short", 1), ("gan", "short", 0), ("ddpm", "paper", 0)])
def test_rates_that_change_nothing_are_named_once(model: str, rates: str, warns: int, capsys: Any) -> None:
    with initialize_config_module("conf", version_base="1.3"):
        for seed in (0, 1):
            configure_words([f"model={model}", f"rates={rates}", f"seed={seed}"])
    assert capsys.readouterr().err.count(f"warning: rates=short changes nothing of {model}") == warns


def test_data_of_an_own_name_have_runs_of_that_name() -> None:
    node = composed("datamodule.name=pets")
    made = configure(node, NAMES, ["datamodule.name=pets"])
    assert made.names.datamodule == "pets"
    assert made.path.relative_to(made.runs_dir).parts[0] == "pets"
    for wrong in ("../pets", "_baselines", "", 7):
        node.datamodule.name = wrong
        with pytest.raises(UserError, match=r"datamodule.name is .*, which names no folder of runs"):
            configure(node, NAMES, [])


def test_a_credential_that_a_yaml_holds_is_refused_without_being_shown() -> None:
    node = composed()
    node.data_dir = "https://me:hunter2@host/data"
    with pytest.raises(UserError, match="data_dir looks like a credential") as caught:
        configure(node, NAMES, [])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "is_one"),
    [
        ("+logger.api_key=abc", True),
        ("+logger.settings.token=abc", True),
        ("data_dir=https://me:pass@host/data", True),
        ("+secret=1", True),
        ("+logger.settings={api_key:abc}", True),
        ("model.optimizer.lr=1e-3", False),
        ("datamodule.batch_size=64", False),
        ("protocol.metrics.ais.temperatures=10", False),
        ("+protocol.metrics.lpips.tokens_like=1", True),
    ],
)
def test_a_credential_is_known_when_it_is_seen(word: str, is_one: bool) -> None:
    assert bool(CREDENTIAL.search(word)) == is_one


def test_a_credential_in_a_command_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for word in ("+logger.api_key=0123456789abcdef", "+logger.settings={api_key:0123456789abcdef}"):
        result = run("train", "logger=wandb", word, cwd=tmp_path)
        assert result.returncode == 1
        assert "looks like a credential" in result.stderr
        assert "0123456789abcdef" not in result.stderr
        assert not list(tmp_path.iterdir())
