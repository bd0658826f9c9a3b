"""Jobs that are composed once: each is what Hydra makes of its words."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from benchmarks.multirun import composing
from benchmarks.multirun.composing import SeedLoader
from benchmarks.multirun.sweep import jobs_of

SWEEP = ("model=ae,vae", "seed=range(0,2)", "latent_dim=8", "datamodule=noise", "shape=[1,2,2]")
JOBS = [
    *([*job, f"hydra.sweep.subdir={number}"] for number, job in enumerate(jobs_of(SWEEP))),
    ["model=vae"],
    ["model=vae", "seed=5"],
    ["model=vae", "seed=${oc.env:HOME}"],
    ["model=vae", "seed=6"],
    ["model=vae", "seed=6", "seed=7"],
    ["model=vae", "++seed=9", "seed=1"],
    ["seed=9", "model=vae"],
    ["seed=10", "model=vae"],
    ["seed=010", "model=vae"],
]
# how Hydra names the folder of a job, for users who ask it to
SHOWN = "hydra.job.config.override_dirname.kv_sep=-"


@pytest.fixture
def loader() -> Any:
    with initialize_config_module("conf", version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def test_a_job_is_what_hydra_composes(loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything, Hydra's own part too, in any order of jobs, after a job has changed its configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(composing, "_last", None)
    master = loader.load_configuration("train", ["sweep_name=x", "launcher=local", SHOWN], RunMode.MULTIRUN)
    assert master.hydra.sweep.dir, "the time in it is that of the sweep"
    seeds = pickle.loads(pickle.dumps(SeedLoader(loader)))  # as a launcher sends it to other processes
    composed = 0
    for words in JOBS:
        last = composing._last
        config, expected = (one.load_sweep_config(master, words) for one in (seeds, loader))
        composed += composing._last is not last
        assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(expected), words
        for one in (config, expected):  # as launchers do
            with open_dict(one):
                one.hydra.job.id = one.hydra.job.num = 3
        assert OmegaConf.to_container(config, resolve=True) == OmegaConf.to_container(expected, resolve=True), words
        assert config._metadata.flags == expected._metadata.flags
        assert type(config.seed) is type(expected.seed)
        config.seed = 99
    assert composed == len(JOBS) - 3, "the second seeds of both models, and seed=10"
    last = composing._last
    with open_dict(master):
        master.hydra.sweep.dir = "another"
    seeds.load_sweep_config(master, [*JOBS[-2]])
    assert composing._last is not last, "another sweep may find other files"
    assert seeds.list_groups("model") == loader.list_groups("model")
