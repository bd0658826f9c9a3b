"""Who may import whom, read from the source: every room of the house, and arrows that point down only."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

TORCH = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "lightning_fabric"}
OURS = {"models", "datamodules", "benchmarks", "conf"}
FAMILIES = {"ae", "vae", "gan", "wgan", "wgan_gp"}

# what each room may import of ours, besides itself
BELOW = ("benchmarks.errors", "benchmarks.records")
ROOMS: dict[str, tuple[str, ...]] = {
    "models": (),
    "datamodules": (),
    "benchmarks/records": ("benchmarks.errors",),
    "benchmarks/encoders": BELOW,
    "benchmarks/metrics": (*BELOW, "benchmarks.encoders", "models.contracts", "datamodules.contracts"),
    "benchmarks/scoring": (*BELOW, "benchmarks.encoders", "benchmarks.metrics", "models", "datamodules"),
    "benchmarks/training": (*BELOW, "benchmarks.scoring", "benchmarks.metrics.base", "models", "datamodules"),
    "benchmarks/reporting": BELOW,
    "benchmarks/multirun": (
        *(*BELOW, "benchmarks.scoring", "benchmarks.training", "benchmarks.reporting"),
        *("models", "datamodules"),
    ),
}
# files between the rooms
FLOORS: dict[str, tuple[str, ...]] = {
    "benchmarks/errors.py": ("datamodules.errors",),
    "benchmarks/cli.py": ("benchmarks.errors",),
}
NO_TORCH = [
    "benchmarks/records",
    "benchmarks/reporting",
    "benchmarks/errors.py",
    "benchmarks/cli.py",
    "benchmarks/report.py",
]
LAST_LINE = 300


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """The modules that a file imports; `from a.b import c` is a.b, and a.b.c if that is a module of ours."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    modules = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules.add(node.module or "")
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= {name for name in names if module_file(name) is not None}
    return modules


def module_file(module: str) -> Path | None:
    """The file of a module of ours."""
    base = ROOT / Path(*module.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def files(folder: str) -> list[Path]:
    path = ROOT / folder
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def packages(modules: set[str]) -> set[str]:
    return {module.split(".")[0] for module in modules}


def is_below(module: str, allowed: str) -> bool:
    """Whether a module is the allowed one, inside it, or a package on the way to it."""
    return f"{module}.".startswith(f"{allowed}.") or f"{allowed}.".startswith(f"{module}.")


@pytest.mark.parametrize("room", [*ROOMS, *FLOORS])
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    own = room.removesuffix(".py").replace("/", ".")
    allowed = (own, *(ROOMS | FLOORS)[room])
    for path in files(room):
        for module in imported(path):
            if module.split(".")[0] in OURS:
                assert any(is_below(module, name) for name in allowed), f"{path.relative_to(ROOT)} imports {module}"


def test_every_file_of_benchmarks_is_in_a_room_or_is_a_program() -> None:
    programs = {"train", "evaluate", "report", "search", "replay", "train_encoder"}
    for path in files("benchmarks"):
        parts = path.relative_to(ROOT / "benchmarks").parts
        in_room = len(parts) > 1 and (f"benchmarks/{parts[0]}" in ROOMS or parts[0] == "studies")
        assert in_room or path.stem in programs | {"__init__", "cli", "errors"}, path


@pytest.mark.parametrize("folder", ["models", "datamodules", "benchmarks/metrics"])
def test_what_is_measured_knows_nothing_of_hydra(folder: str) -> None:
    outside = {"hydra", "omegaconf"} | ({"torchmetrics"} if folder != "benchmarks/metrics" else set())
    for path in files(folder):
        assert not packages(imported(path)) & outside, path


@pytest.mark.parametrize("room", NO_TORCH)
def test_records_and_reports_need_no_torch(room: str) -> None:
    """Neither the room nor anything that it imports when it is loaded."""
    waiting = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in files(room)]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop().removesuffix(".__init__")
        if module in seen or (path := module_file(module)) is None:
            continue
        seen.add(module)
        modules = imported(path, top_level_only=True)
        assert not packages(modules) & TORCH, f"{module} imports {modules}"
        waiting += [name for name in modules if name.split(".")[0] in OURS]
    assert seen


def test_the_walk_over_imports_finds_torch() -> None:
    """The check above can fail: a room that imports torch is seen to."""
    assert packages(imported(ROOT / "benchmarks" / "scoring" / "restore.py", top_level_only=True)) & TORCH
    assert "benchmarks.multirun.sweep" in imported(ROOT / "benchmarks" / "train.py")


def test_no_leaf_inherits_from_a_leaf() -> None:
    leaves = {path.stem for path in (ROOT / "models").glob("*.py")} & FAMILIES
    for leaf in leaves:
        others = {f"models.{other}" for other in leaves - {leaf}}
        assert not imported(ROOT / "models" / f"{leaf}.py") & others


def test_evaluation_never_asks_a_models_name() -> None:
    """No comparison with the name of a family outside models/, except to order rows."""
    for path in files("benchmarks"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                constants = {
                    n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                }
                assert not constants & FAMILIES, f"{path}:{node.lineno}"


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_model_is_one_file_of_about_120_lines(name: str) -> None:
    assert len((ROOT / "models" / f"{name}.py").read_text().splitlines()) <= 125


@pytest.mark.parametrize("folder", ["models", "datamodules", "benchmarks"])
def test_no_file_outgrows_its_room(folder: str) -> None:
    for path in files(folder):
        assert len(path.read_text().splitlines()) <= LAST_LINE, path


def test_no_test_file_outgrows_a_reader() -> None:
    for path in files("tests"):
        assert len(path.read_text().splitlines()) <= 400, path


def test_no_package_is_called_utils() -> None:
    assert not [p for folder in OURS for p in files(folder) if "utils" in p.parts or p.stem == "utils"]
