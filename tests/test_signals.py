"""Ctrl-C before a program's own handlers are there: while its modules are imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("kind", ["module", "script"])
def test_ctrl_c_while_a_program_imports_its_modules_is_one_line(kind: str, tmp_path: Path) -> None:
    """Python runs sitecustomize first: here it makes the import of Hydra, the first large one, send the signal."""
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "original = builtins.__import__\n"
        "def look(name, *rest, **more):\n"
        "    if name == 'hydra':\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    return original(name, *rest, **more)\n"
        "builtins.__import__ = look\n"
    )
    (tmp_path / "genbench-report").write_text("from benchmarks.report import main\nmain()\n")
    words = ["-m", "benchmarks.report"] if kind == "module" else [str(tmp_path / "genbench-report")]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stderr == "error: interrupted by SIGINT; run the same command again to finish the rest\n"
    assert (done.returncode, done.stdout) == (130, "")


def test_a_process_that_only_imports_genbench_keeps_its_own_ctrl_c(tmp_path: Path) -> None:
    code = "import signal, benchmarks; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {code}"
    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n", done.stderr
