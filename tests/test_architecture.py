"""Who may import whom, read from the source: every room of the house, and arrows that point down only."""

import ast
import subprocess
import sys
from collections.abc import Container, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

from tests.conftest import CONF, ROOT, choices

# what is torch, or imports torch
TORCH = (
    *("torch", "torchvision", "torchmetrics", "torch_fidelity", "lightning", "lightning_fabric", "pytorch_lightning"),
    *("ot", "safetensors.torch"),
)
OURS = {"models", "datamodules", "benchmarks", "conf"}
PLUGIN = ROOT / "hydra_plugins" / "genbench_sweeper.py"
# each yaml of conf/model, and the file of its class
FAMILIES = set(choices("model"))
LEAVES = {yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text())["_target_"].split(".")[1] for name in FAMILIES}

# what each room may import of ours, besides itself
BELOW = ("benchmarks.errors", "benchmarks.records")
OBJECTS = ("models.game", "models.contracts", "datamodules.base", "datamodules.contracts")
ROOMS: dict[str, tuple[str, ...]] = {
    "models": (),
    "datamodules": (),
    "benchmarks/records": ("benchmarks.errors",),
    "benchmarks/cli": ("benchmarks.errors", "benchmarks.imports", "benchmarks.signals"),
    "benchmarks/encoders": BELOW,
    "benchmarks/metrics": (
        *("benchmarks.errors", "benchmarks.records.columns", "benchmarks.encoders.base"),
        *("models.contracts", "datamodules.contracts"),
    ),
    "benchmarks/scoring": (*BELOW, "benchmarks.encoders", "benchmarks.metrics", *OBJECTS),
    "benchmarks/external": (
        *(*BELOW, "benchmarks.scoring", "benchmarks.training", "benchmarks.metrics.base", *OBJECTS, "models.priors"),
    ),
    "benchmarks/notebook": (*(*BELOW, "benchmarks.cli", "benchmarks.scoring", "benchmarks.reporting", *OBJECTS),),
    "benchmarks/training": (
        *(*BELOW, "benchmarks.signals", "benchmarks.scoring", "benchmarks.metrics.base"),
        # the pictures of a run search latents, and training images
        *("benchmarks.metrics.inversion", "benchmarks.metrics.nearest", *OBJECTS),
        # several seeds at once
        *("models.stack", "models.optimizer_states", "datamodules.stacked"),
    ),
    "benchmarks/reporting": (*BELOW, "benchmarks.garbage"),
    "benchmarks/multirun": (
        *(*BELOW, "benchmarks.signals", "benchmarks.scoring", "benchmarks.training", "benchmarks.reporting"),
        "benchmarks.external",
    ),
}
# files between the rooms
FLOORS: dict[str, tuple[str, ...]] = {
    "benchmarks/signals.py": (),
    "benchmarks/errors.py": ("benchmarks.signals", "datamodules.errors"),
    "benchmarks/garbage.py": (),
    "benchmarks/imports.py": ("benchmarks.errors", "benchmarks.garbage"),
}
NO_TORCH = [
    "benchmarks/records",
    "benchmarks/reporting",
    "benchmarks/errors.py",
    "benchmarks/signals.py",
    "benchmarks/garbage.py",
    "benchmarks/imports.py",
    "benchmarks/cli",
    "benchmarks/report.py",
    "benchmarks/status.py",
    "benchmarks/external/words.py",
    "benchmarks/external/checks.py",
    "benchmarks/external/archive.py",
    "benchmarks/multirun/progress.py",
    "benchmarks/multirun/status.py",
]
# checks that torch and torchvision fit each other, inside a function that reports do not call
MAY_CALL_TORCH = ROOT / "benchmarks" / "imports.py"
LAST_LINE = 300


def imported(path: Path, when_loaded: bool = False) -> set[str]:
    """The modules that a file imports; for `from a.b import c` both a.b and a.b.c, if a.b.c may be a module.

    Args:
        path: the file.
        when_loaded: only the imports that run when the file is loaded: none inside functions, none for type checkers.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = set()
    for node in run_when_loaded(tree) if when_loaded else ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            modules.add(module)
            names = {f"{module}.{alias.name}" for alias in node.names}
            modules |= {name for name in names if not is_ours(module) or module_file(name) is not None}
    return modules


def run_when_loaded(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a module outside of function bodies and of `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in node.orelse:
                yield other
                yield from run_when_loaded(other)
        else:
            yield from run_when_loaded(node)


def loaded_by(module: str, every_import: Container[Path] = ()) -> set[str]:
    """The modules that are loaded with a module of ours, the packages that they lie in included.

    Args:
        module: the module of ours.
        every_import: files whose imports inside functions count too.
    """
    waiting, loaded = [module], set[str]()
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        for end in range(1, len(parts) + 1):  # to load a.b.c, Python loads a and a.b first
            prefix = ".".join(parts[:end])
            if prefix not in loaded:
                loaded.add(prefix)
                path = module_file(prefix) if is_ours(prefix) else None
                waiting += [] if path is None else imported(path, when_loaded=path not in every_import)
    return loaded


def module_file(module: str) -> Path | None:
    """The file of a module of ours."""
    base = ROOT / Path(*module.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def files(folder: str) -> list[Path]:
    path = ROOT / folder
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def is_ours(module: str) -> bool:
    return module.split(".")[0] in OURS


def packages(modules: set[str]) -> set[str]:
    return {module.split(".")[0] for module in modules}


def torch_of(modules: set[str]) -> set[str]:
    """The modules that are torch, or import torch."""
    return {module for module in modules if any(f"{module}.".startswith(f"{name}.") for name in TORCH)}


def is_below(module: str, allowed: str) -> bool:
    """Whether a module is the allowed one, inside it, or a package on the way to it."""
    return f"{module}.".startswith(f"{allowed}.") or f"{allowed}.".startswith(f"{module}.")


@pytest.mark.parametrize("room", [*ROOMS, *FLOORS])
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    own = room.removesuffix(".py").replace("/", ".")
    allowed = (own, *(ROOMS | FLOORS)[room])
    for path in files(room):
        for module in imported(path):
            if is_ours(module):
                assert any(is_below(module, name) for name in allowed), f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize("room", [*ROOMS, *FLOORS])
def test_a_room_needs_each_of_its_allowances(room: str) -> None:
    modules = {module for path in files(room) for module in imported(path)}
    for name in (ROOMS | FLOORS)[room]:
        assert name in BELOW + OBJECTS or any(f"{module}.".startswith(f"{name}.") for module in modules), name


def test_no_files_import_each_other() -> None:
    """No cycle, not even through imports inside functions or for type checkers."""
    graph = {
        module_name(path): {module for module in imported(path) if is_ours(module)} - {module_name(path)}
        for folder in ("models", "datamodules", "benchmarks")
        for path in files(folder)
    }
    TopologicalSorter(graph).prepare()


def test_every_file_of_benchmarks_is_in_a_room_or_is_a_program() -> None:
    programs = {
        "train",
        "evaluate",
        "report",
        "search",
        "replay",
        "status",
        "train_encoder",
        "merge",
        "publish",
        "remove",
        "costs",
    }
    for path in files("benchmarks"):
        parts = path.relative_to(ROOT / "benchmarks").parts
        in_room = len(parts) > 1 and (f"benchmarks/{parts[0]}" in ROOMS or parts[0] == "studies")
        is_floor = path.relative_to(ROOT).as_posix() in FLOORS
        assert in_room or is_floor or path.stem in programs | {"__init__"}, path


@pytest.mark.parametrize("folder", ["models", "datamodules", "benchmarks/metrics"])
def test_what_is_measured_knows_nothing_of_hydra(folder: str) -> None:
    outside = {"hydra", "omegaconf"} | ({"torchmetrics"} if folder != "benchmarks/metrics" else set())
    for path in files(folder):
        assert not packages(imported(path)) & outside, path


@pytest.mark.parametrize("room", NO_TORCH)
def test_records_and_reports_need_no_torch(room: str) -> None:
    """Neither the room, in any function, nor anything that it imports when it is loaded."""
    own = {path for folder in NO_TORCH for path in files(folder)} - {MAY_CALL_TORCH}
    for path in files(room):
        assert not torch_of(loaded_by(module_name(path), every_import=own)), path


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["benchmarks.external.words", "benchmarks.report", "benchmarks.reporting.build", "benchmarks.status"]
)
def test_a_report_is_loaded_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_what_a_first_step_needs_loads_no_package_of_one_metric() -> None:
    """Each takes a tenth of a second to half a second, and most runs do not need it before their scoring."""
    rooms = ("models", *(f"benchmarks/{room}" for room in ("metrics", "scoring", "training")))
    for path in (path for room in rooms for path in files(room)):
        packages = {module.split(".")[0] for module in imported(path, when_loaded=True)}
        assert not packages & {"sklearn", "ot", "wandb", "optuna"}, path


def test_the_python_interface_is_loaded_without_torch_and_pandas() -> None:
    loaded = loaded_by("benchmarks")
    assert not torch_of(loaded)
    assert not packages(loaded) & {"pandas", "numpy", "hydra", "PIL"}
    assert "benchmarks.notebook.loaded" in imported(ROOT / "benchmarks" / "__init__.py")


def test_every_hydra_program_loads_the_plugin_and_gets_nothing_but_hydra_with_it() -> None:
    assert packages(imported(PLUGIN, when_loaded=True)) <= {"hydra", "typing", "collections"}


def test_the_walk_over_imports_finds_torch(tmp_path: Path) -> None:
    """The checks above can fail: torch is found wherever it is imported."""
    assert "torch" in torch_of(loaded_by("benchmarks.scoring.restore"))
    assert "benchmarks.multirun.sweep" in imported(ROOT / "benchmarks" / "train.py")
    assert {"benchmarks", "datamodules"} <= loaded_by("benchmarks.errors")
    path = tmp_path / "module.py"
    for code, is_found in (
        ("try:\n    import torch\nexcept ImportError:\n    pass", True),
        ("class A:\n    from torch import nn", True),
        ("from safetensors import torch", True),
        ("from safetensors import safe_open", False),
        ("def f():\n    import torch", False),
        ("if TYPE_CHECKING:\n    import torch", False),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import torch", True),
    ):
        path.write_text(code)
        assert bool(torch_of(imported(path, when_loaded=True))) == is_found, code
        assert is_found or bool(torch_of(imported(path))) == ("import torch" in code)


def test_no_leaf_inherits_from_a_leaf() -> None:
    assert {"ae", "vae", "gan", "wgan", "wgan_gp"} <= LEAVES
    for leaf in LEAVES:
        others = {f"models.{other}" for other in LEAVES - {leaf}}
        assert not imported(ROOT / "models" / f"{leaf}.py") & others


def test_evaluation_never_asks_a_models_name() -> None:
    """No comparison with the name of a family outside models/, except to order rows."""
    for path in files("benchmarks"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                constants = {
                    n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                }
                assert not constants & (FAMILIES | LEAVES), f"{path}:{node.lineno}"


@pytest.mark.parametrize("name", sorted(LEAVES))
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
