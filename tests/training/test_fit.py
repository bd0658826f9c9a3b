"""What a run is refused before it is trained."""

from pathlib import Path

import pytest

from benchmarks.training import fit
from tests.conftest import TINY, run


def test_compiled_losses_without_a_compiler_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CXX", "no-such-compiler")
    result = run("train", "model=ae", *TINY, "+trainer.loop=compiled", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: trainer.loop compiles losses with no-such-compiler, which is not installed")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("run.json"))
