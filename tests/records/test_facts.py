"""Facts: what a run is besides its method, from its configuration and its record, and what makes two runs differ."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from benchmarks.records.facts import differences, facts_of, run_facts
from benchmarks.records.runs import Run
from tests.conftest import choices, composed, composed_model
from tests.records.fakes import RECORD

RAN: dict[str, Any] = {
    **RECORD,
    "budget": {"unit": "images", "amount": 1_000_000},
    "cost": {"decoder_parameters": 211_264},
    "weights_scored": "last",
}


def config(*overrides: str) -> dict[str, Any]:
    """A configuration as it is on disk."""
    document: Any = OmegaConf.to_container(composed(*overrides), resolve=True)
    return dict(document)


def difference(*overrides: str, ran: dict[str, Any] | None = None) -> list[str]:
    """What differs from a VAE on digits."""
    base = facts_of(config("model=vae"), RAN)
    other = facts_of(config("model=vae", *overrides), RAN | (ran or {}))
    assert differences(other, base) == differences(base, other)
    return differences(base, other)


@pytest.mark.parametrize(
    ("override", "titles"),
    [
        ("model.decoder.widths=[400,200]", ["decoder widths"]),
        ("model.trunk.widths=[400,400,400]", ["trunk widths"]),
        ("model.decoder.norm=none", ["decoder norm"]),
        ("model.trunk.norm=layer", ["trunk norm"]),
        ("latent_dim=2", ["latent size"]),
        ("datamodule.batch_size=128", ["batch size"]),
        ("trainer.precision=bf16-mixed", ["precision"]),
        ("trainer.devices=2", ["devices"]),
        ("model.optimizer.lr=1", []),
        ("model.beta=4", []),
        ("seed=3", []),
    ],
)
def test_a_run_differs_in_what_is_no_part_of_its_method(override: str, titles: list[str]) -> None:
    assert difference(override) == titles


@pytest.mark.parametrize(
    ("change", "titles"),
    [
        ({"budget": {"unit": "images", "amount": 2_000_000}}, ["budget"]),
        ({"budget": {"unit": "updates", "amount": 1_000_000}}, ["budget"]),
        ({"cost": {"decoder_parameters": 211_265}}, ["decoder parameters"]),
        ({"weights_scored": "ema(0.999)"}, ["weights scored"]),
        ({"seed": 4, "config_id": "f" * 8, "names": {"model": "gan"}}, []),
    ],
)
def test_a_run_differs_in_what_it_spent(change: dict[str, Any], titles: list[str]) -> None:
    assert difference(ran=change) == titles


def test_another_kind_of_network_differs() -> None:
    kinds = {
        network: facts_of(config(f"network={network}", "datamodule=cifar10"), {}) for network in choices("network")
    }
    assert kinds["dcgan"]["decoder"] == "dcgan.decoder"
    assert "decoder" in differences(kinds["dcgan"], kinds["mlp"])
    assert "decoder" in differences(kinds["dcgan"], kinds["resnet"])
    assert "decoder" not in differences(kinds["mlp"], kinds["mlp_narrow"])
    for one, facts in kinds.items():
        for other, others in kinds.items():
            assert bool(differences(facts, others)) == (one != other), (one, other)


def test_every_family_as_conf_has_it_has_the_same_facts_but_for_the_norm_of_its_trunk() -> None:
    facts = {
        model: facts_of(dict(OmegaConf.to_container(composed_model(f"model={model}"), resolve=True)), RAN)  # type: ignore[arg-type]
        for model in choices("model")
    }
    # families with networks of their own are compared with each other alone
    others = {"real_nvp": "flow", "flow_matching": "field", "ddpm": "field"}
    for model, network in others.items():
        assert set(differences(facts.pop(model), facts["vae"])) >= {"trunk", "decoder", network}
    for model, own in facts.items():
        assert set(own) == set(facts["vae"]), model
        assert set(differences(own, facts["vae"])) <= {"trunk norm"}, model


def test_facts_are_read_as_a_table_shows_them() -> None:
    facts = facts_of(config("model=vae"), RAN)
    assert facts["budget"] == "1,000,000 images"
    assert facts["decoder parameters"] == "211,264"
    assert facts["decoder"] == "mlp.decoder"
    assert facts["decoder widths"] == "[400, 400]"


def test_a_fact_that_only_one_side_has_differs() -> None:
    """The configuration of a run of an earlier version has no norm; its record has no parameters."""
    old = config("model=vae", "model.decoder.widths=[8]")
    del old["model"]["decoder"]["norm"], old["trainer"]["precision"]
    then, now = facts_of(old, RECORD), facts_of(config("model=vae"), RAN)
    lacking = {"decoder norm", "precision", "decoder parameters", "weights scored", "budget"}
    assert set(differences(then, now)) == set(differences(now, then)) == {"decoder widths", *lacking}
    assert set(differences({}, now)) == set(differences(now, {})) == set(now)
    assert differences(then, then) == []


@pytest.mark.parametrize(
    ("title", "one", "other"),
    [
        ("latent size", "64", "64.0"),
        ("decoder parameters", "601,665", "601665"),
        ("budget", "1e6 images", "1,000,000 images"),
        ("decoder widths", "[400, 400]", "[400.0, 4e2]"),
        ("decoder slope", "0.20", "0.2"),
        ("precision", "32", "32-true"),
        ("precision", "bf16", "bf16-mixed"),
    ],
)
def test_one_fact_in_two_spellings_is_one_fact(title: str, one: str, other: str, tmp_path: Path) -> None:
    a, b = (run_facts(Run(tmp_path, RAN | {"facts": {title: text}}, [])) for text in (one, other))
    assert differences(a, b) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("64", "65"), ("0.2", "0.02"), ("[400, 400]", "[400400]"), ("[1, 2]", "[12]"), ("1 x", "1 y"), ("1e999", "2e999")],
)
def test_facts_that_differ_stay_different(one: str, other: str, tmp_path: Path) -> None:
    a, b = (run_facts(Run(tmp_path, RAN | {"facts": {"widths": text}}, [])) for text in (one, other))
    assert differences(a, b) == ["widths"]


@pytest.mark.parametrize(
    "document", [{}, {"model": None}, {"model": {"prior": "Normal", "trunk": 3}}, {"datamodule": []}], ids=str
)
def test_a_configuration_that_is_odd_lacks_facts_and_is_no_error(document: dict[str, Any]) -> None:
    facts = facts_of(document, {"budget": None, "cost": [], "weights_scored": None})
    assert set(facts) <= {"trunk"}


def test_the_facts_of_a_record_come_before_its_configuration(tmp_path: Path) -> None:
    document = config("model=vae")
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(document)))
    assert run_facts(Run(tmp_path, RAN, [])) == facts_of(document, RAN)
    recorded = {"latent size": 16, "decoder": "mlp.decoder"}
    assert run_facts(Run(tmp_path, RAN | {"facts": recorded}, [])) == {"latent size": "16", "decoder": "mlp.decoder"}


@pytest.mark.parametrize("content", [None, "a: ["])
def test_a_run_without_a_configuration_has_the_facts_of_its_record(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    facts = run_facts(Run(tmp_path, RAN, []))
    assert facts == {"decoder parameters": "211,264", "weights scored": "last", "budget": "1,000,000 images"}
