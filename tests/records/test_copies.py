"""Copies of a run under edited seeds: found by what two trainings never share, and by nothing that honest seeds may share."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.records.copies import seeds_once
from benchmarks.records.runs import Run, Score, ScoreSheet
from tests.records.fakes import RECORD

NAMES = {"datamodule": "digits", "network": "mlp", "model": "vae"}
COST = {"parameters": 10, "train_seconds": 2.0, "images_per_second": 1234.5678901}


def made(seed: int, fid: float | None = 1.5, sha256: str | None = None, protocol: str = "quick", **keys: Any) -> Run:
    """A run whose costs and checksum are those of its seed, unless they are given."""
    own = {"names": NAMES, "seed": seed, "cost": COST | {"images_per_second": 1000 + seed / 7}}
    sheet = ScoreSheet({"name": protocol}, "p1", "scored", [Score("fid", fid, "", False, 10)])
    record = RECORD | own | {"checkpoint": {"sha256": sha256 or f"{seed:064}"}} | keys
    return Run(Path(f"seed={seed}"), record, [sheet])


def paths(*runs: Run) -> tuple[list[str], list[str]]:
    kept, copies = seeds_once(runs)
    return [str(run.path) for run in kept], list(map(str, copies))


@pytest.mark.parametrize("keys", [{"sha256": "a" * 64}, {"cost": COST}])
def test_copies_of_a_run_under_other_seeds_count_once_and_are_named(keys: dict[str, Any]) -> None:
    evidence = "checksum of the checkpoint" if "sha256" in keys else "measured costs and scores"
    kept, copies = paths(made(0), *(made(seed, **keys) for seed in (3, 4, 5)))
    assert kept == ["seed=0", "seed=3"]
    assert copies == [
        f"seed={seed} is a copy of seed=3: seeds {seed} and 3 have the same {evidence}" for seed in (4, 5)
    ]


def test_copies_that_share_different_things_are_one_run() -> None:
    runs = made(0, sha256="a" * 64), made(1, sha256="a" * 64, cost=COST), made(2, cost=COST)
    kept, copies = paths(*runs)
    assert (kept, len(copies)) == (["seed=0"], 2)
    assert copies[1].startswith("seed=2 is a copy of seed=0")


def test_a_copy_that_was_scored_under_another_protocol_too_is_a_copy() -> None:
    _, copies = paths(made(0, cost=COST), made(1, cost=COST, protocol="standard"))
    assert len(copies) == 1


def submitted(seed: int, digit: str, **keys: Any) -> Run:
    """A row from elsewhere, with costs that its owner stated for every seed."""
    external = {"kind": "samples", "file": {"name": "x.npz", "sha256": digit * 64}}
    return made(seed, checkpoint=None, external=external, cost=COST, **keys)


def test_a_submission_counts_under_one_seed() -> None:
    kept, copies = paths(submitted(0, "a"), submitted(1, "b"), submitted(2, "a", fid=3.0))
    assert kept == ["seed=0", "seed=1"]
    assert copies == ["seed=2 is a copy of seed=0: seeds 2 and 0 have the same checksum of what was submitted"]


@pytest.mark.parametrize(
    "runs",
    [
        # equal scores: collapsed models, exact scores, and scores that do not apply
        [made(0, fid=0.0), made(1, fid=0.0)],
        [made(0, fid=None), made(1, fid=None)],
        # equal costs with other scores
        [made(0, cost=COST), made(1, cost=COST, fid=1.25)],
        # costs that say nothing: none, none with a clock, and rounded ones
        [made(0, cost=None), made(1, cost=None)],
        [made(0, cost={"parameters": 10}), made(1, cost={"parameters": 10})],
        [made(0, cost={"images_per_second": 1000.0}), made(1, cost={"images_per_second": 1000.0})],
        # records of earlier versions have no checksum
        [made(0, checkpoint=None), made(1, checkpoint=None)],
        # what an owner stated, and a row from elsewhere without a file
        [submitted(0, "a"), submitted(1, "b")],
        [made(0, external={"kind": "python"}, cost=COST), made(1, external={"kind": "python"}, cost=COST)],
        # a submission in two rows: another setting was stated
        [submitted(0, "a"), submitted(1, "a", config_id="1" * 8)],
        # equal weights in another row: a setting without an effect
        [made(0, sha256="a" * 64), made(1, sha256="a" * 64, config_id="1" * 8)],
        # a record without the names of its groups is in no row
        [made(0, sha256="a" * 64, names={}), made(1, sha256="a" * 64, names={})],
    ],
)
def test_seeds_that_may_agree_by_themselves_all_count(runs: list[Run]) -> None:
    assert paths(*runs) == (["seed=0", "seed=1"], [])
