"""The program that says what scoring costs: it measures, compares, and refuses what it does not know."""

import re
from pathlib import Path

import pytest
import torch

from benchmarks.studies import scoring_cost
from tests.conftest import run


def test_ratios_and_equal_results_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    real, fake = torch.randn(1200, 8).relu(), (0.2 + torch.randn(1200, 8)).relu()
    scoring_cost.compare(real, fake)
    text = capsys.readouterr().out
    assert text.count("times as fast") == 6
    # prdc's distances are rounded to float32, ours decided in float64: an example or two may change sides
    assert float(re.search(r"largest difference (\S+)", text)[1]) < 2.5 / 1200
    (line,) = [line for line in text.splitlines() if line.startswith("KID over all pairs")]
    ours, theirs = (float(word) for word in line.split(": ")[1].split(" and "))
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_an_unknown_part_is_refused_with_those_there_are(tmp_path: Path) -> None:
    result = run("studies.scoring_cost", "part=speed", cwd=tmp_path)
    assert result.returncode == 1
    assert (
        result.stderr == "error: unknown word 'part=speed'; expected [part=samples|ais|decoder|leapfrog|limit|memory]\n"
    )
