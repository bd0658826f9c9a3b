"""The wheel holds what a stranger needs, and runs outside the clone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import CONF, ROOT

PROGRAMS = ["train", "evaluate", "report", "search", "replay", "status", "train_encoder", "merge", "remove", "costs"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in tracked:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=250)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_configs_weights_and_templates(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {path.relative_to(ROOT).as_posix() for path in CONF.rglob("*.yaml")}
    for folder in ("models", "datamodules", "benchmarks", "conf", "hydra_plugins"):
        expected |= {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")}
    expected |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmarks" / "encoders").glob("*.safetensors")}
    expected |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmarks" / "encoders").glob("*.json")}
    expected.add("benchmarks/reporting/templates/start.html.j2")
    assert expected <= names
    assert not {name for name in names if name.startswith("tests/")}


@pytest.mark.slow
def test_every_program_runs_from_the_wheel_outside_the_clone(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    entry_points = next(site.glob("*.dist-info/entry_points.txt")).read_text()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": str(site)}
    for name in PROGRAMS:
        assert f"genbench-{name.replace('_', '-')} = benchmarks.{name}:main" in entry_points
        result = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", "--help"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(f"python -m benchmarks.{name}")
    where = [sys.executable, "-c", "import benchmarks; print(benchmarks.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(site)), "the clone was imported instead of the wheel"
    words = ["model=ae", "budget.amount=1300", "model.trunk.widths=[8]", "curve_points=1"]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.train", *words],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "fid" in result.stdout


@pytest.mark.slow
def test_a_mismatched_torchvision_is_one_line(tmp_path: Path) -> None:
    """As an import of the wrong build fails: RuntimeError from the compiled operators."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.train", "model=ae"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line]
    assert "do not work together" in line
    assert "pip install --upgrade torch torchvision" in line
