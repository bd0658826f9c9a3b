"""Reference features on disk: made once, and never trusted when they are not what they should be."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.scoring import feature_cache
from benchmarks.scoring.feature_cache import VERSION, cached_features

KEY: dict[str, Any] = {"data": "d1", "split": "test", "examples": None, "encoder": "abc"}


class Compute:
    def __init__(self) -> None:
        self.times, self.features = 0, torch.randn(9, 4)

    def __call__(self) -> Tensor:
        self.times += 1
        return self.features


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, in a process that has read nothing yet."""
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path))
    forget(monkeypatch)
    return tmp_path / "features"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process would begin."""
    monkeypatch.setattr(feature_cache, "_KEPT", {})


def only_file(kept: Path) -> Path:
    (path,) = kept.iterdir()
    return path


def test_features_are_made_once_and_read_by_the_next_process(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compute = Compute()
    first = cached_features(KEY, compute)
    assert cached_features(KEY, compute) is first
    forget(monkeypatch)
    assert torch.equal(cached_features(KEY, compute), compute.features)
    assert compute.times == 1
    assert only_file(kept).suffix == ".safetensors"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", [{"data": "d2"}, {"split": "val"}, {"examples": 5}, {"encoder": "abd"}])
def test_whatever_decides_the_features_is_in_their_name(kept: Path, change: dict[str, Any]) -> None:
    compute = Compute()
    cached_features(KEY, compute)
    cached_features(KEY | change, compute)
    assert compute.times == 2
    assert len(list(kept.iterdir())) == 2


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda data: data[: len(data) // 2], "is truncated or damaged"),
        (lambda data: b"", "is truncated or damaged"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is damaged"),
        (lambda data: data.replace(f'"version":"{VERSION}"'.encode(), b'"version":"0"'), "is of another version"),
        (lambda data: data.replace(b"[9,4]", b"[4,9]"), "is damaged"),
        (lambda data: data.replace(b'"F32"', b'"I32"'), "is damaged"),
        (lambda data: data.replace(b'"features"', b'"featureS"'), "is truncated or damaged"),
    ],
    ids=["half", "empty", "a bit", "older", "shape", "type", "name"],
)
def test_a_file_that_cannot_be_trusted_is_made_again_with_a_line(
    harm: Any, said: str, kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compute = Compute()
    cached_features(KEY, compute)
    path = only_file(kept)
    whole = path.read_bytes()
    path.write_bytes(harm(whole))
    assert path.read_bytes() != whole
    forget(monkeypatch)
    assert torch.equal(cached_features(KEY, compute), compute.features)
    assert compute.times == 2
    forget(monkeypatch)
    assert torch.equal(cached_features(KEY, compute), compute.features)
    assert compute.times == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: the cache {path} {said}")
    assert line.endswith("computing the reference features again")


def test_a_place_that_cannot_be_written_costs_a_line_and_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "file"))
    forget(monkeypatch)
    compute = Compute()
    assert cached_features(KEY, compute) is compute.features
    assert "could not be kept" in capsys.readouterr().err


def test_the_folder_is_the_users_cache_unless_it_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GENBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert feature_cache.folder() == tmp_path / "genbench"
    monkeypatch.setenv("GENBENCH_CACHE", "elsewhere")
    assert feature_cache.folder() == Path("elsewhere")
