"""Who may import whom, read from the source."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

TORCH = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "lightning_fabric"}
OURS = {"models", "datamodules", "benchmarks", "conf"}


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    modules = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules.add(node.module or "")
    return modules


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def packages(modules: set[str]) -> set[str]:
    return {module.split(".")[0] for module in modules}


@pytest.mark.parametrize("path", files("models"), ids=str)
def test_models_know_nothing_of_data_metrics_or_config(path: Path) -> None:
    assert not packages(imported(path)) & {"datamodules", "benchmarks", "conf", "hydra", "omegaconf", "torchmetrics"}


@pytest.mark.parametrize("path", files("datamodules"), ids=str)
def test_datamodules_know_nothing_of_models_or_metrics(path: Path) -> None:
    assert not packages(imported(path)) & {"models", "benchmarks", "conf", "hydra", "omegaconf", "torchmetrics"}


@pytest.mark.parametrize("path", files("benchmarks/metrics"), ids=str)
def test_metrics_see_capabilities_and_encoders_only(path: Path) -> None:
    ours = {m for m in imported(path) if m.split(".")[0] in OURS}
    allowed = ("models.contracts", "benchmarks.metrics", "benchmarks.encoders.base")
    assert all(module.startswith(allowed) for module in ours), ours


@pytest.mark.parametrize(
    "name", ["report", "leaderboard", "runs", "claims", "searches", "page", "exports", "wandb_tables", "errors", "cli"]
)
def test_reports_need_no_torch(name: str) -> None:
    """Nor does anything that they import."""
    seen: set[str] = set()
    waiting = {f"benchmarks.{name}"}
    while waiting:
        module = waiting.pop()
        seen.add(module)
        path = ROOT / Path(*module.split(".")).with_suffix(".py")
        found = imported(path, top_level_only=True) if path.is_file() else set()
        assert not packages(found) & TORCH, f"{module} imports {found}"
        waiting |= {m for m in found if m.split(".")[0] in OURS} - seen


def test_no_leaf_inherits_from_a_leaf() -> None:
    leaves = {path.stem for path in (ROOT / "models").glob("*.py")} & {"ae", "vae", "gan", "wgan", "wgan_gp"}
    for leaf in leaves:
        others = {f"models.{other}" for other in leaves - {leaf}}
        assert not imported(ROOT / "models" / f"{leaf}.py") & others


def test_evaluation_never_asks_a_models_name() -> None:
    """No comparison with a family's name outside models/, except to order rows."""
    families = {"ae", "vae", "gan", "wgan", "wgan_gp"}
    for path in files("benchmarks"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                constants = {
                    n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                }
                assert not constants & families, f"{path}:{node.lineno}"


@pytest.mark.parametrize("name", ["ae", "vae", "gan", "wgan", "wgan_gp"])
def test_a_model_is_one_file_of_about_120_lines(name: str) -> None:
    assert len((ROOT / "models" / f"{name}.py").read_text().splitlines()) <= 125


def test_no_package_is_called_utils() -> None:
    assert not [p for folder in OURS for p in files(folder) if "utils" in p.parts or p.stem == "utils"]
