"""The trainer of a run, and what a run is refused before it is trained."""

from pathlib import Path

import pytest
import torch
from hydra import initialize_config_module

from benchmarks.training import fit
from benchmarks.training.configure import configure_words
from tests.conftest import TINY, run


def test_a_run_is_not_deterministic_because_the_run_before_it_was() -> None:
    with initialize_config_module("conf", version_base="1.3"):
        configs = [configure_words([*TINY, *words]) for words in (["+trainer.deterministic=true"], [])]
    try:
        for config, expected in zip(configs, (True, False), strict=True):
            fit.make_trainer(config, [])
            assert torch.are_deterministic_algorithms_enabled() == expected
    finally:
        torch.use_deterministic_algorithms(False)


def test_compiled_losses_without_a_compiler_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CXX", "no-such-compiler")
    result = run("train", "model=ae", *TINY, "+trainer.loop=compiled", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: trainer.loop compiles losses with no-such-compiler, which is not installed")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("run.json"))
