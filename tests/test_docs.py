"""The site of the docs: it builds without a warning, with the pages that are made from the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_the_site_builds_strictly_and_has_its_pages(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert built.returncode == 0, built.stderr + built.stdout
    site = tmp_path / "site"
    for page, text in {
        "index.html": "What does a VAE do better than a GAN",
        "reference/models/index.html": "models.vae.VAE",
        "reference/metrics/index.html": "benchmarks.metrics.frechet",
        "reference/benchmarks/index.html": "benchmarks.leaderboard",
        "reference/configuration/index.html": "sweep/quickstart",
        "records/index.html": "80 runs on digits",
        "records/REPLAY.md": "python -m benchmarks.replay runs=runs/mnist/vae",
    }.items():
        assert text in (site / page).read_text(encoding="utf-8"), page
    assert not [path for path in site.rglob("*.html") if "fonts.googleapis" in path.read_text(encoding="utf-8")]
