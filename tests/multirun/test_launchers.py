"""The launchers that conf/launcher offers: what each asks for, and what to install for it."""

import re
import tomllib
from importlib import metadata, util
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hydra import compose, initialize_config_module
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf
from packaging.requirements import Requirement
from packaging.version import Version

from benchmarks.imports import EXTRAS
from tests.conftest import ROOT, choices, run

NEEDS = {
    "cores": "hydra_plugins.hydra_joblib_launcher",
    "slurm": "hydra_plugins.hydra_submitit_launcher",
    "slurm_local": "hydra_plugins.hydra_submitit_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
}


def is_installed(launcher: str) -> bool:
    module = NEEDS.get(launcher)
    return module is None or util.find_spec(module) is not None


def with_launcher(*words: str) -> Any:
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("train", overrides=list(words), return_hydra_config=True)
        # not asked for here, and only known inside of a multirun
        return OmegaConf.to_container(config.hydra.launcher, resolve=False), config


def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("launcher", choices("launcher"))
def test_every_launcher_composes_or_says_what_to_install(launcher: str, tmp_path: Path) -> None:
    if is_installed(launcher):
        node, config = with_launcher(f"launcher={launcher}", "sweep=quickstart")
        assert node["_target_"] in Plugins.instance().class_name_to_class
        assert config.threads == 1
        return
    result = run("train", "-m", f"launcher={launcher}", cwd=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.search(r"is not installed; pip install 'genbench\[\w+\]'$", line)
    assert not list(tmp_path.iterdir())


def test_a_launcher_that_is_not_installed_is_one_line(tmp_path: Path) -> None:
    config = (ROOT / "conf" / "launcher" / "cores.yaml").read_text()
    assert "override /hydra/launcher: joblib" in config
    from hydra._internal.config_repository import ConfigRepository

    find = ConfigRepository.load_config

    def without_joblib(self: ConfigRepository, config_path: str) -> Any:
        return None if config_path == "hydra/launcher/joblib" else find(self, config_path)

    with mock.patch.object(ConfigRepository, "load_config", without_joblib):
        result = run("train", "-m", "launcher=cores", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "error: hydra/launcher=joblib is not installed; pip install 'genbench'\n"


def test_a_job_on_slurm_asks_for_the_resources_of_its_family() -> None:
    if not is_installed("slurm"):
        pytest.skip("the extra slurm is not installed")
    _, config = with_launcher("launcher=slurm", "model=wgan_gp", "trainer=gpu", "resources.cpus=4", "hydra.job.num=0")
    launcher = config.hydra.launcher
    assert (launcher.cpus_per_task, launcher.gpus_per_node, launcher.mem_gb, launcher.timeout_min) == (4, 1, 4, 180)
    assert launcher.max_num_timeout > 0, "a job whose time is up is queued again"
    assert config.threads == 4


def test_the_extras_of_the_launchers_fit_the_tested_set_of_packages_except_ray() -> None:
    """Ray's launcher needs an older cloudpickle than joblib of the tested set: the extra names the joblib that fits both."""
    pins = dict(
        re.fullmatch(r"([\w.-]+)==(\S+)", line).groups()  # type: ignore[union-attr]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    extras = project()["optional-dependencies"]
    joblib = [text for text in project()["dependencies"] if text.startswith("hydra-joblib")]
    for requirement in map(Requirement, [*joblib, *extras["slurm"]]):
        assert requirement.specifier.contains(Version(pins[requirement.name])), requirement
    ray = {requirement.name: requirement for requirement in map(Requirement, extras["ray"])}
    assert not ray["joblib"].specifier.contains(Version(pins["joblib"]))
    assert {extra.strip("[]") for extra in EXTRAS.values() if extra} <= set(extras)
    assert f"genbench[{','.join(['inception', 'tensorboard', 'slurm'])}]" in extras["dev"]


@pytest.mark.parametrize("package", ["hydra-joblib-launcher", "hydra-submitit-launcher", "hydra-ray-launcher"])
def test_what_an_installed_launcher_needs_is_installed(package: str) -> None:
    try:
        needed = [Requirement(text) for text in metadata.requires(package) or []]
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    for requirement in needed:
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(metadata.version(requirement.name), prereleases=True), requirement


def test_hydra_is_of_a_version_with_version_base() -> None:
    (hydra,) = [r for r in map(Requirement, project()["dependencies"]) if r.name == "hydra-core"]
    assert hydra.specifier.contains("1.4.0")
    assert not hydra.specifier.contains("1.5.0")
