"""The notebook of the docs, executed as it stands."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

TOUR = ROOT / "docs" / "notebooks" / "tour.ipynb"


@pytest.mark.slow
def test_the_tour_runs_and_ends_with_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("pandas")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    notebook: Any = nbformat.read(TOUR, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are kept out of the repository"
    client = nbclient.NotebookClient(notebook, timeout=250, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in data for data in shown) == 3
    assert "aggregate posterior" in shown[-1]["text/plain"]
    assert any(verdict in shown[-1]["text/plain"] for verdict in ("holds", "undecided", "depends"))
    assert len(list(tmp_path.glob("runs/digits/*/*/seed=*/run.json"))) == 4
